#include <stdio.h>
int main(void) {
    fclose(fopen("blocking", "w"));
    for (volatile unsigned long i = 0;; i++);
}
