//! The rule table: every reviewed system call, what becomes of it, and why.
//!
//! Two ideas decide a denied call's errno. `EPERM` is what a program without privileges gets from
//! the kernel anyway, so it reports it well. `ENOSYS` is what an old or small kernel answers, so
//! programs that can do without the call fall back to something else.

use libc::{EAFNOSUPPORT, ENOSYS, EOPNOTSUPP, EPERM, EPROTONOSUPPORT, ESOCKTNOSUPPORT};

use super::Action::{Allow, Errno};
use super::Relation::{NoneOf, OneOf};
use super::{Rule, Test};

/// The highest system call number that was reviewed (`file_setattr`, Linux 6.17).
///
/// Raising it means: reading what each newer call does, and naming it below.
pub const REVIEWED_MAX: u32 = 469;

/// Every reviewed system call. Rules of one call are in order: the first that holds wins.
pub fn rules() -> &'static [Rule] {
    &RULES
}

static RULES: [Rule; COMMON.len() + ARCHITECTURE.len()] = {
    let mut all = [COMMON[0]; COMMON.len() + ARCHITECTURE.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = if at < COMMON.len() {
            COMMON[at]
        } else {
            ARCHITECTURE[at - COMMON.len()]
        };
        at += 1;
    }
    all
};

/// System call numbers: libc's, and those it does not have yet.
#[allow(
    non_upper_case_globals,
    reason = "the numbers have the names libc gives its own"
)]
mod number {
    use libc::c_long;
    #[allow(
        unreachable_pub,
        reason = "a glob: what is defined below takes precedence"
    )]
    pub(super) use libc::*;

    #[cfg(target_arch = "x86_64")]
    mod architecture {
        pub(in super::super) const SYS_io_pgetevents: libc::c_long = 333;
        pub(in super::super) const SYS_uretprobe: libc::c_long = 335;
        pub(in super::super) const SYS_uprobe: libc::c_long = 336;
    }
    #[cfg(target_arch = "aarch64")]
    mod architecture {
        pub(in super::super) const SYS_renameat: libc::c_long = 38;
        pub(in super::super) const SYS_sync_file_range: libc::c_long = 84;
        pub(in super::super) const SYS_getrlimit: libc::c_long = 163;
        pub(in super::super) const SYS_setrlimit: libc::c_long = 164;
        pub(in super::super) const SYS_io_pgetevents: libc::c_long = 292;
        pub(in super::super) const SYS_kexec_file_load: libc::c_long = 294;
    }
    pub(super) use architecture::*;

    pub(super) const SYS_cachestat: c_long = 451;
    pub(super) const SYS_fchmodat2: c_long = 452;
    pub(super) const SYS_map_shadow_stack: c_long = 453;
    pub(super) const SYS_futex_wake: c_long = 454;
    pub(super) const SYS_futex_wait: c_long = 455;
    pub(super) const SYS_futex_requeue: c_long = 456;
    pub(super) const SYS_statmount: c_long = 457;
    pub(super) const SYS_listmount: c_long = 458;
    pub(super) const SYS_lsm_get_self_attr: c_long = 459;
    pub(super) const SYS_lsm_set_self_attr: c_long = 460;
    pub(super) const SYS_lsm_list_modules: c_long = 461;
    pub(super) const SYS_mseal: c_long = 462;
    pub(super) const SYS_setxattrat: c_long = 463;
    pub(super) const SYS_getxattrat: c_long = 464;
    pub(super) const SYS_listxattrat: c_long = 465;
    pub(super) const SYS_removexattrat: c_long = 466;
    pub(super) const SYS_open_tree_attr: c_long = 467;
    pub(super) const SYS_file_getattr: c_long = 468;
    pub(super) const SYS_file_setattr: c_long = 469;
}

/// `action, condition, reason => [calls]`, one group a reason.
macro_rules! rules {
    ($($action:expr, $when:expr, $reason:literal => [$($name:ident)*];)*) => {
        &[$($(Rule {
            syscall: without_prefix(stringify!($name)),
            number: number::$name as u32,
            when: $when,
            action: $action,
            reason: $reason,
        },)*)*]
    };
}

