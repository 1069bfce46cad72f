#include <stdio.h>

static void show(int value) {
    if (value > 0) {
        printf("%d\n", value);

}

int main(void) {
    show(1);
    return 0;
}
