/* Doors into the kernel and its settings. */
#include <linux/aio_abi.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <linux/reboot.h>
#include <linux/userfaultfd.h>
#include <sys/fanotify.h>
#include <sys/klog.h>
#include <sys/personality.h>
#include <sys/quota.h>
#include <sys/swap.h>
#include <sys/xattr.h>
#include <termios.h>
#ifdef __x86_64__
#include <sys/io.h>
#endif

static int attempt_mount(int argc, char **argv) {
    return result(mount("tmpfs", "/tmp", "tmpfs", 0, NULL));
}

static int attempt_bind_mount(int argc, char **argv) {
    return result(mount("/etc", "/tmp", NULL, MS_BIND | MS_REC, NULL));
}

static int attempt_remount_root(int argc, char **argv) {
    return result(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL));
}

/* The root of the sandbox must not become a place that sends its mounts on. */
static int attempt_share_mounts(int argc, char **argv) {
    return result(mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL));
}

static int attempt_unmount(int argc, char **argv) {
    return result(umount2("/proc", MNT_DETACH));
}

static int attempt_pivot_root(int argc, char **argv) {
    if (chdir("/tmp"))
        return unclear("chdir");
    return result(syscall(SYS_pivot_root, ".", "."));
}

static int attempt_chroot(int argc, char **argv) {
    return result(chroot("/tmp"));
}

/* A memory cgroup hierarchy, from where `release_agent` names a program the host runs. */
static int attempt_mount_cgroup(int argc, char **argv) {
    mkdir("/tmp/cgroup", 0700);
    if (mount("cgroup", "/tmp/cgroup", "cgroup", 0, "none,name=cogo-attempt") == 0)
        return reached("cgroup v1");
    return result(mount("cgroup2", "/tmp/cgroup", "cgroup2", 0, NULL));
}

static int attempt_fsopen(int argc, char **argv) {
    return result(syscall(SYS_fsopen, "tmpfs", 0));
}

static int attempt_open_tree(int argc, char **argv) {
    return result(syscall(SYS_open_tree, AT_FDCWD, "/etc", 1 /* OPEN_TREE_CLONE */));
}

static int attempt_move_mount(int argc, char **argv) {
    return result(syscall(SYS_move_mount, AT_FDCWD, "/proc", AT_FDCWD, "/tmp", 0));
}

static int attempt_mount_setattr(int argc, char **argv) {
    struct { uint64_t set, clear, propagation, userns; } attributes = {0, 1 /* read-only */, 0, 0};
    return result(syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &attributes, sizeof attributes));
}

/* A new mount namespace and what is locked in it: nothing may be taken off /proc. */
static int attempt_unmask_proc(int argc, char **argv) {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
        return refused();
    return result(umount2("/proc/sys", MNT_DETACH));
}

static int attempt_mknod(int argc, char **argv) {
    int block = argc > 0 && strcmp(argv[0], "block") == 0;
    const char *path = argc > 1 ? argv[1] : "device";
    return result(mknod(path, (block ? S_IFBLK : S_IFCHR) | 0666, block ? 7 << 8 : (1 << 8) | 1));
}

static int attempt_bpf(int argc, char **argv) {
    union bpf_attr map = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4,
                          .max_entries = 1};
    return result(syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof map));
}

static int attempt_perf(int argc, char **argv) {
    struct perf_event_attr event = {.type = PERF_TYPE_SOFTWARE, .size = sizeof event,
                                    .config = PERF_COUNT_SW_TASK_CLOCK, .exclude_kernel = 1,
                                    .exclude_hv = 1};
    return result(syscall(SYS_perf_event_open, &event, 0, -1, -1, 0));
}

static int attempt_userfaultfd(int argc, char **argv) {
    return result(syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY));
}

static int attempt_io_uring(int argc, char **argv) {
    struct io_uring_params parameters = {0};
    return result(syscall(SYS_io_uring_setup, 4, &parameters));
}

