#include <stdio.h>
#include <unistd.h>
int main(void) {
    int ends[2];
    char byte;
    if (pipe(ends)) return 1;
    fclose(fopen("blocking", "w"));
    return read(ends[0], &byte, 1);
}
