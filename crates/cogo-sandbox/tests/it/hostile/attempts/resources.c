/* Memory, disks and output of the host. */

/* Most that is ever taken, should nothing stop it. */
#define ENOUGH (512L << 20)

static int attempt_take_memory(int argc, char **argv) {
    for (long taken = 0; taken < ENOUGH; taken += 1 << 20) {
        char *page = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED)
            return refused();
        memset(page, 1, 1 << 20);
    }
    return reached("%ld bytes", ENOUGH);
}

static int attempt_take_shared_memory(int argc, char **argv) {
    for (long taken = 0; taken < ENOUGH; taken += 1 << 20) {
        int id = shmget(IPC_PRIVATE, 1 << 20, IPC_CREAT | 0600);
        char *segment = id < 0 ? (void *)-1 : shmat(id, NULL, 0);
        if (segment == (void *)-1)
            return refused();
        memset(segment, 1, 1 << 20);
    }
    return reached("%ld bytes", ENOUGH);
}

/* Fills a file, by a name or, without one, in memory. */
static int attempt_fill(int argc, char **argv) {
    static char block[1 << 20];
    int fd = argc > 0 ? open(argv[0], O_CREAT | O_WRONLY | O_CLOEXEC, 0600)
                      : memfd_create("fill", MFD_CLOEXEC);
    if (fd < 0)
        return unclear("open");
    memset(block, 1, sizeof block);
    for (long taken = 0; taken < ENOUGH; taken += sizeof block)
        if (write(fd, block, sizeof block) < 0)
            return refused();
    return reached("%ld bytes", ENOUGH);
}

/* Empty files take no bytes, but they take memory of the kernel. */
static int attempt_fill_with_names(int argc, char **argv) {
    for (int count = 0; count < 100000; count++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%d", argv[0], count);
        if (mknod(path, S_IFREG | 0600, 0))
            return refused();
    }
    return reached("100000 files");
}

static int attempt_take_descriptors(int argc, char **argv) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (long count = 0; count < 1 << 20; count++)
        if (dup(0) < 0)
            return refused();
    return reached("a million descriptors");
}

/* Every byte, and every pair of bytes that is no UTF-8. */
static int binary_output(int argc, char **argv) {
    unsigned char bytes[256];
    for (int i = 0; i < 256; i++)
        bytes[i] = i;
    for (int turn = 0; turn < 64; turn++) {
        if (write(1, bytes, sizeof bytes) != sizeof bytes)
            return UNCLEAR;
        bytes[turn * 3 % 256] ^= 0xc0;
    }
    return 0;
}

/* Lines with their numbers, as many bytes as asked for. */
static int flood(int argc, char **argv) {
    long wanted = atol(argv[0]);
    for (long written = 0, line = 0; written < wanted; line++)
        written += printf("line %ld of a flood of lines\n", line);
    printf("the last line\n");
    return 0;
}

/* Spoils its own output in every way a pipe knows, then prints. */
static int spoil_output(int argc, char **argv) {
    fcntl(1, F_SETPIPE_SZ, 4096);
    fcntl(1, F_SETFL, O_NONBLOCK | O_ASYNC | O_DIRECT);
    fcntl(1, F_SETOWN, 1);
    fcntl(1, F_SETSIG, SIGKILL);
    ioctl(1, FIOASYNC, &(int){1});
    int again = open("/proc/self/fd/1", O_WRONLY | O_CLOEXEC);
    if (again < 0)
        return unclear("open");
    fcntl(1, F_SETFL, 0);
    dprintf(again, "again\n");
    dprintf(1, "done\n");
    return 0;
}

static int close_everything(int argc, char **argv) {
    close_range(0, ~0U, 0);
    return 5;
}

static int count_arguments(int argc, char **argv) {
    size_t bytes = 0;
    for (int i = 0; i < argc; i++)
        bytes += strlen(argv[i]);
    for (char **variable = environ; *variable; variable++)
        bytes += strncmp(*variable, "HUGE", 4) == 0 ? strlen(*variable) : 0;
    printf("%zu\n", bytes);
    return 0;
}

static const struct attempt resources[] = {
    {"take-memory", attempt_take_memory},
    {"take-shared-memory", attempt_take_shared_memory},
    {"fill", attempt_fill},
    {"fill-with-names", attempt_fill_with_names},
    {"take-descriptors", attempt_take_descriptors},
    {"binary-output", binary_output},
    {"flood", flood},
    {"spoil-output", spoil_output},
    {"close-everything", close_everything},
    {"count-arguments", count_arguments},
    {NULL, NULL},
};
