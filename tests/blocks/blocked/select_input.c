// Looks for a key four times a second.
#include <stdio.h>
#include <sys/select.h>
int main(void) {
    fclose(fopen("blocking", "w"));
    for (;;) {
        fd_set set;
        FD_ZERO(&set);
        FD_SET(0, &set);
        struct timeval wait = { .tv_usec = 250000 };
        if (select(1, &set, NULL, NULL, &wait) > 0) return 0;
    }
}
