#include <poll.h>
#include <stdio.h>
int main(void) {
    struct pollfd input = { .fd = 0, .events = POLLIN };
    fclose(fopen("blocking", "w"));
    return poll(&input, 1, -1);
}
