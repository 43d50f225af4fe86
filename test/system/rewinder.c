/*
 * A program whose whole state can be changed, one thing at a time, and told. It reads lines; `state` is answered with
 * one line that says how everything stands, any other word does what its name says and is answered with "done".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define REGION 64UL

static char *region;  /* 64 pages, private */
static char *shared;  /* 16 pages, shared without a file */
static char *mapped;  /* 4 pages of the data file, private */
static char *window;  /* 4 pages of the data file, shared */
static char *moved;   /* 8 pages that move */
static char *extra;   /* comes and goes */
static char *heap;    /* where the break was at first */
static int data, copy, pipe_ends[2], event, epoll, timer;
static int probe; /* takes a byte of what can be read, and refuses what cannot */
static char alternate[65536];
static volatile int handled, running;
static pthread_t further;
static timer_t clock_timer;
static const char *directory;

static uint64_t sum(const char *from, size_t bytes) {
  uint64_t hash = 1469598103934665603u;
  for (size_t i = 0; i < bytes; i++) hash = (hash ^ (uint8_t)from[i]) * 1099511628211u;
  return hash;
}

/* How maps says that the page at an address may be used; "none" if nothing is mapped there. */
static void rights(const void *address, char *into) {
  static char text[1 << 16];
  size_t length = 0;
  int maps = open("/proc/self/maps", O_RDONLY);
  for (ssize_t count; (count = read(maps, text + length, sizeof text - 1 - length)) > 0;) length += count;
  close(maps);
  text[length] = 0;
  strcpy(into, "none");
  for (char *line = text; *line != 0; line = strchr(line, '\n') + 1) {
    char *after;
    uint64_t start = strtoul(line, &after, 16);
    uint64_t end = strtoul(after + 1, &after, 16);
    if ((uint64_t)address < start || (uint64_t)address >= end) continue;
    memcpy(into, after + 1, 4);
    into[4] = 0;
  }
}

/* Pages that cannot be read count as nothing. */
static uint64_t sum_if_readable(const char *from, size_t bytes) {
  char text[8];
  uint64_t hash = 0;
  for (size_t at = 0; at < bytes; at += PAGE) {
    rights(from + at, text);
    hash = hash * 31 + (text[0] == 'r' && write(probe, from + at, 1) == 1 ? sum(from + at, PAGE) : 0);
  }
  return hash;
}

static void on_signal(int number) { handled += number; }

static void *other(void *unused) {
  (void)unused;
  running = 1;
  while (running) usleep(1000);
  return NULL;
}

static int unread(int descriptor) {
  struct pollfd poll_one = {descriptor, POLLIN, 0};
  return poll(&poll_one, 1, 0);
}

/* A number from /proc/self/status. */
static int status(const char *name) {
  char text[4096];
  int file = open("/proc/self/status", O_RDONLY);
  ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  text[length] = 0;
  return atoi(strstr(text, name) + strlen(name));
}

static void say_state(void) {
  static char out[8192];
  char text[8], name[16] = "", directory_now[256];
  int at = 0;
#define SAY(...) at += snprintf(out + at, sizeof out - at, __VA_ARGS__)
  SAY("region=%lx", sum_if_readable(region, REGION * PAGE));
  SAY(" shared=%lx", sum_if_readable(shared, 16 * PAGE));
  SAY(" mapped=%lx window=%lx", sum_if_readable(mapped, 4 * PAGE), sum_if_readable(window, 4 * PAGE));
  SAY(" moved=%lx:%lx", (long)moved, sum_if_readable(moved, 8 * PAGE));
  for (int page = 0; page < (int)REGION; page += 8) {
    rights(region + page * PAGE, text);
    SAY(" %s", text);
  }
  rights(extra, text);
  SAY(" extra=%lx:%s", (long)extra, text);
  SAY(" brk=%ld heap=%lx", (long)sbrk(0) - (long)heap, sum(heap, (char *)sbrk(0) - heap));
  SAY(" position=%ld copy=%ld", (long)lseek(data, 0, SEEK_CUR), (long)lseek(copy, 0, SEEK_CUR));
  SAY(" flags=%x cloexec=%d", fcntl(data, F_GETFL), fcntl(data, F_GETFD));
  SAY(" pipe=%d event=%d epoll=%d", unread(pipe_ends[0]), unread(event), unread(epoll));
  struct sigaction action;
  sigaction(SIGUSR1, NULL, &action);
  SAY(" handler=%d:%x", action.sa_handler == on_signal, action.sa_flags);
  sigset_t set;
  sigprocmask(SIG_BLOCK, NULL, &set);
  SAY(" mask=%d", sigismember(&set, SIGUSR2));
  sigpending(&set);
  SAY(" pending=%d handled=%d", sigismember(&set, SIGUSR2), handled);
  stack_t stack;
  sigaltstack(NULL, &stack);
  SAY(" stack=%d:%ld", stack.ss_flags, (long)stack.ss_size);
  struct itimerval interval;
  getitimer(ITIMER_REAL, &interval);
  SAY(" alarm=%ld", (interval.it_value.tv_sec + 50) / 100);
  struct itimerspec spec;
  timer_gettime(clock_timer, &spec);
  SAY(" posix=%ld", (spec.it_value.tv_sec + 50) / 100);
  timerfd_gettime(timer, &spec);
  SAY(" timerfd=%ld", (spec.it_value.tv_sec + 50) / 100);
  mode_t mask = umask(0);
  umask(mask);
  prctl(PR_GET_NAME, name);
  struct rlimit limit;
  getrlimit(RLIMIT_CORE, &limit);
  SAY(" umask=%o name=%s core=%ld", mask, name, (long)limit.rlim_cur);
  SAY(" cwd=%s", getcwd(directory_now, sizeof directory_now));
  SAY(" locked=%d threads=%d running=%d\n", status("VmLck:"), status("Threads:"), running);
  if (write(1, out, at) != at) abort();
}

