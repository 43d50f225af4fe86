// A program with something of every kind that CRIU has an image for, beside memory: data on their way in pipes and
// sockets, deleted files, locks, timers, terminals, System V queues, a child that has ended. Usage: zoo REPORT
//
// On SIGUSR1 it looks whether everything is still there, which takes the data on their way, and REPORT gets a line for
// each kind: "<kind> sound|broken".
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PIPE_BYTES = 5001, FIFO_BYTES = 777, STREAM_BYTES = 3001, TCP_BYTES = 6001, GHOST_BYTES = 10001, MOST = 16384 };

static char pattern[MOST];
static FILE *report;

static long sure(long result, const char *what) {
  if (result < 0) {
    perror(what);
    exit(1);
  }
  return result;
}
#define SURE(call) sure((long)(call), #call)

static void say(const char *kind, int sound) { fprintf(report, "%s %s\n", kind, sound ? "sound" : "broken"); }

static void put(int fd, unsigned bytes) {
  if (SURE(write(fd, pattern, bytes)) != bytes) abort();
}

// Whether so many bytes of the pattern, and no more, can be read.
static int has(int fd, unsigned bytes) {
  char got[MOST];
  unsigned count = 0;
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  for (ssize_t some; (some = read(fd, got + count, sizeof got - count)) > 0;) count += (unsigned)some;
  return count == bytes && memcmp(got, pattern, bytes) == 0;
}

static int pipe_ends[2], fifo, stream[2], packets[2], tcp[2], udp;

static void make_streams(void) {
  SURE(pipe(pipe_ends));
  put(pipe_ends[1], PIPE_BYTES);
  SURE(mkfifo("/work/zoo.fifo", 0600));
  put(fifo = (int)SURE(open("/work/zoo.fifo", O_RDWR)), FIFO_BYTES);
  SURE(socketpair(AF_UNIX, SOCK_STREAM, 0, stream));
  put(stream[0], STREAM_BYTES);
  put(stream[1], 3);
  SURE(socketpair(AF_UNIX, SOCK_DGRAM, 0, packets));
  put(packets[0], 13);
  put(packets[0], 1);
}

static void make_connections(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(7777)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int listener = (int)SURE(socket(AF_INET, SOCK_STREAM, 0));
  SURE(bind(listener, (struct sockaddr *)&address, sizeof address));
  SURE(listen(listener, 1));
  tcp[0] = (int)SURE(socket(AF_INET, SOCK_STREAM, 0));
  SURE(connect(tcp[0], (struct sockaddr *)&address, sizeof address));
  tcp[1] = (int)SURE(accept(listener, NULL, NULL));
  SURE(close(listener));
  put(tcp[0], TCP_BYTES);
  put(tcp[1], 17);
  udp = (int)SURE(socket(AF_INET, SOCK_DGRAM, 0));
  SURE(bind(udp, (struct sockaddr *)&address, sizeof address));
}

static void check_streams(void) {
  say("pipe", has(pipe_ends[0], PIPE_BYTES));
  say("fifo", has(fifo, FIFO_BYTES));
  say("stream", has(stream[1], STREAM_BYTES) && has(stream[0], 3));
  char packet[32];
  int first = recv(packets[1], packet, sizeof packet, MSG_DONTWAIT) == 13;
  say("packets", first && recv(packets[1], packet, sizeof packet, MSG_DONTWAIT) == 1);
  say("tcp", has(tcp[1], TCP_BYTES) && has(tcp[0], 17));
  struct sockaddr_in bound;
  socklen_t length = sizeof bound;
  say("udp", getsockname(udp, (struct sockaddr *)&bound, &length) == 0 && bound.sin_port == htons(7777));
}

static int ghost, sparse_ghost, flocked, record_locked;

static void make_files(void) {
  put(ghost = (int)SURE(open("/work/zoo.ghost", O_RDWR | O_CREAT, 0600)), GHOST_BYTES);
  SURE(unlink("/work/zoo.ghost"));
  sparse_ghost = (int)SURE(open("/work/zoo.sparse", O_RDWR | O_CREAT, 0600));
  SURE(pwrite(sparse_ghost, pattern, 4096, 512 << 10));
  SURE(unlink("/work/zoo.sparse"));
  flocked = (int)SURE(open("/work/zoo.flock", O_RDWR | O_CREAT, 0600));
  SURE(flock(flocked, LOCK_EX));
  record_locked = (int)SURE(open("/work/zoo.lock", O_RDWR | O_CREAT, 0600));
  struct flock lock = {.l_type = F_WRLCK, .l_start = 3, .l_len = 9};
  SURE(fcntl(record_locked, F_SETLK, &lock));
}

// Whether somebody else finds a file locked.
static int is_locked(const char *path, int whole) {
  pid_t child = fork();
  if (child == 0) {
    int fd = open(path, O_RDWR);
    struct flock lock = {.l_type = F_WRLCK, .l_start = 3, .l_len = 9};
    if (whole) _exit(flock(fd, LOCK_EX | LOCK_NB) == 0);
    _exit(fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK || lock.l_len != 9);
  }
  int status;
  return waitpid(child, &status, 0) == child && status == 0;
}

static void check_files(void) {
  say("ghost", lseek(ghost, 0, SEEK_CUR) == GHOST_BYTES && lseek(ghost, 0, SEEK_SET) == 0 && has(ghost, GHOST_BYTES));
  char page[4096];
  struct stat status;
  int right = pread(sparse_ghost, page, 4096, 512 << 10) == 4096 && memcmp(page, pattern, 4096) == 0;
  say("sparse ghost", right && fstat(sparse_ghost, &status) == 0 && status.st_nlink == 0);
  say("locks", is_locked("/work/zoo.flock", 1) && is_locked("/work/zoo.lock", 0));
}

