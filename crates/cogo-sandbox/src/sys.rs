//! System calls that no well-kept crate offers safely: clone, vfork-and-exec, a few mount and
//! process calls. Nearly all `unsafe` of the launcher side is here.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::process::Pid;

/// A process made by [`clone_process`].
#[derive(Debug)]
pub(crate) struct ChildProcess {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
}

/// Where execution goes on after [`clone_process`].
pub(crate) enum Cloned {
    Parent(ChildProcess),
    Child,
}

/// `CLONE_INTO_CGROUP` of the kernel's `linux/sched.h`, which does not fit a `c_int`.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// Like `fork`, with namespace flags, and a pidfd for the parent. The child starts its life in
/// the cgroup (v2) whose directory is given, which spares a costly move.
///
/// # Safety
///
/// The calling process must be single-threaded: the child goes on in a copy of it.
pub(crate) unsafe fn clone_process(
    namespaces: c_int,
    cgroup: Option<BorrowedFd<'_>>,
) -> io::Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let into_cgroup = cgroup.map_or(0, |_| CLONE_INTO_CGROUP);
    // The kernel's `struct clone_args` up to `cgroup`: eleven 64-bit fields.
    let arguments: [u64; 11] = [
        u64::from((namespaces | libc::CLONE_PIDFD) as u32) | into_cgroup,
        (&raw mut pidfd) as u64,
        0,
        0,
        libc::SIGCHLD as u64,
        0,
        0,
        0,
        0,
        0,
        cgroup.map_or(0, |fd| fd.as_raw_fd() as u64),
    ];
    // SAFETY: the arguments are valid for the call; without CLONE_VM the child has its own
    // memory, and the caller promises that there is one thread.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            arguments.as_ptr(),
            size_of_val(&arguments),
        )
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        pid => {
            let pid = Pid::from_raw(pid as i32).expect("clone3 gave a positive process id");
            // SAFETY: the kernel stored a new descriptor, which nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent(ChildProcess { pid, pidfd }))
        }
    }
}

/// A command ready to be executed: everything is allocated before the child exists.
pub(crate) struct Execution {
    /// Paths to try in order, as `execvp` would.
    pub(crate) candidates: Vec<CString>,
    pub(crate) argv: Vec<CString>,
    pub(crate) env: Vec<CString>,
    pub(crate) cwd: CString,
    /// Become standard input, output and error.
    pub(crate) stdio: [OwnedFd; 3],
    /// Whether standard input is the terminal to be controlled by.
    pub(crate) controlling_terminal: bool,
    /// `cgroup.procs` files to write `0` to before the command runs.
    pub(crate) join: Vec<OwnedFd>,
}

/// Why [`Execution::start`] failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExecFailure {
    pub(crate) step: ExecStep,
    pub(crate) errno: i32,
}

/// The step of [`Execution::start`] that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExecStep {
    Clone = 1,
    JoinCgroup,
    Terminal,
    WorkingDirectory,
    Execute,
}

/// What the parent and its vfork child share while the parent sleeps.
struct Shared<'a> {
    execution: &'a Execution,
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    step: ExecStep,
    errno: i32,
}

const CHILD_STACK: usize = 64 * 1024;

impl Execution {
    /// Starts the command by vfork and exec. The caller sleeps until one of the two is decided.
    ///
    /// # Errors
    ///
    /// Tells the step and errno; no process is left then.
    pub(crate) fn start(&self) -> Result<ChildProcess, ExecFailure> {
        let mut shared = Shared {
            execution: self,
            argv: pointers(&self.argv),
            env: pointers(&self.env),
            step: ExecStep::Clone,
            errno: 0,
        };
        let mut stack = vec![0_u128; CHILD_STACK / size_of::<u128>()];
        let mut pidfd: RawFd = -1;
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
        // SAFETY: the child runs on its own stack, which outlives it because CLONE_VFORK holds
        // this thread until the child executed or ended; `shared` likewise. The stack grows
        // down from its end, which is aligned to 16 bytes by its element type.
        let pid = unsafe {
            let top = stack.as_mut_ptr().add(stack.len()).cast::<c_void>();
            libc::clone(
                child_main,
                top,
                flags,
                (&raw mut shared).cast(),
                &raw mut pidfd,
            )
        };
        if pid < 0 {
            let errno = io::Error::last_os_error()
                .raw_os_error()
                .unwrap_or(libc::EAGAIN);
            return Err(ExecFailure {
                step: ExecStep::Clone,
                errno,
            });
        }
        // SAFETY: the kernel stored a new descriptor, which nobody else owns.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        let pid = Pid::from_raw(pid).expect("clone gave a positive process id");
        if shared.errno == 0 {
            return Ok(ChildProcess { pid, pidfd });
        }
        let _ = wait_child(pid);
        Err(ExecFailure {
            step: shared.step,
            errno: shared.errno,
        })
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|s| s.as_ptr())
        .chain([std::ptr::null()])
        .collect()
}

