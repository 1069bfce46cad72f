#include <pthread.h>
#include <stdio.h>
int main(void) {
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    pthread_mutex_lock(&lock);
    fclose(fopen("blocking", "w"));
    return pthread_cond_wait(&condition, &lock);
}
