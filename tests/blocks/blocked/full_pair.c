// Two processes write to each other, and neither reads.
#include <stdio.h>
#include <unistd.h>
static char bytes[1 << 20];
int main(void) {
    int there[2], back[2];
    if (pipe(there) || pipe(back)) return 1;
    fclose(fopen("blocking", "w"));
    if (fork() == 0) return write(back[1], bytes, sizeof bytes) + read(there[0], bytes, 1);
    return write(there[1], bytes, sizeof bytes) + read(back[0], bytes, 1);
}