/// The vfork child: system calls only, no allocation, no panic.
extern "C" fn child_main(argument: *mut c_void) -> c_int {
    // SAFETY: `start` passes a valid `Shared` and does not touch it while this runs.
    let shared = unsafe { &mut *argument.cast::<Shared<'_>>() };
    shared.errno = prepare_and_execute(shared);
    // SAFETY: ends this process alone, without running the parent's exit handlers.
    unsafe { libc::_exit(127) }
}

/// Runs in the vfork child; returns the errno of the step that failed.
fn prepare_and_execute(shared: &mut Shared<'_>) -> i32 {
    let execution = shared.execution;
    // SAFETY: every call below takes pointers into `Shared` and `Execution`, which the sleeping
    // parent keeps alive, and touches only state that is this process's own (descriptors,
    // signal mask, working directory are not shared without CLONE_FILES and CLONE_FS).
    unsafe {
        shared.step = ExecStep::JoinCgroup;
        for procs in &execution.join {
            if libc::write(procs.as_raw_fd(), c"0".as_ptr().cast(), 1) != 1 {
                return errno();
            }
        }
        libc::setsid();
        shared.step = ExecStep::Terminal;
        // Above the standard ones first: a source may itself be one of them.
        let mut sources = [0; 3];
        for (source, fd) in sources.iter_mut().zip(&execution.stdio) {
            *source = libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3);
            if *source < 0 {
                return errno();
            }
        }
        for (target, source) in sources.iter().enumerate() {
            if libc::dup2(*source, target as c_int) < 0 {
                return errno();
            }
        }
        if execution.controlling_terminal && libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
            return errno();
        }
        // Nothing of ours may reach the command.
        if libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) < 0 {
            return errno();
        }
        shared.step = ExecStep::WorkingDirectory;
        if libc::chdir(execution.cwd.as_ptr()) < 0 {
            return errno();
        }
        shared.step = ExecStep::Execute;
        reset_signals();
        let mut denied = false;
        for candidate in &execution.candidates {
            libc::execve(
                candidate.as_ptr(),
                shared.argv.as_ptr(),
                shared.env.as_ptr(),
            );
            match errno() {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => denied = true,
                other => return other,
            }
        }
        if denied { libc::EACCES } else { libc::ENOENT }
    }
}

/// Gives the command a clean slate: all signals unblocked and at their defaults. Rust ignores
/// SIGPIPE, and an ignored signal stays ignored across exec.
unsafe fn reset_signals() {
    // SAFETY: plain calls with valid pointers; the signal numbers are the kernel's.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let mut empty: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut empty);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const empty, std::ptr::null_mut());
    }
}

fn errno() -> i32 {
    // SAFETY: errno is thread-local and always valid.
    unsafe { *libc::__errno_location() }
}

/// How a child ended, and what it and the children it waited for used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reaped {
    pub(crate) pid: Pid,
    pub(crate) status: c_int,
    pub(crate) usage: ReapedUsage,
}

/// The part of `struct rusage` that we use.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct ReapedUsage {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
    /// Bytes, of the largest single process.
    pub(crate) resident_peak: u64,
    pub(crate) read: u64,
    pub(crate) written: u64,
}

/// Waits for that child.
pub(crate) fn wait_child(pid: Pid) -> io::Result<Reaped> {
    loop {
        match wait4(pid.as_raw_nonzero().get(), 0) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other?.ok_or_else(|| io::ErrorKind::NotFound.into()),
        }
    }
}

/// Reaps any ended child, without waiting.
pub(crate) fn reap_any() -> io::Result<Option<Reaped>> {
    match wait4(-1, libc::WNOHANG) {
        Err(e) if e.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        other => other,
    }
}

