// A program that would notice if a page of its own were not what it wrote last. Every thread has a region, changes
// random words of random pages, keeps the sum of all words by arithmetic, and now and then adds up the whole region.
// One more thread maps, grows, discards and unmaps memory, with sums of its own.
//   checksum MEBIBYTES THREADS PAGES_PER_SECOND
// Says "ready", then answers each line: "rounds" with how often a sum was found right, "end" with "sound".
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, WORDS = PAGE / 8, MOST_THREADS = 64 };

struct region {
  pthread_t thread;
  uint64_t *words;
  size_t pages;
  uint64_t sum;
  uint64_t state;
  long pages_per_second;
};

static atomic_long rounds;
static atomic_bool ending;

static uint64_t next(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static void broken(const char *what, uint64_t found, uint64_t expected) {
  fprintf(stderr, "broken: %s is %llx, not %llx\n", what, (unsigned long long)found, (unsigned long long)expected);
  _exit(66);
}

static void pause_for(long microseconds) {
  struct timespec time = {microseconds / 1000000, microseconds % 1000000 * 1000};
  nanosleep(&time, NULL);
}

static uint64_t add_up(const uint64_t *words, size_t count) {
  uint64_t sum = 0;
  for (size_t i = 0; i < count; i++) sum += words[i];
  return sum;
}

static void check(const char *what, const uint64_t *words, size_t count, uint64_t expected) {
  uint64_t found = add_up(words, count);
  if (found != expected) broken(what, found, expected);
  atomic_fetch_add(&rounds, 1);
}

// Changes three words of a page, keeping the sum up.
static void change_page(struct region *region) {
  uint64_t *page = region->words + next(&region->state) % region->pages * WORDS;
  for (int i = 0; i < 3; i++) {
    uint64_t *word = page + next(&region->state) % WORDS;
    uint64_t value = next(&region->state);
    region->sum += value - *word;
    *word = value;
  }
}

static void *work(void *argument) {
  struct region *region = argument;
  // A hundred times a second, and a look at the whole region about twice a second.
  long batch = region->pages_per_second / 100 + 1;
  for (long turn = 0; !ending; turn++) {
    for (long i = 0; i < batch; i++) change_page(region);
    if (turn % 50 == 0) check("the sum of a region", region->words, region->pages * WORDS, region->sum);
    pause_for(10000);
  }
  check("the last sum of a region", region->words, region->pages * WORDS, region->sum);
  return NULL;
}

static uint64_t fill(uint64_t *words, size_t count, uint64_t *state) {
  uint64_t sum = 0;
  for (size_t i = 0; i < count; i++) sum += words[i] = next(state);
  return sum;
}

static void *map(size_t bytes) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) perror("mmap"), _exit(67);
  return memory;
}

// Memory comes, moves, is discarded and goes.
static void *churn(void *argument) {
  uint64_t state = *(uint64_t *)argument;
  while (!ending) {
    size_t pages = 16 + next(&state) % 64, count = pages * WORDS;
    uint64_t *words = map(pages * PAGE);
    uint64_t sum = fill(words, count, &state);
    pause_for(3000);
    check("the sum of a new mapping", words, count, sum);
    words = mremap(words, pages * PAGE, 2 * pages * PAGE, MREMAP_MAYMOVE);
    if (words == MAP_FAILED) perror("mremap"), _exit(67);
    check("the sum of a moved mapping", words, 2 * count, sum);
    sum -= add_up(words, WORDS * 8);
    madvise(words, 8 * PAGE, MADV_DONTNEED);
    sum += words[2 * count - 1] = next(&state);
    pause_for(3000);
    check("the sum of a discarded mapping", words, 2 * count, sum);
    munmap(words, 2 * pages * PAGE);
  }
  return NULL;
}

int main(int argc, char **argv) {
  if (argc != 4) return 64;
  int threads = atoi(argv[2]);
  if (threads < 1 || threads > MOST_THREADS) return 64;
  static struct region regions[MOST_THREADS];
  for (int i = 0; i < threads; i++) {
    struct region *region = &regions[i];
    region->pages = (size_t)atol(argv[1]) * 256 / threads;
    region->words = map(region->pages * PAGE);
    region->state = 0x9e3779b97f4a7c15 * (i + 1);
    region->pages_per_second = atol(argv[3]) / threads;
    region->sum = fill(region->words, region->pages * WORDS, &region->state);
  }
  pthread_t churner;
  uint64_t seed = 88172645463325252;
  pthread_create(&churner, NULL, churn, &seed);
  for (int i = 0; i < threads; i++) pthread_create(&regions[i].thread, NULL, work, &regions[i]);
  puts("ready");
  fflush(stdout);
  for (char line[64]; fgets(line, sizeof line, stdin) != NULL; fflush(stdout)) {
    if (strcmp(line, "rounds\n") == 0) printf("%ld\n", atomic_load(&rounds));
    else if (strcmp(line, "end\n") == 0) break;
  }
  ending = 1;
  for (int i = 0; i < threads; i++) pthread_join(regions[i].thread, NULL);
  pthread_join(churner, NULL);
  puts("sound");
  return 0;
}