static int attempt_add_key(int argc, char **argv) {
    return result(syscall(SYS_add_key, "user", "cogo-attempt", "x", 1, KEY_SPEC_PROCESS_KEYRING));
}

/* The session keyring is the caller's: login secrets, Kerberos tickets. */
static int attempt_keyctl(int argc, char **argv) {
    return result(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_KEYRING, 1));
}

static int attempt_syslog(int argc, char **argv) {
    char text[64];
    return result(klogctl(3, text, sizeof text));
}

/* Ctrl-Alt-Del stays as it is on most machines, should this ever be carried out. */
static int attempt_reboot(int argc, char **argv) {
    return result(syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
                          LINUX_REBOOT_CMD_CAD_OFF, NULL));
}

static int attempt_swapon(int argc, char **argv) {
    int fd = open("swap", O_CREAT | O_WRONLY, 0600);
    if (fd < 0)
        return unclear("open");
    close(fd);
    return result(swapon("swap", 0));
}

static int attempt_swapoff(int argc, char **argv) {
    return result(swapoff("swap"));
}

static int attempt_init_module(int argc, char **argv) {
    return result(syscall(SYS_init_module, "", 0, ""));
}

static int attempt_finit_module(int argc, char **argv) {
    return result(syscall(SYS_finit_module, 0, "", 0));
}

static int attempt_delete_module(int argc, char **argv) {
    return result(syscall(SYS_delete_module, "cogo-attempt", O_NONBLOCK));
}

static int attempt_kexec(int argc, char **argv) {
    return result(syscall(SYS_kexec_load, 0, 0, NULL, 0));
}

static int attempt_kexec_file(int argc, char **argv) {
    return result(syscall(SYS_kexec_file_load, -1, -1, 0, "", 4 /* without initrd */));
}

static int attempt_quotactl(int argc, char **argv) {
    return result(quotactl(QCMD(Q_QUOTAOFF, USRQUOTA), "/dev/null", 0, NULL));
}

static int attempt_acct(int argc, char **argv) {
    return result(acct(NULL));
}

static int attempt_vhangup(int argc, char **argv) {
    return result(syscall(SYS_vhangup));
}

/* Two seconds: enough to be seen, too little to do harm. */
static int attempt_clock_settime(int argc, char **argv) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec += 2;
    return result(clock_settime(CLOCK_REALTIME, &now));
}

static int attempt_settimeofday(int argc, char **argv) {
    struct timeval now;
    gettimeofday(&now, NULL);
    now.tv_sec += 2;
    return result(settimeofday(&now, NULL));
}

static int attempt_adjtimex(int argc, char **argv) {
    struct timex change = {.modes = ADJ_SETOFFSET, .time = {.tv_sec = 2}};
    return result(adjtimex(&change));
}

static int attempt_sethostname(int argc, char **argv) {
    return result(sethostname("cogo-attempt", 12));
}

static int attempt_setdomainname(int argc, char **argv) {
    return result(setdomainname("cogo-attempt", 12));
}

static int attempt_read_hostname(int argc, char **argv) {
    char name[256];
    gethostname(name, sizeof name);
    return reached("%s", name);
}

static int attempt_fanotify(int argc, char **argv) {
    return result(syscall(SYS_fanotify_init, FAN_CLASS_CONTENT, O_RDONLY));
}

static int attempt_kcmp(int argc, char **argv) {
    return result(syscall(SYS_kcmp, getpid(), getpid(), 0 /* KCMP_FILE */, 0, 0));
}

static int attempt_memfd_secret(int argc, char **argv) {
    return result(syscall(SYS_memfd_secret, 0));
}

static int attempt_readable_is_executable(int argc, char **argv) {
    return result(personality(READ_IMPLIES_EXEC));
}

/* Debuggers want this one, and it weakens only the program itself. */
static int attempt_no_randomization(int argc, char **argv) {
    return result(personality(ADDR_NO_RANDOMIZE));
}