/// Whether this process has no child, not even a dead one. Of process 1 of a pid namespace that
/// means that nobody else is in it: orphans become its children.
pub(crate) fn has_no_child() -> bool {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    // SAFETY: all-zero is a valid siginfo, and the pointer is valid for the call.
    let result = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_ALL, 0, &raw mut info, options)
    };
    result < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD)
}

fn wait4(pid: c_int, options: c_int) -> io::Result<Option<Reaped>> {
    let mut status = 0;
    // SAFETY: all-zero is a valid rusage, and both pointers are valid for the call.
    let (pid, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (
            libc::wait4(pid, &raw mut status, options | libc::__WALL, &raw mut usage),
            usage,
        )
    };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    let Some(pid) = Pid::from_raw(pid) else {
        return Ok(None);
    };
    Ok(Some(Reaped {
        pid,
        status,
        usage: ReapedUsage::from(&usage),
    }))
}

impl From<&libc::rusage> for ReapedUsage {
    fn from(usage: &libc::rusage) -> Self {
        let time = |t: &libc::timeval| {
            Duration::new(
                t.tv_sec as u64,
                u32::try_from(t.tv_usec * 1000).unwrap_or(0),
            )
        };
        // Blocks are 512 bytes and kilobytes 1024, see getrusage(2).
        Self {
            user: time(&usage.ru_utime),
            system: time(&usage.ru_stime),
            resident_peak: usage.ru_maxrss as u64 * 1024,
            read: usage.ru_inblock as u64 * 512,
            written: usage.ru_oublock as u64 * 512,
        }
    }
}

/// Changes the attributes of a mount, and of those below it if asked.
pub(crate) fn mount_setattr(
    mount: BorrowedFd<'_>,
    path: &CStr,
    recursive: bool,
    set: u64,
    propagation: u64,
    user_namespace: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation,
        userns_fd: user_namespace.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path and the attributes are valid for the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })
}

/// Closes every descriptor from 3 on that is not in `keep`.
pub(crate) fn close_all_but(keep: &mut Vec<RawFd>) {
    keep.retain(|fd| *fd > 2);
    keep.sort_unstable();
    keep.dedup();
    let mut first = 3_u32;
    for &fd in keep.iter() {
        let fd = fd as u32;
        if fd > first {
            close_range(first, fd - 1);
        }
        first = fd + 1;
    }
    close_range(first, u32::MAX);
}

fn close_range(first: u32, last: u32) {
    // SAFETY: only called in a fresh child whose owned descriptors in that range are never
    // used or dropped again: the child ends without running destructors.
    unsafe {
        libc::syscall(libc::SYS_close_range, first, last, 0);
    }
}

/// Blocks all signals; those of children can then be read from the returned descriptor.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: plain calls with valid pointers; a new descriptor is owned by nobody else.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        check(i64::from(libc::sigprocmask(
            libc::SIG_SETMASK,
            &raw const all,
            std::ptr::null_mut(),
        )))?;
        let mut children: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut children);
        libc::sigaddset(&raw mut children, libc::SIGCHLD);
        let fd = libc::signalfd(
            -1,
            &raw const children,
            libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
        );
        check(i64::from(fd))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Undoes the blocking of [`child_signals`], for a child that lives an ordinary life.
pub(crate) fn unblock_signals() {
    // SAFETY: plain calls with valid pointers.
    unsafe {
        let mut empty: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut empty);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const empty, std::ptr::null_mut());
    }
}

/// Has the scheduler let this process in soon when it wakes, even while another computes: what
/// our processes do on waking is short, and everybody waits for it. The share of the CPU stays the
/// same. Children do not inherit it. Kernels before 6.12 have no such thing and ignore it.
pub(crate) fn ask_for_short_slices() {
    // The least that the kernel takes.
    const SLICE_NS: u64 = 100_000;
    const RESET_ON_FORK: u64 = 1;
    // SAFETY: plain data for which all-zero is valid; the kernel reads `size` bytes of it.
    unsafe {
        let mut attributes: libc::sched_attr = std::mem::zeroed();
        attributes.size = size_of::<libc::sched_attr>() as u32;
        attributes.sched_policy = libc::SCHED_OTHER as u32;
        attributes.sched_flags = RESET_ON_FORK;
        attributes.sched_nice = libc::getpriority(libc::PRIO_PROCESS, 0);
        attributes.sched_runtime = SLICE_NS;
        // Refused, it is as it was.
        libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0);
    }
}

