// Calls vfork for ever: the child sleeps a while in the parent's place, then runs exec or ends, while another thread
// counts. A line on standard input is answered with the count. Arguments: milliseconds of sleep, program to execute.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long rounds;

static void *answer(void *unused) {
  char line[16];
  while (fgets(line, sizeof line, stdin) != NULL) {
    printf("%ld\n", __atomic_load_n(&rounds, __ATOMIC_SEQ_CST));
    fflush(stdout);
  }
  _exit(0);
  return unused;
}

int main(int count, char **arguments) {
  pthread_t thread;
  if (count != 3) return 1;
  long milliseconds = atol(arguments[1]);
  struct timespec duration = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  pthread_create(&thread, NULL, answer, NULL);
  puts("ready");
  fflush(stdout);
  for (;;) {
    pid_t child = vfork();
    if (child == 0) {
      nanosleep(&duration, NULL);
      if (rounds % 2 == 0) execl(arguments[2], arguments[2], (char *)NULL);
      _exit(0);
    }
    waitpid(child, NULL, 0);
    __atomic_add_fetch(&rounds, 1, __ATOMIC_SEQ_CST);
  }
}
