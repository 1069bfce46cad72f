#ifndef LIST_H
#define LIST_H
struct list {
    int length;
};
int list_length(const struct list *list);
#endif
