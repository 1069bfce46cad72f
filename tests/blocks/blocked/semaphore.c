#include <semaphore.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    sem_t *pair = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    sem_init(&pair[0], 1, 0);
    sem_init(&pair[1], 1, 0);
    fclose(fopen("blocking", "w"));
    if (fork() == 0) {
        sem_wait(&pair[0]);
        return sem_post(&pair[1]);
    }
    sem_wait(&pair[1]);
    return sem_post(&pair[0]);
}
