/* Counts, changes its memory as the count tells, and prints the count with a checksum over all of that memory. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BYTES (1u << 20)

int main(void) {
  unsigned char *memory = malloc(BYTES);
  memset(memory, 1, BYTES);
  setvbuf(stdout, NULL, _IOLBF, 0);
  puts("ready");
  for (uint64_t count = 1;; count++) {
    for (unsigned i = 0; i < 500; i++) memory[(count * 7919 + i * 2053) % BYTES] += (unsigned char)(count + i);
    uint64_t sum = 0;
    for (unsigned i = 0; i < BYTES; i++) sum = sum * 31 + memory[i];
    printf("%lu %lx\n", (unsigned long)count, (unsigned long)sum);
    usleep(3000);
  }
}