#ifdef __x86_64__
static int attempt_io_ports(int argc, char **argv) {
    if (iopl(3) == 0)
        return reached("iopl");
    return result(ioperm(0x80, 1, 1));
}

static int attempt_modify_ldt(int argc, char **argv) {
    char table[64];
    return result(syscall(SYS_modify_ldt, 0, table, sizeof table));
}

/* x32: the same calls under other numbers. */
static int attempt_x32(int argc, char **argv) {
    return result(syscall(0x40000000 | SYS_unshare, CLONE_NEWUSER));
}

/* i386: other numbers through another door. 20 is getpid there. */
static int attempt_i386(int argc, char **argv) {
    long status = 20;
    __asm__ volatile("int $0x80" : "+a"(status) : : "memory", "r8", "r9", "r10", "r11");
    return reached("getpid said %ld", status);
}
#endif

static int attempt_type_into_terminal(int argc, char **argv) {
    return result(ioctl(0, TIOCSTI, "x"));
}

static int attempt_console_paste(int argc, char **argv) {
    char paste = 3; /* TIOCL_PASTESEL */
    return result(ioctl(0, TIOCLINUX, &paste));
}

static int attempt_line_discipline(int argc, char **argv) {
    int discipline = 0; /* N_TTY, the one it has */
    return result(ioctl(0, TIOCSETD, &discipline));
}

static int attempt_console_output(int argc, char **argv) {
    return result(ioctl(0, TIOCCONS, 0));
}

/* As `shocker` did: a handle is made up, so no directory is in the way. */
static int attempt_open_by_handle(int argc, char **argv) {
    struct { struct file_handle handle; unsigned char bytes[MAX_HANDLE_SZ]; } named;
    int mount_id;
    named.handle.handle_bytes = MAX_HANDLE_SZ;
    const char *path = argc > 0 ? argv[0] : ".";
    if (name_to_handle_at(AT_FDCWD, path, &named.handle, &mount_id, 0))
        return unclear("name_to_handle_at");
    int mount = open(path, O_RDONLY | O_CLOEXEC);
    if (mount < 0)
        return unclear("open");
    int fd = open_by_handle_at(mount, &named.handle, O_RDONLY);
    return result(fd);
}

static int attempt_write(int argc, char **argv) {
    return write_file(argv[0], argv[1]);
}

static int attempt_read(int argc, char **argv) {
    return read_file(argv[0]);
}

