#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int count, char **arguments) {
    size_t size = (size_t)atoi(arguments[1]) << 20;
    char *block = malloc(size);
    memset(block, 1, size);
    puts("had it");
    return block[size / 2] != 1;
}