/// What a process of the same user may change of another, and its children inherit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scheduling {
    /// `struct sched_attr`: policy, niceness, slice, bounds of utilization.
    attributes: Vec<u8>,
    cpus: Vec<u8>,
    io_priority: i64,
}

impl Scheduling {
    pub(crate) fn of_self() -> io::Result<Self> {
        // Room for the attributes and the CPU set of kernels to come.
        let mut attributes = vec![0_u8; 128];
        let mut cpus = vec![0_u8; 1024];
        const IOPRIO_WHO_PROCESS: c_int = 1;
        // SAFETY: the kernel writes no more than the size that it is told.
        let (first, count, io_priority) = unsafe {
            (
                libc::syscall(
                    libc::SYS_sched_getattr,
                    0,
                    attributes.as_mut_ptr(),
                    attributes.len(),
                    0,
                ),
                libc::syscall(
                    libc::SYS_sched_getaffinity,
                    0,
                    cpus.len(),
                    cpus.as_mut_ptr(),
                ),
                libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0),
            )
        };
        check(first)?;
        check(count)?;
        check(io_priority)?;
        cpus.truncate(count as usize);
        Ok(Self {
            attributes,
            cpus,
            io_priority,
        })
    }
}

/// How many shared memory segments, semaphore sets and message queues (System V) there are in
/// this process's ipc namespace.
pub(crate) fn ipc_objects() -> io::Result<[u64; 3]> {
    // The kernel's numbers, which libc has only in part.
    const SHM_INFO: c_int = 14;
    const SEM_INFO: c_int = 19;
    const MSG_INFO: c_int = 12;
    /// `struct shm_info` (56 bytes), `seminfo` (40) and `msginfo` (32) fit, and begin with `int`s.
    type Info = [c_int; 32];
    let (mut shm, mut sem, mut msg): (Info, Info, Info) = ([0; 32], [0; 32], [0; 32]);
    // SAFETY: each buffer is larger than what the kernel writes into it.
    unsafe {
        let shm_info: *mut libc::shmid_ds = shm.as_mut_ptr().cast();
        check(i64::from(libc::shmctl(0, SHM_INFO, shm_info)))?;
        check(i64::from(libc::semctl(0, 0, SEM_INFO, sem.as_mut_ptr())))?;
        let msg_info: *mut libc::msqid_ds = msg.as_mut_ptr().cast();
        check(i64::from(libc::msgctl(0, MSG_INFO, msg_info)))?;
    }
    // `used_ids`; `semusz`, the eighth; `msgpool`, the first.
    Ok([shm[0], sem[7], msg[0]].map(|count| count as u64))
}

/// Empties a descriptor made by [`child_signals`].
pub(crate) fn drain_child_signals(signals: &OwnedFd) {
    let mut buffer = [0_u8; size_of::<libc::signalfd_siginfo>() * 4];
    while rustix::io::read(signals, &mut buffer).is_ok_and(|read| read == buffer.len()) {}
}

/// Sends a signal to every process this one may signal; as process 1 of a pid namespace, to
/// all others in it.
pub(crate) fn signal_all(signal: i32) {
    // SAFETY: no memory is involved.
    unsafe {
        libc::kill(-1, signal);
    }
}

/// Sends a signal to a process group. A group that is gone is no error.
pub(crate) fn signal_group(group: Pid, signal: i32) {
    // SAFETY: no memory is involved.
    unsafe {
        libc::kill(-group.as_raw_nonzero().get(), signal);
    }
}

/// Brings up the loopback interface of the current network namespace.
pub(crate) fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: all-zero is a valid ifreq; the name is shorter than its field.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as c_char;
        request.ifr_name[1] = b'o' as c_char;
        request.ifr_ifru.ifru_flags = libc::IFF_UP as i16;
        check(i64::from(libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS,
            &raw mut request,
        )))
    }
}

/// Sets the host name of the current UTS namespace.
pub(crate) fn set_host_name(name: &str) -> io::Result<()> {
    Ok(rustix::system::sethostname(name.as_bytes())?)
}

fn check(result: i64) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
