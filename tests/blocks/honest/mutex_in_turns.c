// A thread sleeps under a mutex that others wait for.
#include <pthread.h>
#include <unistd.h>
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *work(void *none) {
    pthread_mutex_lock(&lock);
    sleep(4);
    pthread_mutex_unlock(&lock);
    return none;
}
int main(void) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
}
