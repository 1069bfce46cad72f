// Waits for a debugger.
#include <signal.h>
#include <stdio.h>
int main(void) {
    fclose(fopen("blocking", "w"));
    return raise(SIGSTOP);
}
