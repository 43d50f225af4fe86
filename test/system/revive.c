/*
 * What a process restored from a checkpoint has to go on with. Writes a line to FILE every few milliseconds; a line
 * that begins with "broken" says what was lost. Built with gcc -O1 -pthread.
 *
 *     revive work FILE    threads with a mutex and variables of their own, a checksum over the memory, timers of both
 *                         kinds, a signal handler on an alternate stack
 *     revive tree FILE    a pipe between two children, shared memory, sessions and process groups
 *     revive wait FILE    epoll over an eventfd, a timerfd, a signalfd and a pipe
 *     revive things FILE  holds what cannot be made anew: sockets, deleted and memory files, ...
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 3, WORDS = 1 << 16, TICK = 10000 };

static int out = -1;

static void say(const char *format, ...) {
  char line[256];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  if (write(out, line, length) != length) _exit(9);
}

static void need(int ok, const char *what) {
  if (ok) return;
  say("broken %s: %s\n", what, strerror(errno));
  _exit(1);
}

/* work */

static uint32_t words[WORDS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long total;
static __thread long mine;
static __thread pid_t me;
static long counts[WORKERS];
static volatile sig_atomic_t alarms, ticks, handled, onStack;
static volatile int retired;
static pthread_t workers[WORKERS];
static char *stack;

static uint32_t checksum(void) {
  uint32_t sum = 0;
  for (int index = 0; index < WORDS; index++) sum = sum * 31 + words[index];
  return sum;
}

static void *worker(void *argument) {
  long index = (long)argument;
  me = gettid();
  while (index > 0 || !retired) {
    mine++;
    pthread_mutex_lock(&mutex);
    total++;
    counts[index] = mine;
    pthread_mutex_unlock(&mutex);
    if (me != gettid() || pthread_kill(pthread_self(), 0) != 0) say("broken thread id of worker %ld\n", index);
    usleep(1000 + 500 * index);
  }
  return NULL;
}

static void handle(int signal) {
  char here;
  if (signal == SIGALRM) alarms++;
  else if (signal == SIGUSR2) ticks++;
  else {
    handled++;
    onStack = &here >= stack && &here < stack + 65536;
  }
}

static void catch(int signal, int flags) {
  struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART | flags};
  need(sigaction(signal, &action, NULL) == 0, "sigaction");
}

static void *give_back(void *argument) {
  mine = (long)argument;
  return (void *)(mine + 1);
}

/* Whether threads end, begin and are joined, and processes too, as if nothing had happened. */
static int family_works(void) {
  void *result = NULL;
  retired = 1;
  need(pthread_join(workers[0], NULL) == 0, "pthread_join");
  pthread_t thread;
  need(pthread_create(&thread, NULL, give_back, (void *)41) == 0, "pthread_create");
  need(pthread_join(thread, &result) == 0, "pthread_join");
  pid_t child = fork();
  if (child == 0) _exit(getppid() == getpid() ? 1 : 7);
  int status = 0;
  need(waitpid(child, &status, 0) == child, "waitpid");
  return result == (void *)42 && WIFEXITED(status) && WEXITSTATUS(status) == 7;
}

static void work(void) {
  stack = malloc(65536);
  stack_t alternate = {.ss_sp = stack, .ss_size = 65536};
  need(sigaltstack(&alternate, NULL) == 0, "sigaltstack");
  catch(SIGALRM, 0);
  catch(SIGUSR2, 0);
  catch(SIGUSR1, SA_ONSTACK);
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &blocked, NULL);
  raise(SIGHUP);
  for (long index = 0; index < WORKERS; index++) {
    pthread_t thread;
    need(pthread_create(&thread, NULL, worker, (void *)index) == 0, "pthread_create");
    workers[index] = thread;
  }
  struct itimerval interval = {{0, 20000}, {0, 20000}};
  need(setitimer(ITIMER_REAL, &interval, NULL) == 0, "setitimer");
  timer_t spare, timer;
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
  need(timer_create(CLOCK_MONOTONIC, &event, &spare) == 0, "timer_create");
  need(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0, "timer_create");
  timer_delete(spare);
  struct itimerspec every = {{0, 30000000}, {0, 30000000}};
  need(timer_settime(timer, 0, &every, NULL) == 0, "timer_settime");
  double root = 1;
  int works = 0;
  uint32_t sum = checksum();
  for (int round = 1;; round++) {
    if (checksum() != sum) say("broken memory in round %d\n", round);
    words[(round * 7919u) % WORDS] = round;
    sum = checksum();
    root = 1 + 1 / root;
    if (round > 40 && (root < 1.6180339 || root > 1.6180340)) say("broken numbers %f\n", root);
    pthread_mutex_lock(&mutex);
    long counted = 0;
    for (int index = 0; index < WORKERS; index++) counted += counts[index];
    if (counted != total) say("broken count %ld of %ld\n", counted, total);
    pthread_mutex_unlock(&mutex);
    if (handled && !works) works = family_works();
    sigset_t pending;
    sigpending(&pending);
    say("%d total %ld alarms %d ticks %d handled %d on %d hup %d works %d\n", round, counted, (int)alarms, (int)ticks,
        (int)handled, (int)onStack, sigismember(&pending, SIGHUP), works);
    usleep(TICK);
  }
}

