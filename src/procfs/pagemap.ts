/**
 * Words of /proc/PID/pagemap (fs/proc/task_mmu.c; Documentation/admin-guide/mm/pagemap.rst). A word is kept as two
 * 32-bit halves in a Uint32Array, low half first, because 64-bit integers in JavaScript are a hundred times slower.
 *
 *   63 present | 62 swapped | 61 file or shared | 58 guard | 57 uffd-wp | 56 mapped once | 55 soft-dirty | 0-54 PFN
 */
export const PAGEMAP_HIGH = {
  present: 0x80000000,
  swapped: 0x40000000,
  file: 0x20000000,
  guard: 0x04000000,
  uffdWriteProtected: 0x02000000,
  exclusive: 0x01000000,
  softDirty: 0x00800000,
  frameMask: 0x007fffff,
} as const;

/** Bytes of one pagemap word. */
export const PAGEMAP_WORD_BYTES = 8;

/** Frame number (or swap type and offset) of the word at `index`; 0 if the kernel hides it. */
export function pagemapFrame(words: Uint32Array, index: number): number {
  return (words[index * 2 + 1]! & PAGEMAP_HIGH.frameMask) * 4294967296 + words[index * 2]!;
}
