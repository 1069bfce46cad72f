/*
 * Attempts to get out of a sandbox, one a name on the command line. Each prints one line:
 *
 *     refused: EPERM       the kernel, or what cogo put before it, said no
 *     REACHED: detail      the attempt got what it wanted
 *     unclear: what        the attempt could not be made
 *
 * and exits with 1, 0 or 2, so that the verdict has to say the same as the line. All files here
 * are compiled as one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { REACHED = 0, REFUSED = 1, UNCLEAR = 2 };

struct attempt {
    const char *name;
    /* Gets what follows the name on the command line. */
    int (*run)(int argc, char **argv);
};

static int refused(void) {
    const char *name = strerrorname_np(errno);
    printf("refused: %s\n", name ? name : "?");
    return REFUSED;
}

static int reached(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("REACHED: ");
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
    return REACHED;
}

static int unclear(const char *what) {
    printf("unclear: %s: %s\n", what, strerror(errno));
    return UNCLEAR;
}

/* What a system call's result means. */
static int result(long status) {
    return status == -1 ? refused() : reached("returned %ld", status);
}

static int number(const char *text) {
    return text ? atoi(text) : 0;
}

/* Opens, reads a little, and tells what was there. */
static int read_file(const char *path) {
    /* The kernel's log refuses a read that has no room for its next message. */
    static char text[16 * 1024];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return refused();
    ssize_t length = read(fd, text, sizeof text - 1);
    if (length < 0)
        return refused();
    /* Enough to know it by. */
    text[length < 255 ? length : 255] = 0;
    for (char *at = text; *at; at++)
        if (*at == '\n')
            *at = ' ';
    return reached("%s", text);
}

/* Opens for writing, writes a text. */
static int write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return refused();
    if (write(fd, text, strlen(text)) < 0)
        return refused();
    return reached("wrote to %s", path);
}