static int attempt_chown(int argc, char **argv) {
    int fd = open("mine", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        return unclear("open");
    return result(fchown(fd, number(argv[0]), -1));
}

static int attempt_file_capability(int argc, char **argv) {
    int fd = open("mine", O_CREAT | O_WRONLY | O_CLOEXEC, 0700);
    if (fd < 0)
        return unclear("open");
    /* Version 2, effective, CAP_SYS_ADMIN permitted. */
    uint32_t capability[5] = {0x02000001, 1 << 21, 0, 0, 0};
    return result(fsetxattr(fd, "security.capability", capability, sizeof capability, 0));
}

static int attempt_trusted_attribute(int argc, char **argv) {
    int fd = open("mine", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        return unclear("open");
    return result(fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0));
}

/* A set-user-id file of the caller's would run the command's code with the caller's rights. */
static int attempt_make_setuid(int argc, char **argv) {
    int fd = open("suid", O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
    if (fd < 0)
        return unclear("open");
    const char *way = argv[0];
    if (strcmp(way, "fchmod") == 0)
        return result(fchmod(fd, 04755));
    if (strcmp(way, "chmod") == 0)
        return result(chmod("suid", 04755));
    if (strcmp(way, "fchmodat") == 0)
        return result(fchmodat(AT_FDCWD, "suid", 04755, 0));
    if (strcmp(way, "fchmodat2") == 0)
        return result(syscall(452, AT_FDCWD, "suid", 04755, 0));
    if (strcmp(way, "openat") == 0)
        return result(openat(AT_FDCWD, "suid-openat", O_CREAT | O_WRONLY, 04755));
    if (strcmp(way, "mknod") == 0)
        return result(mknod("suid-mknod", S_IFREG | 04755, 0));
    if (strcmp(way, "tmpfile") == 0) {
        int unnamed = open(".", O_TMPFILE | O_RDWR, 04755);
        if (unnamed < 0)
            return refused();
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", unnamed);
        return result(linkat(AT_FDCWD, path, AT_FDCWD, "suid-tmpfile", AT_SYMLINK_FOLLOW));
    }
    if (strcmp(way, "openat2") == 0) {
        struct { uint64_t flags, mode, resolve; } how = {O_CREAT | O_WRONLY, 04755, 0};
        return result(syscall(SYS_openat2, AT_FDCWD, "suid-openat2", &how, sizeof how));
    }
#ifdef __x86_64__
    if (strcmp(way, "open") == 0)
        return result(syscall(SYS_open, "suid-open", O_CREAT | O_WRONLY, 04755));
    if (strcmp(way, "creat") == 0)
        return result(syscall(SYS_creat, "suid-creat", 04755));
#endif
    return unclear("unknown way");
}

static const struct attempt kernel[] = {
    {"mount", attempt_mount},
    {"bind-mount", attempt_bind_mount},
    {"remount-root", attempt_remount_root},
    {"share-mounts", attempt_share_mounts},
    {"unmount", attempt_unmount},
    {"pivot-root", attempt_pivot_root},
    {"chroot", attempt_chroot},
    {"mount-cgroup", attempt_mount_cgroup},
    {"fsopen", attempt_fsopen},
    {"open-tree", attempt_open_tree},
    {"move-mount", attempt_move_mount},
    {"mount-setattr", attempt_mount_setattr},
    {"unmask-proc", attempt_unmask_proc},
    {"mknod", attempt_mknod},
    {"bpf", attempt_bpf},
    {"perf", attempt_perf},
    {"userfaultfd", attempt_userfaultfd},
    {"io-uring", attempt_io_uring},
    {"add-key", attempt_add_key},
    {"keyctl", attempt_keyctl},
    {"syslog", attempt_syslog},
    {"reboot", attempt_reboot},
    {"swapon", attempt_swapon},
    {"swapoff", attempt_swapoff},
    {"init-module", attempt_init_module},
    {"finit-module", attempt_finit_module},
    {"delete-module", attempt_delete_module},
    {"kexec", attempt_kexec},
    {"kexec-file", attempt_kexec_file},
    {"quotactl", attempt_quotactl},
    {"acct", attempt_acct},
    {"vhangup", attempt_vhangup},
    {"clock-settime", attempt_clock_settime},
    {"settimeofday", attempt_settimeofday},
    {"adjtimex", attempt_adjtimex},
    {"sethostname", attempt_sethostname},
    {"setdomainname", attempt_setdomainname},
    {"read-hostname", attempt_read_hostname},
    {"fanotify", attempt_fanotify},
    {"kcmp", attempt_kcmp},
    {"memfd-secret", attempt_memfd_secret},
    {"readable-is-executable", attempt_readable_is_executable},
    {"no-randomization", attempt_no_randomization},
#ifdef __x86_64__
    {"io-ports", attempt_io_ports},
    {"modify-ldt", attempt_modify_ldt},
    {"x32", attempt_x32},
    {"i386", attempt_i386},
#endif
    {"type-into-terminal", attempt_type_into_terminal},
    {"console-paste", attempt_console_paste},
    {"line-discipline", attempt_line_discipline},
    {"console-output", attempt_console_output},
    {"open-by-handle", attempt_open_by_handle},
    {"write", attempt_write},
    {"read", attempt_read},
    {"chown", attempt_chown},
    {"file-capability", attempt_file_capability},
    {"trusted-attribute", attempt_trusted_attribute},
    {"make-setuid", attempt_make_setuid},
    {NULL, NULL},
};
