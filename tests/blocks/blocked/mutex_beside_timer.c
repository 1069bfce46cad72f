// Two threads wait for each other's mutex while a third keeps time.
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
static void *tick(void *none) {
    for (;;) usleep(100000);
    return none;
}
int main(void) {
    pthread_t one, two, clock;
    pthread_barrier_init(&both, NULL, 2);
    pthread_create(&clock, NULL, tick, NULL);
    fclose(fopen("blocking", "w"));
    pthread_create(&one, NULL, work, NULL);
    pthread_create(&two, NULL, work, &both);
    pthread_join(one, NULL);
    return pthread_join(two, NULL);
}
