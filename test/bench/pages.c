// A program with a lot of memory of which it changes what it is told to, and that feels how long it stands still.
//   pages MEBIBYTES
// Says "ready", then answers each line: "touch N" changes a word in each of N pages spread over all, and says "done";
// "gap" tells the longest time between two looks at the clock since it was last asked, in microseconds.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { PAGE = 4096, WORDS = PAGE / 8 };

static atomic_long longest;

static long microseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void *watch_clock(void *unused) {
  (void)unused;
  struct timespec pause = {0, 200000};
  for (long last = microseconds(), now; ; last = now) {
    nanosleep(&pause, NULL);
    now = microseconds();
    if (now - last > longest) longest = now - last;
  }
  return NULL;
}

// A third of a page is noise, the rest repeats: zstd halves it, as it does the memory of most programs.
static void fill(uint64_t *page, uint64_t number) {
  uint64_t state = number * 0x9e3779b97f4a7c15 + 1;
  for (int i = 0; i < WORDS; i++) {
    if (i % 3 == 0) state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    page[i] = i % 3 == 0 ? state : number + i / 16;
  }
}

int main(int argc, char **argv) {
  if (argc != 2) return 64;
  size_t pages = (size_t)atol(argv[1]) * 256;
  uint64_t *words = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (words == MAP_FAILED) return 67;
  for (size_t i = 0; i < pages; i++) fill(words + i * WORDS, i);
  pthread_t watcher;
  pthread_create(&watcher, NULL, watch_clock, NULL);
  puts("ready");
  fflush(stdout);
  uint64_t stamp = 0;
  for (char line[64]; fgets(line, sizeof line, stdin) != NULL; fflush(stdout)) {
    size_t count = 0;
    if (sscanf(line, "touch %zu", &count) == 1 && count > 0 && count <= pages) {
      for (size_t i = 0; i < count; i++) words[i * pages / count * WORDS + 7] = ++stamp;
      puts("done");
    } else if (strcmp(line, "gap\n") == 0) {
      printf("%ld\n", atomic_exchange(&longest, 0));
    }
  }
  return 0;
}
