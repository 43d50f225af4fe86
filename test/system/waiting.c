// A thread for each way of waiting in the kernel. A line on standard input ends the waits; it then says how each call
// ended: `ok`, or what it returned and the errno. Its argument is an empty directory of its own.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int pipes[6][2], listener, inotify, word;
static sem_t semaphore;

static long milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static long wait_read(void) { char c; return read(pipes[0][0], &c, 1) == 1 ? 0 : -1; }
static long wait_futex(void) { return syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0); }
static long wait_futex_long(void) {
  struct timespec limit = {60, 0};
  return syscall(SYS_futex, &word, FUTEX_WAIT, 0, &limit, NULL, 0);
}
static long wait_semaphore(void) { return sem_wait(&semaphore); }
static long epoll(int descriptor, int limit) {
  struct epoll_event event = {.events = EPOLLIN};
  int set = epoll_create1(0);
  epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &event);
  return epoll_wait(set, &event, 1, limit) == 1 ? 0 : -1;
}
static long wait_epoll(void) { return epoll(pipes[1][0], -1); }
static long wait_epoll_long(void) { return epoll(pipes[2][0], 60000); }
static long wait_poll(void) {
  struct pollfd one = {pipes[3][0], POLLIN, 0};
  return poll(&one, 1, 60000) == 1 ? 0 : -1;
}
static long wait_select(void) {
  fd_set set;
  FD_ZERO(&set);
  FD_SET(pipes[4][0], &set);
  return select(pipes[4][0] + 1, &set, NULL, NULL, NULL) == 1 ? 0 : -1;
}
static long wait_accept(void) { return accept(listener, NULL, NULL) >= 0 ? 0 : -1; }
static long wait_inotify(void) { char buffer[4096]; return read(inotify, buffer, sizeof buffer) > 0 ? 0 : -1; }
static long wait_signal(void) {
  sigset_t set;
  siginfo_t info;
  struct timespec limit = {60, 0};
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  return sigtimedwait(&set, &info, &limit) == SIGUSR1 ? 0 : -1;
}
static long wait_sleep(void) {
  struct timespec duration = {1, 500000000};
  long began = milliseconds();
  if (nanosleep(&duration, NULL) != 0) return -1;
  long took = milliseconds() - began;
  // Neither cut short nor begun anew by every stop.
  if (took >= 1500 && took < 4000) return 0;
  errno = 0;
  return took;
}

static const struct { const char *name; long (*wait)(void); } waits[] = {
  {"read", wait_read}, {"futex", wait_futex}, {"futex-long", wait_futex_long}, {"semaphore", wait_semaphore},
  {"epoll", wait_epoll}, {"epoll-long", wait_epoll_long}, {"poll", wait_poll}, {"select", wait_select},
  {"accept", wait_accept}, {"inotify", wait_inotify}, {"signal", wait_signal}, {"sleep", wait_sleep},
};
enum { COUNT = sizeof waits / sizeof *waits };
static struct { long result; int error; } ends[COUNT];

static void *run(void *argument) {
  long index = (long)argument;
  ends[index].result = waits[index].wait();
  ends[index].error = errno;
  return NULL;
}

int main(int count, char **arguments) {
  pthread_t threads[COUNT];
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  for (int index = 0; index < 6; index++) if (pipe(pipes[index]) != 0) return 1;
  if (count != 2 || chdir(arguments[1]) != 0) return 1;
  strcpy(address.sun_path, "socket");
  listener = socket(AF_UNIX, SOCK_STREAM, 0);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 1) != 0) return 1;
  inotify = inotify_init1(0);
  inotify_add_watch(inotify, ".", IN_CREATE);
  sem_init(&semaphore, 0, 0);
  for (long index = 0; index < COUNT; index++) pthread_create(&threads[index], NULL, run, (void *)index);
  usleep(100000);
  puts("ready");
  fflush(stdout);
  char line[16];
  if (fgets(line, sizeof line, stdin) == NULL) return 1;
  for (int index = 0; index < 5; index++) if (write(pipes[index][1], "x", 1) != 1) return 1;
  __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
  syscall(SYS_futex, &word, FUTEX_WAKE, 10, NULL, NULL, 0);
  sem_post(&semaphore);
  kill(getpid(), SIGUSR1);
  fclose(fopen("file", "w"));
  if (connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&address, sizeof address) != 0) return 1;
  for (long index = 0; index < COUNT; index++) pthread_join(threads[index], NULL);
  for (long index = 0; index < COUNT; index++) {
    if (ends[index].result == 0) printf("%s ok, ", waits[index].name);
    else printf("%s %ld %s, ", waits[index].name, ends[index].result, strerror(ends[index].error));
  }
  puts("done");
  return 0;
}
