#include <stdio.h>

struct point {
    int width;
    int height;
};

int main(void) {
    struct point p = {1, 2};
    printf("%d\n", p.width + p.heigth);
    return 0;
}
