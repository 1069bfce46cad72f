#include <stdio.h>
#include <unistd.h>
int main(void) {
    fclose(fopen("blocking", "w"));
    for (;;) {
        if (fork() == 0) pause();
        usleep(1000);
    }
}
