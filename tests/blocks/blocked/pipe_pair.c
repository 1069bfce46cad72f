// Two processes each wait for the other's first byte.
#include <stdio.h>
#include <unistd.h>
int main(void) {
    int there[2], back[2];
    char byte;
    if (pipe(there) || pipe(back)) return 1;
    fclose(fopen("blocking", "w"));
    if (fork() == 0) {
        if (read(there[0], &byte, 1) == 1) return write(back[1], &byte, 1);
        return 1;
    }
    if (read(back[0], &byte, 1) == 1) return write(there[1], &byte, 1);
    return 1;
}
