/*
 * A program that does to its memory what confuses trackers of changes. It reads lines "SEED COUNT" and answers each
 * with "done" after COUNT random operations; everything follows from the seeds.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define BLOCK (2UL << 20)
#ifndef REGIONS
#define REGIONS 6
#endif
#define REGION_BLOCKS 3
#define REGION_BYTES (REGION_BLOCKS * BLOCK)
#define AREA 0x600000000000UL

static uint64_t state;

static uint32_t random_below(uint32_t limit) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)((state >> 20) % limit);
}

/* Regions lie 16 MiB apart, aligned to page tables, with room between them. */
static char *place(int slot) { return (char *)(AREA + (uint64_t)slot * (16UL << 20)); }

static char *region[REGIONS];
static int slots_used[REGIONS * 2];
static char *shared;

static void store(char *at) {
  *(volatile uint64_t *)(at + 8 * random_below(512)) = state;
}

static void fill(char *start, size_t pages) {
  for (size_t i = 0; i < pages; i++)
    if (random_below(4) != 0) store(start + i * PAGE);
}

static char *random_page(void) {
  return region[random_below(REGIONS)] + random_below(REGION_BYTES / PAGE) * PAGE;
}

static char *end_of_region(char *at) {
  for (int i = 0; i < REGIONS; i++)
    if (at >= region[i] && at < region[i] + REGION_BYTES) return region[i] + REGION_BYTES;
  abort();
}

static int slot_of(char *at) { return (int)(((uint64_t)at - AREA) >> 24); }

static int free_slot(void) {
  int slot;
  do slot = random_below(REGIONS * 2);
  while (slots_used[slot]);
  return slot;
}

static char *move(char *from, size_t bytes, char *to) {
  return mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to);
}

static void map_new(char *at, size_t bytes) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  if (mmap(at, bytes, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED) abort();
}

/* A region of several mappings may not be movable at once, more so if some of them are watched by a userfaultfd: then
   the kernel stops half-way, and what is left is thrown away. */
static int move_all(char *from, char *to) {
  if (move(from, REGION_BYTES, to) != MAP_FAILED) return 1;
  munmap(to, REGION_BYTES);
  map_new(from, REGION_BYTES);
  return 0;
}

/* Moves a part of a region within it. Where the part is of several mappings the kernel refuses, having unmapped the
   destination already; so either side is new memory afterwards. */
static void move_within(char *from, size_t bytes, char *to) {
  if (move(from, bytes, to) == MAP_FAILED) map_new(to, bytes);
  map_new(from, bytes);
}

/* Whole page tables change places, and maps looks as before. */
static void swap_regions(void) {
  int a = random_below(REGIONS), b = random_below(REGIONS);
  if (a == b) return;
  char *spare = place(REGIONS * 2);
  if (!move_all(region[a], spare)) return;
  char *rest = move_all(region[b], region[a]) ? region[b] : region[a];
  if (move_all(spare, rest)) return;
  munmap(spare, REGION_BYTES);
  map_new(rest, REGION_BYTES);
}

static void move_region(void) {
  int which = random_below(REGIONS), slot = free_slot();
  char *to = place(slot);
  char *from = region[which];
  if (!move_all(from, to)) return;
  slots_used[slot_of(from)] = 0;
  slots_used[slot] = 1;
  region[which] = to;
}

/* One page table of a region goes to the place of another one of the same region: the source becomes new memory. */
static void move_block(void) {
  char *base = region[random_below(REGIONS)];
  char *from = base + random_below(REGION_BLOCKS) * BLOCK, *to = base + random_below(REGION_BLOCKS) * BLOCK;
  if (from != to) move_within(from, BLOCK, to);
}

/* A part that is not aligned: page by page. */
static void move_part(void) {
  char *base = region[random_below(REGIONS)];
  size_t pages = 1 + random_below(200);
  char *from = base + random_below(500) * PAGE, *to = base + BLOCK + random_below(500) * PAGE;
  move_within(from, pages * PAGE, to);
}

