#include <stdio.h>
#include <unistd.h>
static char bytes[1 << 20];
int main(void) {
    int ends[2];
    if (pipe(ends)) return 1;
    fclose(fopen("blocking", "w"));
    return write(ends[1], bytes, sizeof bytes) + read(ends[0], bytes, 1);
}
