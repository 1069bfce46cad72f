// Tight loops, and a line now and then.
#include <stdio.h>
#include <time.h>
int main(void) {
    unsigned long x = 1;
    for (int step = 0; step < 3; step++) {
        time_t end = time(NULL) + 8;
        while (time(NULL) < end)
            for (int i = 0; i < 1000000; i++) x = x * 6364136223846793005UL + 1;
        printf("step %d\n", step);
        fflush(stdout);
    }
    return x == 0;
}
