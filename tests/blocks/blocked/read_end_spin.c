// Asks for more after the end of file, for ever.
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {
    int file = open("/dev/null", O_RDONLY);
    char byte;
    fclose(fopen("blocking", "w"));
    while (read(file, &byte, 1) <= 0);
}
