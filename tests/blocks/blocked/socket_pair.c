// Both sides of a socket pair wait for the other to speak.
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void) {
    int ends[2];
    char byte;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) return 1;
    fclose(fopen("blocking", "w"));
    int mine = ends[fork() == 0];
    return recv(mine, &byte, 1, 0);
}
