#include "types.h"
#include "window.h"

int main(void) {
    struct window window = {{3}};
    return window.size.width - 3;
}
