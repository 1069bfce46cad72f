/* Files of the host, and the ways to them. */

static int attempt_open_write(int argc, char **argv) {
    int fd = open(argv[0], O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return refused();
    if (write(fd, "attempt", 7) < 0)
        return refused();
    return reached("wrote to %s", argv[0]);
}

static int attempt_link(int argc, char **argv) {
    return result(link(argv[0], argv[1]));
}

static int attempt_rename(int argc, char **argv) {
    return result(rename(argv[0], argv[1]));
}

static int attempt_exchange(int argc, char **argv) {
    return result(renameat2(AT_FDCWD, argv[0], AT_FDCWD, argv[1], RENAME_EXCHANGE));
}

static int attempt_truncate(int argc, char **argv) {
    return result(truncate(argv[0], 0));
}

static int attempt_chmod(int argc, char **argv) {
    return result(chmod(argv[0], 0777));
}

static int attempt_unlink(int argc, char **argv) {
    return result(unlink(argv[0]));
}

static int attempt_mkdir(int argc, char **argv) {
    return result(mkdir(argv[0], 0777));
}

static int attempt_touch(int argc, char **argv) {
    return result(utimensat(AT_FDCWD, argv[0], NULL, 0));
}

static int attempt_set_attribute(int argc, char **argv) {
    return result(setxattr(argv[0], "user.attempt", "x", 1, 0));
}

/* Opened for reading, opened again for writing through /proc. */
static int attempt_reopen(int argc, char **argv) {
    char path[64];
    int fd = open(argv[0], O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return unclear("open");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return write_file(path, "attempt");
}

/* From a directory that was removed, up as far as it goes. */
static int attempt_leave_removed_directory(int argc, char **argv) {
    char path[PATH_MAX];
    if (mkdir("removed", 0700) || chdir("removed") || rmdir("../removed"))
        return unclear("directory");
    snprintf(path, sizeof path, "../../../../../../../../../../..%s", argv[0]);
    return read_file(path);
}

/* Up from a directory that was moved while it was the working directory. */
static int attempt_leave_moved_directory(int argc, char **argv) {
    char path[PATH_MAX];
    mkdir("a", 0700);
    if (mkdir("a/b", 0700) || chdir("a/b") || rename("../../a/b", "../../moved"))
        return unclear("directory");
    snprintf(path, sizeof path, "../../../../../../../../../../..%s", argv[0]);
    return read_file(path);
}

static int attempt_list(int argc, char **argv) {
    char buffer[4096];
    int fd = open(argv[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return refused();
    long length = syscall(SYS_getdents64, fd, buffer, sizeof buffer);
    /* `.` and `..` are 24 bytes each. */
    if (length > 48)
        return reached("%ld bytes of names", length);
    errno = ENOENT;
    return refused();
}

/* Not an attempt: directories in each other, and one that nobody may enter. */
static int nest(int argc, char **argv) {
    if (mkdir("closed", 0700) || mkdir("closed/in", 0700) || mkdir("closed/in/deep", 0700))
        return unclear("directory");
    if (chmod("closed/in", 0500) || chmod("closed", 0))
        return unclear("mode");
    for (int depth = 0; depth < number(argv[0]); depth++)
        if (mkdir("d", 0700) || chdir("d"))
            return unclear("nesting");
    printf("nested\n");
    return 0;
}

static int crash(int argc, char **argv) {
    struct rlimit most;
    getrlimit(RLIMIT_CORE, &most);
    most.rlim_cur = most.rlim_max;
    setrlimit(RLIMIT_CORE, &most);
    raise(SIGSEGV);
    return UNCLEAR;
}

static const struct attempt files[] = {
    {"open-write", attempt_open_write},
    {"link", attempt_link},
    {"rename", attempt_rename},
    {"exchange", attempt_exchange},
    {"truncate", attempt_truncate},
    {"chmod", attempt_chmod},
    {"unlink", attempt_unlink},
    {"mkdir", attempt_mkdir},
    {"touch", attempt_touch},
    {"set-attribute", attempt_set_attribute},
    {"reopen", attempt_reopen},
    {"leave-removed-directory", attempt_leave_removed_directory},
    {"leave-moved-directory", attempt_leave_moved_directory},
    {"list", attempt_list},
    {"nest", nest},
    {"crash", crash},
    {NULL, NULL},
};
