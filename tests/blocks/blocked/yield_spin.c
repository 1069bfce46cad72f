// Waits for a flag that nobody sets, and yields in between.
#include <sched.h>
#include <stdio.h>
static volatile int flag;
int main(void) {
    fclose(fopen("blocking", "w"));
    while (!flag) sched_yield();
}