static void deep(int depth) {
  volatile char page[PAGE];
  page[depth % PAGE] = (char)depth;
  if (depth > 0) deep(depth - 1);
  page[0]++;
}

static void set_time(int descriptor, long seconds) {
  struct itimerspec spec = {{0, 0}, {seconds, 0}};
  timerfd_settime(descriptor, 0, &spec, NULL);
}

static void change(const char *word) {
  char bytes[16] = "changed";
  if (!strcmp(word, "write")) {
    for (unsigned page = 0; page < REGION; page += 3) region[page * PAGE + 5] ^= 0x55;
    shared[0]++, mapped[7]++, moved[9]++;
  } else if (!strcmp(word, "discard")) {
    madvise(region + 8 * PAGE, 16 * PAGE, MADV_DONTNEED);
    madvise(mapped, 2 * PAGE, MADV_DONTNEED);
    madvise(shared, 4 * PAGE, MADV_REMOVE);
  } else if (!strcmp(word, "unmap")) {
    munmap(region + 8 * PAGE, 8 * PAGE);
    munmap(mapped + PAGE, 2 * PAGE);
  } else if (!strcmp(word, "unshare")) {
    munmap(shared, 16 * PAGE);
  } else if (!strcmp(word, "map")) {
    extra = mmap(NULL, 32 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(extra, 3, 32 * PAGE);
  } else if (!strcmp(word, "replace")) {
    mmap(region + 16 * PAGE, 8 * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, data, 0);
    mmap(mapped, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
  } else if (!strcmp(word, "move")) {
    moved = mremap(moved, 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, moved + 64 * PAGE);
  } else if (!strcmp(word, "protect")) {
    mprotect(region, 8 * PAGE, PROT_READ);
    mprotect(region + 24 * PAGE, 8 * PAGE, PROT_NONE);
    mprotect(region + 32 * PAGE, 8 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
  } else if (!strcmp(word, "guard")) {
    madvise(region + 40 * PAGE, PAGE, 102);
  } else if (!strcmp(word, "lock")) {
    mlock(region + 48 * PAGE, 8 * PAGE);
  } else if (!strcmp(word, "grow")) {
    memset(sbrk(40 * PAGE), 9, 40 * PAGE);
  } else if (!strcmp(word, "shrink")) {
    if (sbrk(-8 * (long)PAGE - 100) == NULL) abort();
  } else if (!strcmp(word, "stack")) {
    deep(400);
  } else if (!strcmp(word, "seek")) {
    lseek(data, 1234, SEEK_SET);
  } else if (!strcmp(word, "append")) {
    fcntl(data, F_SETFL, O_APPEND | O_NONBLOCK);
    fcntl(data, F_SETFD, FD_CLOEXEC);
  } else if (!strcmp(word, "fill")) {
    if (write(pipe_ends[1], bytes, 7) != 7) abort();
  } else if (!strcmp(word, "count")) {
    if (write(event, "\1\0\0\0\0\0\0\0", 8) != 8) abort();
  } else if (!strcmp(word, "watch")) {
    struct epoll_event watched = {EPOLLOUT, {.u64 = 77}};
    epoll_ctl(epoll, EPOLL_CTL_ADD, event, &watched);
  } else if (!strcmp(word, "handler")) {
    signal(SIGUSR1, SIG_IGN);
  } else if (!strcmp(word, "mask")) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
  } else if (!strcmp(word, "signal")) {
    raise(SIGUSR1);
  } else if (!strcmp(word, "raise")) {
    change("mask");
    raise(SIGUSR2);
  } else if (!strcmp(word, "altstack")) {
    stack_t none = {NULL, SS_DISABLE, 0};
    sigaltstack(&none, NULL);
  } else if (!strcmp(word, "timers")) {
    struct itimerval interval = {{0, 0}, {5000, 0}};
    setitimer(ITIMER_REAL, &interval, NULL);
    struct itimerspec spec = {{0, 0}, {6000, 0}};
    timer_settime(clock_timer, 0, &spec, NULL);
    set_time(timer, 7000);
  } else if (!strcmp(word, "untimer")) {
    timer_delete(clock_timer);
  } else if (!strcmp(word, "umask")) {
    umask(0123);
  } else if (!strcmp(word, "name")) {
    prctl(PR_SET_NAME, "other name");
  } else if (!strcmp(word, "limit")) {
    struct rlimit limit = {4096, RLIM_INFINITY};
    setrlimit(RLIMIT_CORE, &limit);
  } else if (!strcmp(word, "chdir")) {
    if (chdir("/") != 0) abort();
  } else if (!strcmp(word, "thread")) {
    pthread_create(&further, NULL, other, NULL);
    while (!running) usleep(100);
  } else if (!strcmp(word, "join")) {
    running = 0;
    pthread_join(further, NULL);
  } else if (!strcmp(word, "open")) {
    if (open("/dev/null", O_RDONLY) < 0) abort();
  } else if (!strcmp(word, "close")) {
    close(copy);
  } else if (!strcmp(word, "reopen")) {
    close(copy);
    if (open("/dev/zero", O_RDWR) != copy) abort();
  } else if (!strcmp(word, "delete")) {
    unlink("data");
  } else if (!strcmp(word, "connect")) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) abort();
  } else if (!strcmp(word, "fork")) {
    if (fork() == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (;;) pause();
    }
  } else if (!strcmp(word, "group")) {
    if (setpgid(0, 0) != 0) abort();
  } else {
    abort();
  }
}

