/* Processes outside, process 1, and ways to outlive or outgrow the exec. */
#include <linux/sched.h>
#include <sys/sendfile.h>
#include <sys/shm.h>

static const char SECRET[] = "the-victims-secret";

/*
 * Not an attempt: stands outside, tells its process id and the address of a secret, lets anyone
 * trace it, and waits for the end of its input.
 */
static int victim(int argc, char **argv) {
    char byte;
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    printf("%d %p\n", getpid(), (const void *)SECRET);
    fflush(stdout);
    while (read(0, &byte, 1) > 0)
        ;
    return 0;
}

static int attempt_kill(int argc, char **argv) {
    return result(kill(number(argv[0]), SIGKILL));
}

static int attempt_pidfd_kill(int argc, char **argv) {
    int pidfd = syscall(SYS_pidfd_open, number(argv[0]), 0);
    if (pidfd < 0)
        return refused();
    return result(syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0));
}

/* Everything up to a process id, in case the numbers mean something here. */
static int attempt_kill_range(int argc, char **argv) {
    int hit = 0;
    signal(SIGTERM, SIG_IGN);
    for (int pid = 2; pid <= number(argv[0]); pid++)
        if (pid != getpid() && kill(pid, SIGTERM) == 0)
            hit++;
    if (hit)
        return reached("%d processes", hit);
    errno = ESRCH;
    return refused();
}

/* `kill -9 -1`, with a child to show that it does work on what is inside. */
static int attempt_kill_all(int argc, char **argv) {
    pid_t child = fork();
    if (child == 0)
        for (;;)
            pause();
    if (kill(-1, SIGKILL))
        return refused();
    int status;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? reached("own child") : unclear("child");
}

/* No signal from inside may do anything to process 1. */
static int attempt_signal_init(int argc, char **argv) {
    for (int signal = 1; signal < NSIG; signal++)
        if (kill(1, signal) && errno != EINVAL && errno != EPERM)
            return unclear("kill");
    char state[64] = "";
    FILE *stat = fopen("/proc/1/stat", "re");
    if (!stat || !fgets(state, sizeof state, stat))
        return unclear("/proc/1/stat");
    const char *end = strrchr(state, ')');
    if (!end || end[2] == 'T' || end[2] == 'Z' || end[2] == 'X')
        return reached("process 1 is %s", state);
    printf("still there\n");
    return REFUSED;
}

static int attempt_trace(int argc, char **argv) {
    return result(ptrace(PTRACE_SEIZE, number(argv[0]), 0, 0));
}

static int attempt_read_memory(int argc, char **argv) {
    char text[sizeof SECRET] = "";
    struct iovec here = {text, sizeof text - 1};
    struct iovec there = {(void *)strtoull(argv[1], NULL, 0), sizeof text - 1};
    if (process_vm_readv(number(argv[0]), &here, 1, &there, 1, 0) < 0)
        return refused();
    return reached("%s", text);
}

static int attempt_take_descriptor(int argc, char **argv) {
    int pidfd = syscall(SYS_pidfd_open, number(argv[0]), 0);
    if (pidfd < 0)
        return refused();
    return result(syscall(SYS_pidfd_getfd, pidfd, 0, 0));
}

static int attempt_limit_other(int argc, char **argv) {
    struct rlimit none = {0, 0};
    return result(prlimit(number(argv[0]), RLIMIT_NOFILE, &none, NULL));
}

static int attempt_renice_other(int argc, char **argv) {
    return result(setpriority(PRIO_PROCESS, number(argv[0]), 19));
}

/* Looks for a text in the environment of every process there is. */
static int attempt_find_environment(int argc, char **argv) {
    static char text[1 << 16];
    for (int pid = 1; pid <= number(argv[1]); pid++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/environ", pid);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        ssize_t length = read(fd, text, sizeof text);
        close(fd);
        if (length > 0 && memmem(text, length, argv[0], strlen(argv[0])))
            return reached("in the environment of %d", pid);
    }
    errno = ESRCH;
    return refused();
}