static int event, polls, ticks, signals, watch, master, slave, memory;
static timer_t timer;

static void make_events(void) {
  event = (int)SURE(eventfd(7, EFD_NONBLOCK));
  polls = (int)SURE(epoll_create1(0));
  struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = 99};
  SURE(epoll_ctl(polls, EPOLL_CTL_ADD, event, &wanted));
  struct itimerspec later = {{5, 0}, {3600, 0}};
  ticks = (int)SURE(timerfd_create(CLOCK_MONOTONIC, 0));
  SURE(timerfd_settime(ticks, 0, &later, NULL));
  struct sigevent notice = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
  SURE(timer_create(CLOCK_MONOTONIC, &notice, &timer));
  SURE(timer_settime(timer, 0, &later, NULL));
  struct itimerval slow = {{1000, 0}, {1000, 0}};
  SURE(setitimer(ITIMER_REAL, &slow, NULL));
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR2);
  SURE(sigprocmask(SIG_BLOCK, &blocked, NULL));
  signals = (int)SURE(signalfd(-1, &blocked, SFD_NONBLOCK));
  union sigval value = {.sival_int = 42};
  SURE(sigqueue(getpid(), SIGUSR2, value));
  watch = (int)SURE(inotify_init1(IN_NONBLOCK));
  SURE(inotify_add_watch(watch, "/work/zoo.flock", IN_ATTRIB));
  SURE(openpty(&master, &slave, NULL, NULL, NULL));
  SURE(write(slave, "shown", 5));
  memory = (int)SURE(memfd_create("zoo", MFD_ALLOW_SEALING));
  SURE(ftruncate(memory, 20000));
  SURE(pwrite(memory, pattern, 4096, 8192));
  SURE(fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK));
}

static void check_events(void) {
  struct epoll_event found;
  say("epoll", epoll_wait(polls, &found, 1, 0) == 1 && found.data.u64 == 99);
  eventfd_t count;
  say("eventfd", eventfd_read(event, &count) == 0 && count == 7);
  struct itimerspec left;
  say("timerfd", timerfd_gettime(ticks, &left) == 0 && left.it_interval.tv_sec == 5 && left.it_value.tv_sec > 3000);
  say("timer", timer_gettime(timer, &left) == 0 && left.it_interval.tv_sec == 5 && left.it_value.tv_sec > 3000);
  struct itimerval alarm;
  say("itimer", getitimer(ITIMER_REAL, &alarm) == 0 && alarm.it_value.tv_sec > 500);
  struct signalfd_siginfo pending;
  int got = read(signals, &pending, sizeof pending) == sizeof pending;
  say("signal", got && pending.ssi_signo == SIGUSR2 && pending.ssi_int == 42);
  SURE(chmod("/work/zoo.flock", 0640));
  char noticed[256];
  say("inotify", read(watch, noticed, sizeof noticed) > 0);
  char shown[16];
  say("terminal", read(master, shown, sizeof shown) == 5 && memcmp(shown, "shown", 5) == 0);
  char page[4096];
  int right = pread(memory, page, 4096, 8192) == 4096 && memcmp(page, pattern, 4096) == 0;
  say("memfd", right && fcntl(memory, F_GET_SEALS) == F_SEAL_SHRINK);
}

struct message {
  long type;
  char text[5000];
};

static char *segment;

static void make_system_v(void) {
  int queue = (int)SURE(msgget(0x51, IPC_CREAT | 0600));
  struct message message = {.type = 3};
  SURE(msgsnd(queue, &message, 5, 0));
  message.type = 9;
  SURE(msgsnd(queue, &message, 4999, 0));
  SURE(semctl((int)SURE(semget(0x52, 3, IPC_CREAT | 0600)), 1, SETVAL, 5));
  segment = shmat((int)SURE(shmget(0x53, 3 * 4096 + 5, IPC_CREAT | 0600)), NULL, 0);
  strcpy(segment + 9000, "here");
  // Nobody has it mapped.
  SURE(shmget(0x54, 100, IPC_CREAT | 0600));
}

static void check_system_v(void) {
  struct message message;
  int queue = msgget(0x51, 0);
  int first = msgrcv(queue, &message, sizeof message.text, 9, IPC_NOWAIT) == 4999;
  say("messages", first && msgrcv(queue, &message, sizeof message.text, 3, IPC_NOWAIT) == 5);
  say("semaphores", semctl(semget(0x52, 3, 0), 1, GETVAL) == 5);
  say("segments", strcmp(segment + 9000, "here") == 0 && shmget(0x54, 100, 0) >= 0);
}

static pid_t ended;

static void check_child(void) {
  int status;
  say("ended child", waitpid(ended, &status, WNOHANG) == ended && WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

static void check(int signal) {
  (void)signal;
  check_child();
  check_streams();
  check_files();
  check_events();
  check_system_v();
  fflush(report);
}

int main(int argc, char **argv) {
  if (argc != 2 || (report = fopen(argv[1], "a")) == NULL) return 2;
  for (unsigned at = 0; at < sizeof pattern; at++) pattern[at] = (char)(at * 7 + at / 251);
  make_streams();
  make_connections();
  make_files();
  make_events();
  make_system_v();
  ended = (pid_t)SURE(fork());
  if (ended == 0) _exit(3);
  signal(SIGUSR1, check);
  puts("ready");
  fflush(stdout);
  for (;;) pause();
}
