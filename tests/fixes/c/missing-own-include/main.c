#include <stdio.h>

int main(void) {
    struct list list = {3};
    printf("%d\n", list_length(&list));
    return 0;
}