static void remap(void) {
  size_t pages = 1 + random_below(700);
  char *at = random_page();
  if (at + pages * PAGE > end_of_region(at)) return;
  if (random_below(2)) munmap(at, pages * PAGE);
  map_new(at, pages * PAGE);
  if (random_below(2)) fill(at, pages / 4);
}

static void discard(void) {
  char *at = random_page();
  size_t pages = 1 + random_below(100);
  for (char *end = end_of_region(at); pages > 0 && at < end; pages--, at += PAGE) {
    madvise(at, PAGE, MADV_DONTNEED);
    if (random_below(2)) (void)*(volatile char *)at;
  }
}

/* A child keeps sharing pages for a while; then the parent is alone with them again. */
static void fork_once(int keep) {
  static pid_t kept;
  if (kept > 0) {
    kill(kept, SIGKILL);
    waitpid(kept, NULL, 0);
    kept = 0;
  }
  int finished[2];
  if (pipe(finished)) abort();
  pid_t self = getpid(), child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != self) _exit(0);
    close(finished[0]);
    for (int i = 0; i < 50; i++) store(random_page());
    if (shared) store(shared + random_below(64) * PAGE);
    close(finished[1]);
    if (keep) for (;;) pause();
    _exit(0);
  }
  /* Nothing may be written while the parent stands still, not even by a child: wait until it has finished. */
  char none;
  close(finished[1]);
  if (read(finished[0], &none, 1) != 0) abort();
  close(finished[0]);
  if (keep) kept = child;
  else waitpid(child, NULL, 0);
}

static void protect(void) {
  char *at = random_page();
  mprotect(at, PAGE, random_below(2) ? PROT_NONE : PROT_READ);
  mprotect(at, PAGE, PROT_READ | PROT_WRITE);
}

static void huge(void) {
  char *block = region[random_below(REGIONS)] + random_below(REGION_BLOCKS) * BLOCK;
  madvise(block, BLOCK, random_below(3) ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  if (random_below(2)) madvise(block, BLOCK, 25 /* MADV_COLLAPSE */);
  if (random_below(3) == 0) madvise(block, BLOCK, MADV_DONTNEED);
  store(block + random_below(512) * PAGE);
}

static void merge_same(void) {
  char *at = region[random_below(REGIONS)];
  madvise(at, BLOCK, random_below(2) ? MADV_MERGEABLE : MADV_UNMERGEABLE);
  for (int i = 0; i < 20; i++) memset(at + random_below(512) * PAGE, random_below(3), PAGE);
}

static void operate(void) {
  switch (random_below(14)) {
    case 0: swap_regions(); break;
    case 1: move_region(); break;
    case 2: move_block(); break;
    case 3: move_part(); break;
    case 4: remap(); break;
    case 5: discard(); break;
    case 6: fork_once(0); break;
    case 7: fork_once(1); break;
    case 8: protect(); break;
    case 9: huge(); break;
    case 10: merge_same(); break;
    case 11: madvise(random_page(), 16 * PAGE, MADV_PAGEOUT); break;
    case 12: store(shared + random_below(64) * PAGE); break;
    default: for (uint32_t i = random_below(200); i > 0; i--) store(random_page());
  }
}

int main(void) {
  state = 88172645463325252UL;
  setvbuf(stdout, NULL, _IOLBF, 256);
  shared = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < REGIONS; i++) {
    region[i] = place(i);
    map_new(region[i], REGION_BYTES);
    slots_used[i] = 1;
    if (i < 4) fill(region[i], REGION_BYTES / PAGE);
  }
  char line[64];
  puts("ready");
  while (fgets(line, sizeof line, stdin)) {
    unsigned seed = 1, count = 1;
    sscanf(line, "%u %u", &seed, &count);
    state = seed * 2654435761UL + 88172645463325252UL;
    while (count-- > 0) operate();
    puts("done");
  }
  return 0;
}
