// Polls an empty pipe without a pause.
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {
    int ends[2];
    char byte;
    if (pipe(ends)) return 1;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    fclose(fopen("blocking", "w"));
    while (read(ends[0], &byte, 1) < 0);
}
