#include "list.h"

int list_length(const struct list *list) {
    return list->length;
}
