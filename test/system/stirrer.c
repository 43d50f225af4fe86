/*
 * A program that does to its memory what a tracker by write protection has to notice, beyond what shifter.c does: private
 * mappings of a file that is truncated, its heap, its stack, guard markers, memory at addresses used before, a
 * userfaultfd of its own. Lines "SEED COUNT" are answered with "done" after COUNT random operations; "close" closes all
 * descriptors but the standard ones, "watch" watches some memory by a userfaultfd of its own.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define AREA ((char *)0x610000000000UL)
#define AREA_PAGES 3000
#define FILE_PAGES 300
#define HEAP_PAGES 400
#define WATCHED_PAGES 64
#define HALF_PAGES 20

static uint64_t state;
static char *file_memory, *heap, *watched, *halves;
static size_t heap_pages;
static int file;

static uint32_t random_below(uint32_t limit) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)((state >> 20) % limit);
}

static void store(char *page) { *(volatile uint64_t *)(page + 8 * random_below(512)) = state; }

static void map_area(char *at, size_t pages) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  if (mmap(at, pages * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED) abort();
}

static void random_range(char **at, size_t *pages, size_t most) {
  *pages = 1 + random_below(most);
  *at = AREA + random_below(AREA_PAGES - *pages) * PAGE;
}

/* New memory where other memory was: it reads zero, or holds new contents. */
static void replace(void) {
  char *at;
  size_t pages;
  random_range(&at, &pages, 200);
  if (random_below(2)) munmap(at, pages * PAGE);
  map_area(at, pages);
  for (size_t i = 0; i < pages; i++)
    if (random_below(3) == 0) store(at + i * PAGE);
}

static void move(void) {
  char *from, *to;
  size_t pages, most;
  random_range(&from, &pages, 150);
  random_range(&to, &most, 100);
  if (to + pages * PAGE > AREA + AREA_PAGES * PAGE) return;
  if (from < to + pages * PAGE && to < from + pages * PAGE) return;
  mremap(from, pages * PAGE, pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | (random_below(3) ? 0 : MREMAP_DONTUNMAP), to);
  /* Whatever was moved, wholly, partly or not at all: no hole is left. */
  for (size_t i = 0; i < pages; i++) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    mmap(from + i * PAGE, PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    mmap(to + i * PAGE, PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
  }
}

static void discard(void) {
  char *at;
  size_t pages;
  random_range(&at, &pages, 100);
  madvise(at, pages * PAGE, random_below(4) ? MADV_DONTNEED : MADV_FREE);
  for (size_t i = 0; i < pages; i++)
    if (random_below(2)) (void)*(volatile char *)(at + i * PAGE);
}

static void protect(void) {
  char *at;
  size_t pages;
  random_range(&at, &pages, 50);
  mprotect(at, pages * PAGE, random_below(2) ? PROT_NONE : PROT_READ);
  mprotect(at, pages * PAGE, PROT_READ | PROT_WRITE);
}

/* Guard markers (Linux 6.13) drop the pages; taken away again they leave zeros. */
static void guard(void) {
  char *at;
  size_t pages;
  random_range(&at, &pages, 20);
  madvise(at, pages * PAGE, 102 /* MADV_GUARD_INSTALL */);
  madvise(at, pages * PAGE, 103 /* MADV_GUARD_REMOVE */);
}

/* A private mapping of a file: copies appear, are dropped, and go with the end of the file. */
static void use_file(void) {
  size_t page = random_below(FILE_PAGES), pages = 1 + random_below(FILE_PAGES - page);
  switch (random_below(4)) {
    case 0: madvise(file_memory + page * PAGE, pages * PAGE, MADV_DONTNEED); break;
    case 1:
      if (file >= 0 && (ftruncate(file, page * PAGE) || ftruncate(file, FILE_PAGES * PAGE))) abort();
      break;
    case 2:
      for (size_t i = page; i < page + pages; i++) (void)*(volatile char *)(file_memory + i * PAGE);
      break;
    default:
      for (size_t i = page; i < page + pages; i += 1 + random_below(4)) store(file_memory + i * PAGE);
  }
}

static void use_heap(void) {
  size_t wanted = random_below(HEAP_PAGES);
  if (brk(heap + wanted * PAGE)) abort();
  heap_pages = wanted;
  for (size_t i = 0; i < heap_pages; i += 1 + random_below(30)) store(heap + i * PAGE);
}

static void __attribute__((noinline)) use_stack(int depth) {
  char frame[6000];
  *(volatile char *)(frame + random_below(6000)) = (char)state;
  if (depth > 0) use_stack(depth - 1);
}

/* Half of a mapping goes away and comes back. Where it joins the other half again, the kernel takes both out of the
   registration of a userfaultfd, but leaves the marks of protection on the pages of the half that stayed. */
static void part_and_join(void) {
  static int apart;
  char *away = AREA + (AREA_PAGES + 10000) * PAGE, *home = halves + HALF_PAGES * PAGE;
  char *from = apart ? away : home, *to = apart ? home : away;
  if (mremap(from, HALF_PAGES * PAGE, HALF_PAGES * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to) abort();
  apart = !apart;
}

/* The child writes to what it shares with us, and keeps the descriptors that it has inherited. */
static void fork_once(void) {
  pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < 100; i++) store(AREA + random_below(AREA_PAGES) * PAGE);
    _exit(0);
  }
  waitpid(child, NULL, 0);
}