int main(int argc, char **argv) {
  directory = argc > 1 ? argv[1] : ".";
  if (chdir(directory) != 0) return 1;
  probe = memfd_create("probe", 0);
  region = mmap((void *)0x500000000000, REGION * PAGE, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  moved = mmap((void *)0x510000000000, 8 * PAGE, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  shared = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  data = open("data", O_RDWR | O_CREAT, 0600);
  for (int i = 0; i < 4096; i++)
    if (write(data, "0123456789abcdef", 16) != 16) return 1;
  copy = dup(data);
  mapped = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, data, 0);
  window = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, data, 0);
  for (unsigned page = 0; page < REGION; page += 2) memset(region + page * PAGE, (int)page + 1, PAGE);
  memset(moved, 7, 8 * PAGE);
  memset(shared, 8, 6 * PAGE);
  mapped[100] = 'x', mapped[3 * PAGE] = 'y';
  sbrk((long)PAGE - (long)sbrk(0) % (long)PAGE);
  heap = sbrk(20 * PAGE);
  memset(heap, 2, 20 * PAGE);
  if (pipe(pipe_ends) != 0) return 1;
  event = eventfd(0, EFD_NONBLOCK);
  epoll = epoll_create1(0);
  struct epoll_event watched = {EPOLLIN, {.u64 = 5}};
  epoll_ctl(epoll, EPOLL_CTL_ADD, pipe_ends[0], &watched);
  timer = timerfd_create(CLOCK_MONOTONIC, 0);
  set_time(timer, 3000);
  timer_create(CLOCK_MONOTONIC, NULL, &clock_timer);
  struct itimerspec spec = {{0, 0}, {2000, 0}};
  timer_settime(clock_timer, 0, &spec, NULL);
  struct itimerval interval = {{0, 0}, {1000, 0}};
  setitimer(ITIMER_REAL, &interval, NULL);
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigaction(SIGUSR1, &action, NULL);
  stack_t stack = {alternate, 0, sizeof alternate};
  sigaltstack(&stack, NULL);
  if (write(1, "ready\n", 6) != 6) return 1;
  char line[64];
  for (size_t length = 0;;) {
    if (read(0, line + length, 1) != 1) return 0;
    if (line[length] != '\n') {
      if (++length == sizeof line) return 1;
      continue;
    }
    line[length] = 0;
    length = 0;
    if (!strcmp(line, "state")) {
      say_state();
      continue;
    }
    change(line);
    if (write(1, "done\n", 5) != 5) return 1;
  }
}
