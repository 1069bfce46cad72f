// A silent computation of some length, without a system call.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int main(int count, char **arguments) {
    time_t end = time(NULL) + (count > 1 ? atoi(arguments[1]) : 20);
    unsigned long x = 88172645463325252UL;
    while (time(NULL) < end)
        for (int i = 0; i < 10000000; i++) { x ^= x << 13; x ^= x >> 7; x ^= x << 17; }
    printf("%lu\n", x);
}
