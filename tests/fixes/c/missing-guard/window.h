#include "types.h"
struct window {
    struct size size;
};
