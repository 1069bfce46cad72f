#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static pthread_mutex_t a = PTHREAD_MUTEX_INITIALIZER, b = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t both;
static void *work(void *turned) {
    pthread_mutex_lock(turned ? &b : &a);
    pthread_barrier_wait(&both);
    pthread_mutex_lock(turned ? &a : &b);
    return NULL;
}
int main(void) {
    pthread_t one, two;
    pthread_barrier_init(&both, NULL, 2);
    fclose(fopen("blocking", "w"));
    pthread_create(&one, NULL, work, NULL);
    pthread_create(&two, NULL, work, &both);
    pthread_join(one, NULL);
    pthread_join(two, NULL);
}
