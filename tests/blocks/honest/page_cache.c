// Reads a file larger than the memory limit, again and again.
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
static char bytes[1 << 20];
int main(void) {
    int file = open("big", O_RDWR | O_CREAT, 0600);
    for (int i = 0; i < 200; i++)
        if (write(file, bytes, sizeof bytes) < 0) return 1;
    time_t end = time(NULL) + 15;
    while (time(NULL) < end) {
        lseek(file, 0, SEEK_SET);
        while (read(file, bytes, sizeof bytes) > 0);
    }
}
