// Several processes with several threads that keep writing to private memory and to shared memory of every kind, and
// know what must be in it. Usage: braid PROCESSES THREADS PAGES REPORT
//
// Each thread owns PAGES pages of private memory and of three shared objects: anonymous, memfd, System V. A page's
// content follows from its place and its version; the versions are private memory of the thread that owns it. So a
// memory in which any page is older, newer or emptier than the rest is found out.
// On SIGUSR1, passed on by the first process to the others, each thread looks at all its pages and REPORT gets a line:
// "<index of process> <index of thread> sound|broken <writes>".
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KINDS = 4, WORDS = 4096 / 8, MAX_PROCESSES = 16, MAX_THREADS = 16 };

struct worker {
  unsigned process, thread;
  uint64_t *areas[KINDS];
  uint32_t *versions;
  uint64_t writes, random;
  volatile sig_atomic_t asked;
};

static unsigned processes, threads, pages;
static const char *report;
static pid_t children[MAX_PROCESSES];
static unsigned own_index;
static struct worker workers[MAX_THREADS];

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static uint64_t mixed(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ULL;
  return x ^ x >> 33;
}

// Version 0 is a page that has never been written.
static uint64_t word_of(const struct worker *w, unsigned kind, unsigned page, uint32_t version) {
  uint64_t place = ((uint64_t)w->process << 48) | ((uint64_t)w->thread << 40) | ((uint64_t)kind << 32) | page;
  return version == 0 ? 0 : mixed(place * 0x9e3779b97f4a7c15ULL + version);
}

// A word in four is the page's own, the others repeat: pages as compressible as those of programs.
static uint64_t word_at(uint64_t seed, unsigned index) { return index % 4 == 0 ? seed + index * (seed != 0) : seed; }

static void write_page(struct worker *w, unsigned kind, unsigned page) {
  uint32_t *version = &w->versions[kind * pages + page];
  uint64_t *words = w->areas[kind] + (size_t)page * WORDS, seed = word_of(w, kind, page, *version + 1);
  for (unsigned i = 0; i < WORDS; i++) words[i] = word_at(seed, i);
  *version += 1;
  w->writes++;
}

static int is_sound(const struct worker *w) {
  for (unsigned kind = 0; kind < KINDS; kind++)
    for (unsigned page = 0; page < pages; page++) {
      uint64_t *words = w->areas[kind] + (size_t)page * WORDS;
      uint64_t seed = word_of(w, kind, page, w->versions[kind * pages + page]);
      for (unsigned i = 0; i < WORDS; i++)
        if (words[i] != word_at(seed, i)) return 0;
    }
  return 1;
}

static void *work(void *argument) {
  struct worker *w = argument;
  for (;;) {
    if (w->asked) {
      w->asked = 0;
      char line[80];
      int length = snprintf(line, sizeof line, "%u %u %s %llu\n", w->process, w->thread,
                            is_sound(w) ? "sound" : "broken", (unsigned long long)w->writes);
      int fd = open(report, O_WRONLY | O_APPEND | O_CREAT, 0644);
      if (fd < 0 || write(fd, line, length) != length) fail(report);
      close(fd);
    }
    for (int i = 0; i < 8; i++) {
      w->random = mixed(w->random + 0x9e3779b97f4a7c15ULL);
      // Most writes go to a few pages, as programs do; the others are seldom or never written.
      unsigned range = w->random % 8 == 0 ? pages * 3 / 4 : pages / 8 + 1;
      write_page(w, w->random / 8 % KINDS, w->random / 64 % range);
    }
    usleep(5000);
  }
  return NULL;
}

static void on_signal(int number) {
  (void)number;
  for (unsigned i = 0; i < threads; i++) workers[i].asked = 1;
  if (own_index == 0)
    for (unsigned i = 1; i < processes; i++) kill(children[i], SIGUSR1);
}

static void run(unsigned index, uint64_t *shared[KINDS]) {
  own_index = index;
  size_t own_bytes = (size_t)pages * 4096;
  for (unsigned i = 0; i < threads; i++) {
    struct worker *w = &workers[i];
    *w = (struct worker){.process = index, .thread = i, .random = index * 100 + i};
    w->areas[0] = mmap(NULL, own_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    w->versions = mmap(NULL, (size_t)pages * KINDS * 4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (w->areas[0] == MAP_FAILED || w->versions == MAP_FAILED) fail("mmap");
    for (unsigned kind = 1; kind < KINDS; kind++)
      w->areas[kind] = shared[kind] + (size_t)(index * threads + i) * pages * WORDS;
    for (unsigned page = 0; page < pages / 2; page++)
      for (unsigned kind = 0; kind < KINDS; kind++) write_page(w, kind, page);
  }
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigaction(SIGUSR1, &action, NULL);
  for (unsigned i = 1; i < threads; i++) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, &workers[i]) != 0) fail("pthread_create");
  }
  work(&workers[0]);
}

int main(int count, char **arguments) {
  if (count != 5) return 2;
  processes = atoi(arguments[1]);
  threads = atoi(arguments[2]);
  pages = atoi(arguments[3]);
  report = arguments[4];
  if (processes > MAX_PROCESSES || threads > MAX_THREADS) return 2;
  size_t bytes = (size_t)processes * threads * pages * 4096;
  uint64_t *shared[KINDS] = {NULL};
  shared[1] = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  int fd = memfd_create("braid", 0);
  if (fd < 0 || ftruncate(fd, bytes) != 0) fail("memfd");
  shared[2] = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  int id = shmget(IPC_PRIVATE, bytes, IPC_CREAT | 0600);
  if (id < 0) fail("shmget");
  shared[3] = shmat(id, NULL, 0);
  if (shared[1] == MAP_FAILED || shared[2] == MAP_FAILED || shared[3] == (void *)-1) fail("shared memory");
  for (unsigned i = 1; i < processes; i++) {
    children[i] = fork();
    if (children[i] < 0) fail("fork");
    if (children[i] == 0) run(i, shared);
  }
  run(0, shared);
}
