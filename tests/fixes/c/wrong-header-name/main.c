#include "matrx.h"

int main(void) {
    return trace(1, -1);
}
