/*
 * A program with a little of everything that a process can have beyond its memory. It prints what it knows of itself
 * as lines "name value", and a line "end"; it does so again for every line that it reads.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static char main_stack[65536], waiter_stack[32768];
static volatile int never, spinning;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static sem_t described;
static timer_t timers[3];
static int pipe_ends[2], numbered[4];

static void handle_info(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info, (void)context;
}
static void handle(int signal) { (void)signal; }

static void print_hex(const char *name, unsigned long long value) { printf("%s 0x%llx\n", name, value); }

static void print_mask(const char *name) {
  uint64_t mask = 0;
  syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, sizeof mask);
  print_hex(name, mask);
}

/* What a thread alone can tell; the prefix names the thread. */
static void describe_thread(const char *prefix) {
  char name[64];
  stack_t stack;
  void *head = NULL, *tid_address = NULL;
  size_t length = 0;
  sigaltstack(NULL, &stack);
  syscall(SYS_get_robust_list, 0, &head, &length);
  prctl(PR_GET_TID_ADDRESS, &tid_address);
#define FIELD(field, value) (snprintf(name, sizeof name, "%s.%s", prefix, field), print_hex(name, (unsigned long long)(value)))
  FIELD("id", syscall(SYS_gettid));
  FIELD("stack", (uintptr_t)stack.ss_sp);
  FIELD("stackBytes", stack.ss_size);
  FIELD("robust", (uintptr_t)head);
  FIELD("robustBytes", length);
  FIELD("tidAddress", (uintptr_t)tid_address);
  FIELD("rseq", __rseq_size == 0 ? 0 : (uintptr_t)__builtin_thread_pointer() + __rseq_offset);
  FIELD("rseqSignature", RSEQ_SIG);
  snprintf(name, sizeof name, "%s.mask", prefix);
  print_mask(name);
}

static void use_stack(char *bytes, size_t length) {
  stack_t stack = {.ss_sp = bytes, .ss_size = length};
  sigaltstack(&stack, NULL);
}

static void block(int first, int second) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, first);
  sigaddset(&set, second);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void *wait_forever(void *unused) {
  (void)unused;
  prctl(PR_SET_NAME, "waiter \xc3\xa9");
  use_stack(waiter_stack, sizeof waiter_stack);
  block(SIGRTMIN + 4, SIGHUP);
  describe_thread("waiter");
  sem_post(&described);
  pthread_mutex_lock(&mutex);
  while (!never) pthread_cond_wait(&condition, &mutex);
  pthread_mutex_unlock(&mutex);
  return NULL;
}

/* Holds known values in registers for ever, in its own code. */
static void *spin(void *unused) {
  (void)unused;
  prctl(PR_SET_NAME, "spinner");
  setpriority(PRIO_PROCESS, syscall(SYS_gettid), 7);
  describe_thread("spinner");
  sem_post(&described);
#ifdef __x86_64__
  __asm__ volatile(
      "movabs $0x1122334455667788, %%r12\n"
      "movq %%r12, %%xmm5\n"
      ".globl spin_begin\nspin_begin:\n"
      "movl $1, %0\n"
      "1: pause\n"
      "jmp 1b\n"
      ".globl spin_end\nspin_end:\n"
      : "=m"(spinning)
      :
      : "r12", "xmm5", "memory");
#endif
  return NULL;
}

static void print_action(int signal) {
  struct { uint64_t handler, flags, restorer, mask; } action;
  char name[64];
  syscall(SYS_rt_sigaction, signal, NULL, &action, 8);
  if ((action.handler | action.flags | action.mask) == 0) return;
  snprintf(name, sizeof name, "action.%d", signal);
  printf("%s 0x%llx 0x%llx 0x%llx 0x%llx\n", name, (unsigned long long)action.handler,
         (unsigned long long)action.flags, (unsigned long long)action.restorer, (unsigned long long)action.mask);
}

static void catch (int signal, void (*handler)(int), int flags, int also) {
  struct sigaction action = {.sa_flags = flags};
  if (flags & SA_SIGINFO) action.sa_sigaction = handle_info;
  else action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  if (also != 0) sigaddset(&action.sa_mask, also);
  sigaction(signal, &action, NULL);
}

static void make_timer(int index, int notify, int signal, pid_t thread, long seconds, long interval) {
  struct sigevent event = {.sigev_notify = notify, .sigev_signo = signal};
  event.sigev_value.sival_ptr = (void *)(uintptr_t)(0x4200 + index);
  event._sigev_un._tid = thread;
  timer_create(CLOCK_MONOTONIC, &event, &timers[index]);
  struct itimerspec times = {{interval, 0}, {seconds, 0}};
  timer_settime(timers[index], 0, &times, NULL);
}

static void print_descriptor(const char *name, int descriptor) {
  struct stat stat;
  fstat(descriptor, &stat);
  printf("%s %d %lld %d %d %llu\n", name, descriptor, (long long)lseek(descriptor, 0, SEEK_CUR),
         fcntl(descriptor, F_GETFL), fcntl(descriptor, F_GETFD), (unsigned long long)stat.st_ino);
}

