// The child waits for a lock of the parent, which waits for the child.
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    int mine = open("lock", O_RDWR | O_CREAT, 0600);
    flock(mine, LOCK_EX);
    fclose(fopen("blocking", "w"));
    if (fork() == 0) {
        int other = open("lock", O_RDWR);
        return flock(other, LOCK_EX);
    }
    return wait(NULL);
}