/* Descriptors of our own beyond the standard streams were left by somebody. */
static int attempt_inherited_descriptors(int argc, char **argv) {
    for (int fd = 3; fd < 4096; fd++) {
        char path[64], to[256] = "";
        if (fcntl(fd, F_GETFD) < 0)
            continue;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        readlink(path, to, sizeof to - 1);
        return reached("%d is %s", fd, to);
    }
    errno = EBADF;
    return refused();
}

static int attempt_setns(int argc, char **argv) {
    int fd = open(argv[0], O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return refused();
    return result(setns(fd, 0));
}

static int attempt_unshare(int argc, char **argv) {
    return result(unshare(CLONE_NEWUSER));
}

static int attempt_clone(int argc, char **argv) {
    long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit(0);
    return result(child);
}

static int attempt_clone3(int argc, char **argv) {
    struct clone_args arguments = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
    long child = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (child == 0)
        _exit(0);
    return result(child);
}

#ifdef __x86_64__
/* A tracer that changes a call after it was made: the filter has to look after the tracer. */
static int attempt_trace_around_filter(int argc, char **argv) {
    pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        errno = 0;
        long status = syscall(SYS_getppid, CLONE_NEWUSER);
        exit(status == 0 ? reached("unshare returned 0") : refused());
    }
    int status;
    struct user_regs_struct registers;
    waitpid(child, &status, 0);
    if (!WIFSTOPPED(status))
        return unclear("trace");
    for (;;) {
        if (ptrace(PTRACE_SYSCALL, child, 0, 0) || waitpid(child, &status, 0) != child)
            return unclear("trace");
        if (WIFEXITED(status))
            return WEXITSTATUS(status);
        if (ptrace(PTRACE_GETREGS, child, 0, &registers))
            return unclear("registers");
        /* -ENOSYS in rax is the entry of a call. */
        if (registers.orig_rax == SYS_getppid && (long)registers.rax == -ENOSYS) {
            registers.orig_rax = SYS_unshare;
            if (ptrace(PTRACE_SETREGS, child, 0, &registers))
                return unclear("registers");
        }
    }
}
#endif

/* Starts itself from memory, where no file has a mount's attributes. */
static int attempt_memory_program(int argc, char **argv) {
    int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int memory = memfd_create("program", MFD_CLOEXEC);
    if (self < 0 || memory < 0)
        return unclear("open");
    while (sendfile(memory, self, NULL, 1 << 20) > 0)
        ;
    char *arguments[] = {"attempts", argv[0], NULL};
    char *environment[] = {NULL};
    fexecve(memory, arguments, environment);
    return unclear("fexecve");
}

/* What a set-user-id program finds itself to be. */
static int attempt_be_root(int argc, char **argv) {
    if (geteuid() == getuid()) {
        errno = EPERM;
        return refused();
    }
    return reached("uid %d euid %d", getuid(), geteuid());
}

/* The lines of /proc/self/status that say what a process may do. */
static int privileges(int argc, char **argv) {
    static const char *const kept[] = {"Cap", "NoNewPrivs", "Seccomp:"};
    char line[256];
    FILE *status = fopen("/proc/self/status", "re");
    while (status && fgets(line, sizeof line, status))
        for (int i = 0; i < 3; i++)
            if (strncmp(line, kept[i], strlen(kept[i])) == 0)
                fputs(line, stdout);
    return 0;
}

static int attempt_raise_capability(int argc, char **argv) {
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0) == 0)
        return reached("ambient");
    struct { uint32_t version; int pid; } header = {0x20080522, 0};
    struct { uint32_t effective, permitted, inheritable; } sets[2] = {{1 << 21, 1 << 21, 0}, {0}};
    return result(syscall(SYS_capset, &header, sets));
}

