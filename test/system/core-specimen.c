/*
 * A program to look at with a debugger: threads in known functions, a global structure, data on the heap, and if asked
 * a child (`with-child`) or a mapping larger than most disks (`vast`). Each line on its standard input makes it count,
 * and it answers with the count.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

struct node {
    int value;
    struct node *next;
};

struct {
    int counter;
    const char *name;
    double ratio;
    struct node *list;
    char *vast;
} global = {0, "specimen", 2.5, NULL, NULL};

static pthread_barrier_t everyone;
static volatile long ticks;

__attribute__((noinline)) static void waits_for_a_signal(int depth)
{
    if (depth > 0)
        waits_for_a_signal(depth - 1);
    else {
        pthread_barrier_wait(&everyone);
        for (;;)
            pause();
    }
    __asm__ volatile("");
}

__attribute__((noinline)) static void asks_the_clock(void)
{
    struct timespec now;
    pthread_barrier_wait(&everyone);
    for (;;) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        ticks = now.tv_nsec;
    }
}

static void *patient(void *unused)
{
    waits_for_a_signal(3);
    return unused;
}

static void *restless(void *unused)
{
    asks_the_clock();
    return unused;
}

int main(int argc, char **argv)
{
    char line[64];
    pthread_t one, other;
    long long vast = 1LL << 40;

    for (int value = 3; value > 0; value--) {
        struct node *node = malloc(sizeof *node);
        node->value = value;
        node->next = global.list;
        global.list = node;
    }
    if (argc > 1 && strcmp(argv[1], "vast") == 0) {
        global.vast = mmap(NULL, vast, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        strcpy(global.vast, "begin");
        strcpy(global.vast + vast - 4096, "end");
    }
    if (argc > 1 && strcmp(argv[1], "with-child") == 0 && fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(0);
        close(1);
        global.name = "child";
        for (;;)
            pause();
    }
    pthread_barrier_init(&everyone, NULL, 3);
    pthread_create(&one, NULL, patient, NULL);
    pthread_create(&other, NULL, restless, NULL);
    pthread_barrier_wait(&everyone);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        global.counter++;
        printf("%d\n", global.counter);
        fflush(stdout);
    }
    return 0;
}
