// A fast writer behind a slow reader.
#include <string.h>
#include <unistd.h>
static char bytes[1 << 16];
int main(void) {
    int ends[2];
    if (pipe(ends)) return 1;
    if (fork() == 0) {
        close(ends[0]);
        for (int i = 0; i < 12; i++)
            if (write(ends[1], bytes, sizeof bytes) < 0) return 1;
        return 0;
    }
    close(ends[1]);
    while (read(ends[0], bytes, sizeof bytes) > 0) usleep(1800000);
}
