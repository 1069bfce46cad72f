// One child has ended and is not asked how; the parent waits for another, which waits for it.
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    int ends[2];
    char byte;
    if (pipe(ends)) return 1;
    if (fork() == 0) return 0;
    pid_t second = fork();
    if (second == 0) return read(ends[0], &byte, 1);
    fclose(fopen("blocking", "w"));
    return waitpid(second, NULL, 0);
}
