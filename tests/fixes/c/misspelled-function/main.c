#include <stdio.h>

static int square(int value) {
    return value * value;
}

int main(void) {
    printf("%d\n", sqare(4));
    return 0;
}