const fn without_prefix(name: &'static str) -> &'static str {
    name.split_at("SYS_".len()).1
}

const ALWAYS: &[Test] = &[];

const fn argument(argument: u8, relation: super::Relation, values: &'static [u32]) -> Test {
    Test {
        argument,
        mask: u32::MAX,
        relation,
        values,
    }
}

const fn masked(
    argument: u8,
    mask: u32,
    relation: super::Relation,
    values: &'static [u32],
) -> Test {
    Test {
        argument,
        mask,
        relation,
        values,
    }
}

/// `CLONE_NEWTIME` is not among them: `clone` reads its bit as part of the exit signal.
const NEW_NAMESPACE: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

/// `SOCK_CLOEXEC` and `SOCK_NONBLOCK` are above these bits.
const SOCKET_TYPE: u32 = 0xf;
const INET: Test = argument(0, OneOf, &[libc::AF_INET as u32, libc::AF_INET6 as u32]);
/// `SOCK_PACKET` is an old way to ask for a packet socket.
const RAW: &[u32] = &[libc::SOCK_RAW as u32, 10];
const FILE_TYPE: u32 = libc::S_IFMT;
const DEVICES: &[u32] = &[libc::S_IFCHR, libc::S_IFBLK];

/// Of the mode of a file that is made or changed.
const SETUID: u32 = libc::S_ISUID;
/// Only with one of these flags does opening make a file, and is there a mode to look at.
const MAKES_FILE: u32 = (libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u32;

const COMMON: &[Rule] = rules! {
    // Denied: what reaches outside the sandbox.
    Errno(EPERM), ALWAYS, "the file tree is part of the sandbox" => [
        SYS_mount SYS_umount2 SYS_pivot_root SYS_chroot SYS_open_tree SYS_open_tree_attr
        SYS_move_mount SYS_fsopen SYS_fsconfig SYS_fsmount SYS_fspick SYS_mount_setattr
    ];
    Errno(ENOSYS), ALWAYS, "new ways to read the mount table; /proc/self/mountinfo serves" => [
        SYS_statmount SYS_listmount
    ];
    Errno(EPERM), ALWAYS, "a new or another namespace opens kernel code meant for administrators" => [
        SYS_setns SYS_unshare
    ];
    Errno(EPERM), &[masked(0, NEW_NAMESPACE, NoneOf, &[0])],
        "a new namespace opens kernel code meant for administrators" => [SYS_clone];
    Allow, ALWAYS, "processes and threads, bounded by the pids limit" => [SYS_clone];
    Errno(ENOSYS), ALWAYS,
        "its flags are in memory, where a filter cannot look; the C libraries fall back to clone" => [
        SYS_clone3
    ];
    Errno(EPERM), ALWAYS, "a file handle reaches past mounts and directories" => [
        SYS_open_by_handle_at
    ];
    Allow, ALWAYS, "a file handle only names the file; opening it is denied" => [
        SYS_name_to_handle_at
    ];
    Errno(ENOSYS), ALWAYS,
        "keyrings hold the host's secrets and are not divided by most namespaces" => [
        SYS_add_key SYS_request_key SYS_keyctl
    ];
    Errno(EPERM), ALWAYS, "administers the whole machine" => [
        SYS_kexec_load SYS_kexec_file_load SYS_init_module SYS_finit_module SYS_delete_module
        SYS_reboot SYS_swapon SYS_swapoff SYS_acct SYS_quotactl SYS_quotactl_fd SYS_vhangup
    ];
    Errno(EPERM), ALWAYS, "the kernel's messages tell addresses and other tenants' doings" => [
        SYS_syslog
    ];
    Errno(EPERM), ALWAYS, "the clock is the machine's" => [
        SYS_settimeofday SYS_clock_settime SYS_adjtimex SYS_clock_adjtime
    ];
    Errno(EPERM), ALWAYS, "the sandbox's host name is set by cogo" => [
        SYS_sethostname SYS_setdomainname
    ];

    // Denied: kernel code with a history of holes, which builds and tests do without.
    Errno(EPERM), ALWAYS, "loads programs into the kernel" => [SYS_bpf];
    Errno(EPERM), ALWAYS, "measures the kernel and other processes" => [SYS_perf_event_open];
    Errno(EPERM), ALWAYS, "lets a program stop the kernel in the middle of a copy" => [
        SYS_userfaultfd
    ];
    Errno(ENOSYS), ALWAYS,
        "a second system call entry that no filter sees; libraries fall back to epoll or threads" => [
        SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register
    ];
    Errno(EPERM), ALWAYS, "watches and decides on other processes' file accesses" => [
        SYS_fanotify_init SYS_fanotify_mark
    ];
    Errno(EPERM), ALWAYS, "tells the layout of kernel objects; for checkpoint tools" => [
        SYS_kcmp
    ];
    Errno(EPERM), ALWAYS, "takes descriptors out of other processes; for supervisors" => [
        SYS_pidfd_getfd
    ];
    Errno(ENOSYS), ALWAYS, "memory that the supervisor could neither count nor inspect" => [
        SYS_memfd_secret
    ];
    Errno(ENOSYS), ALWAYS, "changes the security label the sandbox was started with" => [
        SYS_lsm_set_self_attr
    ];
    Errno(ENOSYS), ALWAYS, "gone from the kernel" => [SYS_lookup_dcookie SYS_nfsservctl];

    // Decided by an argument.
    Errno(EPERM), &[argument(1, OneOf, &[libc::TIOCSTI as u32, libc::TIOCLINUX as u32])],
        "types into the terminal as if the user did" => [SYS_ioctl];
    Errno(EPERM), &[argument(1, OneOf, &[libc::TIOCSETD as u32])],
        "loads a line discipline module" => [SYS_ioctl];
    Allow, ALWAYS, "on descriptors the sandbox gave; /dev and Landlock decide which" => [SYS_ioctl];
    Errno(EPERM), &[argument(0, NoneOf, &[
        0, 0x8, 0x2_0000, 0x2_0008, 0x4_0000, 0x4_0008, u32::MAX,
    ])],
        "others weaken memory protection; kept: 32-bit and 2.6 names (setarch), no address \
         randomization (debuggers), asking" => [SYS_personality];
    Allow, ALWAYS, "harmless personalities" => [SYS_personality];
    Errno(EPERM), &[argument(0, OneOf, &[libc::PR_SET_MM as u32])],
        "rewrites what /proc tells of the process; for checkpoint tools" => [SYS_prctl];
    Allow, ALWAYS, "a process's own attributes; those that matter need capabilities" => [SYS_prctl];
    Errno(EPERM), &[argument(0, NoneOf, &[0])],
        "the sandbox's init has the same user, and without descriptors it could start nothing \
         more" => [SYS_prlimit64];
    Allow, ALWAYS, "a process's own limits; raising them needs capabilities" => [SYS_prlimit64];
    Errno(EPERM), &[masked(2, FILE_TYPE, OneOf, DEVICES)],
        "a device node is a door into the kernel" => [SYS_mknodat];
    Errno(EPERM), &[masked(2, SETUID, NoneOf, &[0])],
        "left in the workspace, it would run with the caller's rights for whoever starts it" => [
        SYS_mknodat SYS_fchmodat SYS_fchmodat2
    ];
    Errno(EPERM), &[masked(1, SETUID, NoneOf, &[0])],
        "left in the workspace, it would run with the caller's rights for whoever starts it" => [
        SYS_fchmod
    ];
    Errno(EPERM), &[masked(2, MAKES_FILE, NoneOf, &[0]), masked(3, SETUID, NoneOf, &[0])],
        "left in the workspace, it would run with the caller's rights for whoever starts it" => [
        SYS_openat
    ];
    Errno(ENOSYS), ALWAYS,
        "its mode is in memory, where a filter cannot look; programs fall back to openat" => [
        SYS_openat2
    ];
    Allow, ALWAYS, "files, pipes and sockets; mounts, permissions and Landlock decide" => [
        SYS_mknodat SYS_fchmodat SYS_fchmodat2 SYS_fchmod SYS_openat
    ];
    Errno(EAFNOSUPPORT), &[argument(0, NoneOf, &[
        libc::AF_UNIX as u32, libc::AF_INET as u32, libc::AF_INET6 as u32, libc::AF_NETLINK as u32,
    ])],
        "rare socket families load modules, and vsock reaches past the network namespace" => [
        SYS_socket
    ];
    Errno(EPROTONOSUPPORT), &[
        argument(0, OneOf, &[libc::AF_NETLINK as u32]),
        argument(2, NoneOf, &[libc::NETLINK_ROUTE as u32]),
    ],
        "only the interface list (getifaddrs) is needed of netlink" => [SYS_socket];
    Errno(EPERM), &[INET, masked(1, SOCKET_TYPE, OneOf, RAW)],
        "raw sockets forge and overhear traffic" => [SYS_socket];
    Errno(ESOCKTNOSUPPORT), &[
        INET,
        masked(1, SOCKET_TYPE, NoneOf, &[libc::SOCK_STREAM as u32, libc::SOCK_DGRAM as u32]),
    ],
        "rare socket types load modules" => [SYS_socket];
    Errno(EPROTONOSUPPORT), &[
        INET,
        argument(2, NoneOf, &[
            0,
            libc::IPPROTO_ICMP as u32,
            libc::IPPROTO_TCP as u32,
            libc::IPPROTO_UDP as u32,
            libc::IPPROTO_ICMPV6 as u32,
        ]),
    ],
        "rare protocols load modules; MPTCP users fall back to TCP" => [SYS_socket];
    Allow, ALWAYS, "Unix, TCP, UDP and ping sockets, the interface list" => [SYS_socket];
    Errno(EOPNOTSUPP), &[argument(0, NoneOf, &[libc::AF_UNIX as u32])],
        "only Unix sockets come in pairs; asking for others loads modules" => [SYS_socketpair];
    Allow, ALWAYS, "stays inside the sandbox" => [SYS_socketpair];

    // Allowed.
    Allow, ALWAYS, "on open descriptors" => [
        SYS_read SYS_write SYS_close SYS_lseek SYS_pread64 SYS_pwrite64 SYS_readv SYS_writev
        SYS_preadv SYS_pwritev SYS_preadv2 SYS_pwritev2 SYS_fstat SYS_fcntl SYS_flock SYS_fsync
        SYS_fdatasync SYS_ftruncate SYS_fallocate SYS_fadvise64 SYS_readahead SYS_cachestat
        SYS_sync SYS_syncfs SYS_sync_file_range SYS_sendfile SYS_splice SYS_tee SYS_vmsplice
        SYS_copy_file_range SYS_dup SYS_dup3 SYS_close_range SYS_pipe2 SYS_getdents64
    ];
    Allow, ALWAYS, "files by name: mounts, permissions and Landlock decide" => [
        SYS_faccessat SYS_faccessat2 SYS_chdir SYS_fchdir SYS_getcwd
        SYS_newfstatat SYS_statx SYS_statfs SYS_fstatfs SYS_truncate SYS_renameat SYS_renameat2
        SYS_mkdirat SYS_unlinkat SYS_linkat SYS_symlinkat SYS_readlinkat SYS_fchown SYS_fchownat SYS_umask SYS_utimensat SYS_setxattr SYS_lsetxattr
        SYS_fsetxattr SYS_setxattrat SYS_getxattr SYS_lgetxattr SYS_fgetxattr SYS_getxattrat
        SYS_listxattr SYS_llistxattr SYS_flistxattr SYS_listxattrat SYS_removexattr
        SYS_lremovexattr SYS_fremovexattr SYS_removexattrat SYS_file_getattr SYS_file_setattr
        SYS_inotify_init1 SYS_inotify_add_watch SYS_inotify_rm_watch
    ];
    Allow, ALWAYS, "the process's own memory, bounded by the memory limit" => [
        SYS_mmap SYS_mprotect SYS_munmap SYS_brk SYS_mremap SYS_msync SYS_mincore SYS_madvise
        SYS_mlock SYS_mlock2 SYS_munlock SYS_mlockall SYS_munlockall SYS_remap_file_pages
        SYS_memfd_create SYS_pkey_mprotect SYS_pkey_alloc SYS_pkey_free SYS_mseal
        SYS_map_shadow_stack SYS_mbind SYS_set_mempolicy SYS_get_mempolicy
        SYS_set_mempolicy_home_node SYS_migrate_pages SYS_move_pages SYS_membarrier
    ];
    Allow, ALWAYS, "starting and ending processes" => [
        SYS_execve SYS_execveat SYS_exit SYS_exit_group SYS_wait4 SYS_waitid SYS_getpid SYS_getppid
        SYS_gettid SYS_set_tid_address SYS_setpgid SYS_getpgid SYS_getsid SYS_setsid
    ];
    Allow, ALWAYS, "signals; the pid namespace and Landlock bound whom they reach" => [
        SYS_kill SYS_tkill SYS_tgkill SYS_pidfd_open SYS_pidfd_send_signal SYS_rt_sigaction
        SYS_rt_sigprocmask SYS_rt_sigpending SYS_rt_sigsuspend SYS_rt_sigtimedwait
        SYS_rt_sigreturn SYS_rt_sigqueueinfo SYS_rt_tgsigqueueinfo SYS_sigaltstack
        SYS_restart_syscall SYS_signalfd4
    ];
    Allow, ALWAYS,
        "debuggers and LeakSanitizer need it; the pid namespace hides all but the exec's own \
         processes, the sandbox's init is not dumpable, and this filter runs after the tracer" => [
        SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev SYS_process_madvise
        SYS_process_mrelease
    ];
    Allow, ALWAYS, "locks and threads" => [
        SYS_futex SYS_futex_waitv SYS_futex_wake SYS_futex_wait SYS_futex_requeue
        SYS_set_robust_list SYS_get_robust_list SYS_rseq
    ];
    Allow, ALWAYS, "identities; the user namespace and no_new_privs leave nothing to gain" => [
        SYS_getuid SYS_geteuid SYS_getgid SYS_getegid SYS_getgroups SYS_getresuid SYS_getresgid
        SYS_setuid SYS_setgid SYS_setreuid SYS_setregid SYS_setresuid SYS_setresgid SYS_setfsuid
        SYS_setfsgid SYS_setgroups SYS_capget SYS_capset
    ];
    Allow, ALWAYS, "can only narrow what a program may do" => [
        SYS_seccomp SYS_landlock_create_ruleset SYS_landlock_add_rule SYS_landlock_restrict_self
        SYS_lsm_get_self_attr SYS_lsm_list_modules
    ];
    Allow, ALWAYS, "priorities and limits: raising them needs capabilities" => [
        SYS_getrlimit SYS_setrlimit SYS_getrusage SYS_times SYS_getpriority
        SYS_setpriority SYS_ioprio_get SYS_ioprio_set SYS_sched_yield SYS_sched_setparam
        SYS_sched_getparam SYS_sched_setscheduler SYS_sched_getscheduler SYS_sched_setattr
        SYS_sched_getattr SYS_sched_get_priority_max SYS_sched_get_priority_min
        SYS_sched_rr_get_interval SYS_sched_setaffinity SYS_sched_getaffinity SYS_getcpu
    ];
    Allow, ALWAYS, "reading clocks, sleeping, timers" => [
        SYS_clock_gettime SYS_clock_getres SYS_clock_nanosleep SYS_gettimeofday SYS_nanosleep
        SYS_getitimer SYS_setitimer SYS_timer_create SYS_timer_settime SYS_timer_gettime
        SYS_timer_getoverrun SYS_timer_delete SYS_timerfd_create SYS_timerfd_settime
        SYS_timerfd_gettime
    ];
    Allow, ALWAYS, "waiting for events" => [
        SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_ppoll SYS_pselect6
        SYS_eventfd2 SYS_io_setup SYS_io_destroy SYS_io_submit SYS_io_cancel SYS_io_getevents
        SYS_io_pgetevents
    ];
    Allow, ALWAYS, "talking inside the ipc namespace" => [
        SYS_shmget SYS_shmat SYS_shmdt SYS_shmctl SYS_semget SYS_semop SYS_semtimedop SYS_semctl
        SYS_msgget SYS_msgsnd SYS_msgrcv SYS_msgctl SYS_mq_open SYS_mq_unlink SYS_mq_timedsend
        SYS_mq_timedreceive SYS_mq_notify SYS_mq_getsetattr
    ];
    Allow, ALWAYS, "on sockets; the network namespace decides what they reach" => [
        SYS_bind SYS_listen SYS_accept SYS_accept4 SYS_connect SYS_getsockname SYS_getpeername
        SYS_sendto SYS_recvfrom SYS_sendmsg SYS_recvmsg SYS_sendmmsg SYS_recvmmsg SYS_setsockopt
        SYS_getsockopt SYS_shutdown
    ];
    Allow, ALWAYS, "facts of the machine, randomness" => [
        SYS_uname SYS_sysinfo SYS_getrandom
    ];
};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: &[Rule] = rules! {
    Errno(EPERM), ALWAYS, "reaches the machine's I/O ports" => [SYS_iopl SYS_ioperm];
    Errno(ENOSYS), ALWAYS, "16-bit segments: a history of holes, and only old emulators use them" => [
        SYS_modify_ldt
    ];
    Errno(ENOSYS), ALWAYS, "obsolete" => [
        SYS_uselib SYS_ustat SYS_sysfs SYS__sysctl SYS_getpmsg SYS_putpmsg SYS_afs_syscall
        SYS_tuxcall SYS_security SYS_epoll_ctl_old SYS_epoll_wait_old SYS_vserver
    ];
    Errno(EPERM), &[masked(1, FILE_TYPE, OneOf, DEVICES)],
        "a device node is a door into the kernel" => [SYS_mknod];
    Errno(EPERM), &[masked(1, SETUID, NoneOf, &[0])],
        "left in the workspace, it would run with the caller's rights for whoever starts it" => [
        SYS_mknod SYS_chmod SYS_creat
    ];
    Errno(EPERM), &[masked(1, MAKES_FILE, NoneOf, &[0]), masked(2, SETUID, NoneOf, &[0])],
        "left in the workspace, it would run with the caller's rights for whoever starts it" => [
        SYS_open
    ];
    Allow, ALWAYS, "files, pipes and sockets; mounts, permissions and Landlock decide" => [
        SYS_mknod SYS_chmod SYS_creat SYS_open
    ];
    Allow, ALWAYS, "older forms of allowed calls" => [
        SYS_stat SYS_lstat SYS_access SYS_rename SYS_mkdir SYS_rmdir SYS_link
        SYS_unlink SYS_symlink SYS_readlink SYS_chown SYS_lchown SYS_utime SYS_utimes
        SYS_futimesat SYS_getdents SYS_pipe SYS_dup2 SYS_poll SYS_select SYS_epoll_create
        SYS_epoll_wait SYS_inotify_init SYS_signalfd SYS_eventfd SYS_pause SYS_alarm SYS_time
        SYS_fork SYS_vfork SYS_getpgrp
    ];
    Allow, ALWAYS, "thread-local storage" => [
        SYS_arch_prctl SYS_set_thread_area SYS_get_thread_area
    ];
    Allow, ALWAYS, "placed by the kernel when the host traces a program; kills any other caller" => [
        SYS_uretprobe SYS_uprobe
    ];
};

#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: &[Rule] = &[];
