#include <stdio.h>
int main(void) {
    int number;
    fclose(fopen("blocking", "w"));
    printf("How many? ");
    fflush(stdout);
    return scanf("%d", &number) == 1 ? number : 1;
}