static void operate(void) {
  char *at;
  size_t pages;
  for (int i = 0; i < 3; i++) store(halves + random_below(HALF_PAGES) * PAGE);
  switch (random_below(13)) {
    case 0: replace(); break;
    case 1: move(); break;
    case 2: discard(); break;
    case 3: protect(); break;
    case 4: guard(); break;
    case 5: use_file(); break;
    case 6: use_heap(); break;
    case 7: use_stack(random_below(60)); break;
    case 8: fork_once(); break;
    case 9:
      random_range(&at, &pages, 64);
      if (random_below(2)) mlock(at, pages * PAGE);
      else munlock(at, pages * PAGE);
      break;
    case 10: part_and_join(); break;
    case 11:
      if (watched) store(watched + random_below(WATCHED_PAGES) * PAGE);
      break;
    default:
      for (int i = random_below(100); i > 0; i--) store(AREA + random_below(AREA_PAGES) * PAGE);
  }
}

/* Write protection of its own, asynchronous as ours: PAGEMAP_SCAN shows both alike. */
static void watch(void) {
  int descriptor = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
  struct uffdio_api api = {.api = UFFD_API, .features = 1 << 15 /* UFFD_FEATURE_WP_ASYNC */};
  watched = mmap(NULL, WATCHED_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct uffdio_register range = {.range = {(uint64_t)watched, WATCHED_PAGES * PAGE}, .mode = 2};
  struct uffdio_writeprotect protect = {.range = range.range, .mode = 1};
  if (ioctl(descriptor, UFFDIO_API, &api) || ioctl(descriptor, UFFDIO_REGISTER, &range)) abort();
  for (int i = 0; i < WATCHED_PAGES; i++) store(watched + i * PAGE);
  if (ioctl(descriptor, UFFDIO_WRITEPROTECT, &protect)) abort();
}

int main(void) {
  static char buffer[256];
  setvbuf(stdout, buffer, _IOLBF, sizeof buffer);
  static char input[256];
  setvbuf(stdin, input, _IOFBF, sizeof input);
  char line[64];
  state = 88172645463325252UL;
  map_area(AREA, AREA_PAGES);
  for (size_t i = 0; i < AREA_PAGES; i += 2) store(AREA + i * PAGE);
  halves = AREA + (AREA_PAGES + 5000) * PAGE;
  map_area(halves, 2 * HALF_PAGES);
  for (size_t i = 0; i < 2 * HALF_PAGES; i++) store(halves + i * PAGE);
  char name[] = "/tmp/stirrer-XXXXXX";
  file = mkstemp(name);
  unlink(name);
  if (ftruncate(file, FILE_PAGES * PAGE)) abort();
  file_memory = mmap(NULL, FILE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
  heap = sbrk(0);
  heap += -(uintptr_t)heap & (PAGE - 1);
  puts("ready");
  while (fgets(line, sizeof line, stdin)) {
    unsigned seed, count;
    if (sscanf(line, "%u %u", &seed, &count) == 2) {
      state = seed * 2654435761UL + 88172645463325252UL;
      while (count-- > 0) operate();
    } else if (line[0] == 'w') {
      watch();
    } else if (line[0] == 'c') {
      close_range(3, ~0U, 0);
      file = -1;
    }
    puts("done");
  }
  return 0;
}
