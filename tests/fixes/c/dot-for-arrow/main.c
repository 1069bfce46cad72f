#include <stdio.h>

struct node {
    int value;
};

static int value_of(struct node *node) {
    return node.value;
}

int main(void) {
    struct node node = {7};
    printf("%d\n", value_of(&node));
    return 0;
}
