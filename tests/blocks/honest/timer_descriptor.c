#include <stdint.h>
#include <sys/timerfd.h>
#include <unistd.h>
int main(void) {
    int timer = timerfd_create(CLOCK_MONOTONIC, 0);
    struct itimerspec every = { .it_interval = { .tv_sec = 5 }, .it_value = { .tv_sec = 5 } };
    timerfd_settime(timer, 0, &every, NULL);
    uint64_t expirations;
    for (int i = 0; i < 4; i++)
        if (read(timer, &expirations, sizeof expirations) < 0) return 1;
}