/* tree */

static void produce(int end) {
  for (uint64_t number = 1;; number++) {
    need(write(end, &number, sizeof number) == sizeof number, "write to the pipe");
    if (number > 64) usleep(TICK);
  }
}

static void consume(int end, volatile uint64_t *shared) {
  for (uint64_t expected = 1;; expected++) {
    uint64_t number;
    need(read(end, &number, sizeof number) == sizeof number, "read from the pipe");
    if (number != expected) say("broken order: %lu instead of %lu\n", number, expected);
    shared[0] = number;
    shared[512 * 3] += number;
    say("%lu session %d group %d\n", number, getsid(0), getpgid(0));
    usleep(TICK);
  }
}

static void tree(void) {
  int pipe[2];
  need(pipe2(pipe, 0) == 0, "pipe");
  uint64_t *shared = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  need(shared != MAP_FAILED, "mmap");
  pid_t producer = fork();
  if (producer == 0) {
    close(pipe[0]);
    setpgid(0, 0);
    produce(pipe[1]);
  }
  pid_t consumer = fork();
  if (consumer == 0) {
    close(pipe[1]);
    setsid();
    consume(pipe[0], shared);
  }
  close(pipe[0]);
  close(pipe[1]);
  for (volatile uint64_t *seen = shared;; usleep(TICK)) {
    uint64_t number = seen[0];
    uint64_t sum = seen[512 * 3];
    if (sum < number * (number - 1) / 2) say("broken shared memory: %lu %lu\n", number, sum);
    if (number > 0 && (kill(producer, 0) != 0 || getsid(consumer) != consumer || getpgid(producer) != producer))
      say("broken family\n");
  }
}

/* wait */

static void watch(int poll, int descriptor, uint64_t data) {
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = data};
  need(epoll_ctl(poll, EPOLL_CTL_ADD, descriptor, &event) == 0, "epoll_ctl");
}

static void wait_for_events(void) {
  int poll = epoll_create1(EPOLL_CLOEXEC);
  int counter = eventfd(5, EFD_NONBLOCK);
  int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  struct itimerspec every = {{0, 15000000}, {0, 15000000}};
  need(timerfd_settime(timer, 0, &every, NULL) == 0, "timerfd_settime");
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  int signals = signalfd(-1, &set, 0);
  int ends[2];
  need(pipe2(ends, O_NONBLOCK) == 0, "pipe");
  need(write(ends[1], "left", 4) == 4, "write");
  watch(poll, timer, 0x7fff00000001);
  watch(poll, signals, 2);
  long turns = 0, got = 0;
  for (;;) {
    struct epoll_event event;
    need(epoll_wait(poll, &event, 1, -1) == 1, "epoll_wait");
    if (event.data.u64 == 2) {
      struct signalfd_siginfo info;
      need(read(signals, &info, sizeof info) == sizeof info && info.ssi_signo == SIGUSR1, "signalfd");
      got++;
    } else {
      uint64_t expirations;
      if (event.data.u64 != 0x7fff00000001) say("broken data %lx\n", event.data.u64);
      if (read(timer, &expirations, 8) == 8) turns++;
    }
    uint64_t one = 1, count = 0;
    need(write(counter, &one, 8) == 8 && read(counter, &count, 8) == 8 && count >= 1, "eventfd");
    need(write(counter, &count, 8) == 8, "eventfd");
    char left[5] = "";
    need(read(ends[0], left, 4) == 4 && write(ends[1], left, 4) == 4, "pipe");
    say("%ld signals %ld count %lu pipe %s\n", turns, got, count, left);
  }
}

/* things */

static void hold(const char *path) {
  need(socket(AF_INET, SOCK_STREAM, 0) >= 0, "socket");
  need(memfd_create("thing", 0) >= 0, "memfd");
  need(inotify_init() >= 0, "inotify");
  char gone[256];
  snprintf(gone, sizeof gone, "%s.gone", path);
  need(open(gone, O_RDWR | O_CREAT, 0600) >= 0 && unlink(gone) == 0, "deleted");
  int segment = shmget(IPC_PRIVATE, 4096, 0600);
  need(shmat(segment, NULL, 0) != (void *)-1 && shmctl(segment, IPC_RMID, NULL) == 0, "shm");
  int ends[2];
  need(pipe(ends) == 0 && close(ends[1]) == 0, "pipe");
  say("1 held\n");
  for (;;) pause();
}

int main(int count, char **arguments) {
  if (count < 3) return 2;
  syscall(SYS_close_range, 3, ~0u, 0);
  const char *mode = arguments[1];
  out = open(arguments[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (strcmp(mode, "work") == 0) work();
  else if (strcmp(mode, "tree") == 0) tree();
  else if (strcmp(mode, "wait") == 0) wait_for_events();
  else if (strcmp(mode, "things") == 0) hold(arguments[2]);
  return 2;
}
