#include <pthread.h>
#include <stdio.h>
int main(void) {
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    fclose(fopen("blocking", "w"));
    pthread_mutex_lock(&lock);
    return pthread_mutex_lock(&lock);
}
