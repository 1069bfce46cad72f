#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {
    int terminal = open("/dev/tty", O_RDWR);
    char answer;
    dprintf(terminal, "The authenticity of host 'example' can't be established. Continue? ");
    fclose(fopen("blocking", "w"));
    return read(terminal, &answer, 1) == 1 ? 0 : 1;
}
