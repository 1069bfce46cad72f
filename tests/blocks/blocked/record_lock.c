// As with whole files, with record locks over two files, so that the kernel's own check for
// circles, which knows one process at a time, has nothing to object to.
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    int file = open("lock", O_RDWR | O_CREAT, 0600);
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    fcntl(file, F_SETLKW, &whole);
    fclose(fopen("blocking", "w"));
    if (fork() == 0) return fcntl(open("lock", O_RDWR), F_SETLKW, &whole);
    return wait(NULL);
}