static int attempt_raise_limit(int argc, char **argv) {
    struct rlimit limit;
    int resource = number(argv[0]);
    getrlimit(resource, &limit);
    if (limit.rlim_max == RLIM_INFINITY)
        return unclear("there is no bound to raise");
    limit.rlim_max = limit.rlim_max + 4096;
    return result(setrlimit(resource, &limit));
}

static int attempt_real_time(int argc, char **argv) {
    struct sched_param parameters = {.sched_priority = 1};
    return result(sched_setscheduler(0, SCHED_FIFO, &parameters));
}

static int attempt_be_favored(int argc, char **argv) {
    errno = 0;
    return result(setpriority(PRIO_PROCESS, 0, -20));
}

static int attempt_spare_from_oom(int argc, char **argv) {
    return write_file("/proc/self/oom_score_adj", "-1000");
}

/* Every trick a daemon has at once; the last line tells that all of them are done. */
static int daemons(int argc, char **argv) {
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    for (int kind = 0; kind < 6; kind++) {
        if (fork())
            continue;
        for (int signal = 1; signal < NSIG; signal++)
            sigaction(signal, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
        if (kind & 1)
            setsid();
        if (kind & 2 && fork())
            _exit(0);
        if (kind & 4)
            raise(SIGSTOP);
        prctl(PR_SET_NAME, argv[0], 0, 0, 0);
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        chdir("/");
        for (;;)
            pause();
    }
    printf("started\n");
    return 0;
}

/* Deaf to every signal that can be ignored, and busy. */
static int deaf(int argc, char **argv) {
    for (int signal = 1; signal < NSIG; signal++)
        sigaction(signal, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    prctl(PR_SET_NAME, argv[0], 0, 0, 0);
    fork();
    for (;;)
        pause();
    return UNCLEAR;
}

/* Everyone forks, nobody leaves. */
static int fork_bomb(int argc, char **argv) {
    prctl(PR_SET_NAME, argv[0], 0, 0, 0);
    for (int refusals = 0; refusals < 100;)
        if (fork() < 0)
            refusals++;
    return refused();
}

static int attempt_shared_segment(int argc, char **argv) {
    return result(shmget(number(argv[0]), 0, 0));
}

/* Not an attempt: makes a segment that the host's processes share, or takes it away. */
static int make_segment(int argc, char **argv) {
    return result(shmget(number(argv[0]), 4096, IPC_CREAT | IPC_EXCL | 0666));
}

static int remove_segment(int argc, char **argv) {
    return result(shmctl(shmget(number(argv[0]), 0, 0), IPC_RMID, NULL));
}

static const struct attempt processes[] = {
    {"victim", victim},
    {"kill", attempt_kill},
    {"pidfd-kill", attempt_pidfd_kill},
    {"kill-range", attempt_kill_range},
    {"kill-all", attempt_kill_all},
    {"signal-init", attempt_signal_init},
    {"trace", attempt_trace},
    {"read-memory", attempt_read_memory},
    {"take-descriptor", attempt_take_descriptor},
    {"limit-other", attempt_limit_other},
    {"renice-other", attempt_renice_other},
    {"find-environment", attempt_find_environment},
    {"inherited-descriptors", attempt_inherited_descriptors},
    {"setns", attempt_setns},
    {"unshare", attempt_unshare},
    {"clone", attempt_clone},
    {"clone3", attempt_clone3},
#ifdef __x86_64__
    {"trace-around-filter", attempt_trace_around_filter},
#endif
    {"memory-program", attempt_memory_program},
    {"be-root", attempt_be_root},
    {"privileges", privileges},
    {"raise-capability", attempt_raise_capability},
    {"raise-limit", attempt_raise_limit},
    {"real-time", attempt_real_time},
    {"be-favored", attempt_be_favored},
    {"spare-from-oom", attempt_spare_from_oom},
    {"daemons", daemons},
    {"deaf", deaf},
    {"fork-bomb", fork_bomb},
    {"shared-segment", attempt_shared_segment},
    {"make-segment", make_segment},
    {"remove-segment", remove_segment},
    {NULL, NULL},
};
