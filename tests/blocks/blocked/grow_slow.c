// Leaks a megabyte at a time.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(void) {
    fclose(fopen("blocking", "w"));
    for (;;) {
        memset(malloc(1 << 20), 1, 1 << 20);
        usleep(100000);
    }
}
