import type { PageBitmap } from './page-bitmap.ts';

/**
 * The memory that a rehearsal migrates, and the program that writes to it: a port, so that the policies need not know
 * whether a simulated workload or a trace stands behind it. Pages are numbers from 0, in the order in which a sender
 * scans them.
 */
export interface MigratingMemory {
  /** Pages that existed when the migration began. */
  readonly resident: PageBitmap;
  /** Pages written since somebody last emptied this set: the dirty log. */
  readonly dirty: PageBitmap;
  /** One above the highest page number so far. */
  readonly pageCount: number;
  /** Share of a processor that the program needs to keep its pace: 1 if it writes as fast as it can. */
  readonly cpuShare: number;
  /** Lets the program run for so long a time of its own. */
  run(microseconds: number): void;
  /** Whether a page holds zeros only. */
  isZero(page: number): boolean;
  /**
   * Which of the pages 32 x `word` to 32 x `word` + 31 whose bits are set in `pages` hold zeros only, a bit each. A
   * memory that has no such answer is asked page by page, with the same result.
   */
  zerosAmong?(word: number, pages: number): number;
  /** Size of the page in a stream of compressed pages, as a share of its plain size. */
  compressedShare(page: number): number;
  /** Up to which page, exclusive, this page and those behind it have the same share; without it, only this one. */
  compressedShareEnd?(page: number): number;
  /** From now on `storesOf` counts. */
  countStores(): void;
  /** Stores to a page since counting began. */
  storesOf(page: number): number;
  /**
   * Bytes of the difference that so many stores make to a page, as runs of changed bytes with the overhead of each
   * run (XBZRLE's encoding).
   */
  differenceBytes(page: number, stores: number): number;
}

/** Which pages of a word, of those whose bits are set in `pages`, hold zeros only: a bit each. */
export function zerosAmong(memory: MigratingMemory, word: number, pages: number): number {
  if (memory.zerosAmong !== undefined) return memory.zerosAmong(word, pages);
  let zeros = 0;
  for (let rest = pages; rest !== 0; rest &= rest - 1) {
    const bit = rest & -rest;
    if (memory.isZero(word * 32 + 31 - Math.clz32(bit))) zeros |= bit;
  }
  return zeros;
}