static void open_files(const char *directory) {
  char path[4096];
  snprintf(path, sizeof path, "%s/appended", directory);
  numbered[0] = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);
  if (write(numbered[0], path, 100) != 100) exit(3);
  lseek(numbered[0], 42, SEEK_SET);
  numbered[1] = dup(numbered[0]);
  numbered[2] = open(path, O_RDONLY | O_CLOEXEC);
  lseek(numbered[2], 42, SEEK_SET);
  numbered[3] = memfd_create("scratch", MFD_CLOEXEC);
  if (write(numbered[3], "abc", 3) != 3) exit(3);
  snprintf(path, sizeof path, "%s/deleted", directory);
  int deleted = open(path, O_RDWR | O_CREAT, 0600);
  unlink(path);
  printf("deleted %d\n", deleted);
  printf("directory %d\n", open(directory, O_RDONLY | O_DIRECTORY));
  printf("event %d\n", eventfd(5, EFD_NONBLOCK));
  if (pipe(pipe_ends) != 0 || write(pipe_ends[1], "unread bytes", 12) != 12) exit(3);
  printf("pipe %d %d %d\n", pipe_ends[0], pipe_ends[1], fcntl(pipe_ends[0], F_GETPIPE_SZ));
}

static void print_changeable(void) {
  uint64_t bits = 0;
  int unread = 0;
  struct itimerval interval;
  struct itimerspec times;
  syscall(SYS_rt_sigpending, &bits, sizeof bits);
  print_hex("pending", bits);
  mode_t mask = umask(0);
  umask(mask);
  print_hex("umask", mask);
  print_hex("brk", (uintptr_t)sbrk(0));
  for (int signal = 1; signal <= 64; signal++)
    if (signal != SIGKILL && signal != SIGSTOP) print_action(signal);
  print_descriptor("appended", numbered[0]);
  print_descriptor("duplicate", numbered[1]);
  print_descriptor("reopened", numbered[2]);
  print_descriptor("memory", numbered[3]);
  ioctl(pipe_ends[0], FIONREAD, &unread);
  printf("unread %d\n", unread);
  getitimer(ITIMER_REAL, &interval);
  printf("interval %ld\n", (long)interval.it_interval.tv_sec);
  for (int index = 0; index < 3; index++) {
    timer_gettime(timers[index], &times);
    printf("timer.%d %ld %d\n", index, (long)times.it_interval.tv_sec, times.it_value.tv_sec > 0);
  }
  describe_thread("main");
}

int main(int count, char **arguments) {
  pthread_t waiter, spinner;
  char line[64];
  setvbuf(stdout, NULL, _IOFBF, 1 << 16);
  if (count != 2) return 2;
  umask(027);
  sem_init(&described, 0, 0);
  struct rlimit limit = {500, 600};
  setrlimit(RLIMIT_NOFILE, &limit);
  use_stack(main_stack, sizeof main_stack);
  catch (SIGUSR1, NULL, SA_SIGINFO | SA_ONSTACK | SA_RESTART, SIGUSR2);
  catch (SIGTERM, handle, 0, 0);
  catch (SIGPIPE, SIG_IGN, 0, 0);
  catch (SIGCHLD, SIG_DFL, SA_NOCLDWAIT, 0);
  catch (SIGRTMIN + 3, handle, SA_NODEFER, SIGRTMIN + 4);
  open_files(arguments[1]);

  /* Every thread blocks it, so it stays pending for the process. */
  block(SIGUSR2, SIGUSR2);
  sigqueue(getpid(), SIGUSR2, (union sigval){.sival_ptr = (void *)0x777});

  pthread_create(&waiter, NULL, wait_forever, NULL);
  sem_wait(&described);
  pthread_create(&spinner, NULL, spin, NULL);
  sem_wait(&described);

  block(SIGRTMIN + 3, SIGUSR2);
  block(SIGRTMIN + 4, SIGHUP);
  union sigval value = {.sival_ptr = (void *)0x1234567};
  pthread_sigqueue(waiter, SIGRTMIN + 4, value);
  value.sival_ptr = (void *)0x2345678;
  pthread_sigqueue(pthread_self(), SIGRTMIN + 3, value);
  value.sival_ptr = (void *)0x3456789;
  pthread_sigqueue(pthread_self(), SIGRTMIN + 3, value);

  struct itimerval interval = {{7, 0}, {1000, 500}};
  setitimer(ITIMER_REAL, &interval, NULL);
  make_timer(0, SIGEV_SIGNAL, SIGRTMIN + 5, 0, 500, 3);
  make_timer(1, SIGEV_THREAD_ID, SIGRTMIN + 6, syscall(SYS_gettid), 600, 0);
  make_timer(2, SIGEV_NONE, 0, 0, 0, 0);
  print_hex("handleInfo", (uintptr_t)handle_info);
#ifdef __x86_64__
  extern char spin_begin[], spin_end[];
  print_hex("spinBegin", (uintptr_t)spin_begin);
  print_hex("spinEnd", (uintptr_t)spin_end);
  while (!spinning) usleep(1000);
#endif
  do {
    print_changeable();
    puts("end");
    fflush(stdout);
  } while (fgets(line, sizeof line, stdin) != NULL);
  return 0;
}
