// Processes take turns with a lock; each works for a while under it.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    for (int i = 0; i < 4; i++)
        if (fork() == 0) {
            int file = open("lock", O_RDWR | O_CREAT, 0600);
            flock(file, LOCK_EX);
            sleep(4);
            return 0;
        }
    while (wait(NULL) > 0);
}
