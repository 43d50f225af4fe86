import type { PageRangeList } from '../core/index.ts';
import { bitsOf } from './page-bitmap.ts';

/** How many distinct pages were written in windows of one length. */
export interface WorkingSetWindow {
  /** Length of the windows: a power of two. */
  readonly intervals: number;
  /** Mean of their lengths. */
  readonly microseconds: number;
  /** How many windows were seen whole. They follow one another and do not overlap. */
  readonly windows: number;
  /** Distinct pages of a window. */
  readonly meanPages: number;
  readonly leastPages: number;
  readonly mostPages: number;
}

/** The pages of one process that were written in an interval. */
export type WrittenPages = readonly [pid: number, written: PageRangeList];

const PAGES_PER_BLOCK = 32_768;
const WORDS_PER_BLOCK = PAGES_PER_BLOCK / 32;

/**
 * The writable working set as Clark et al. (2005) measure it: the distinct pages written within windows of 1, 2, 4, ...
 * intervals. Two windows of one length that follow one another are merged into one of twice the length, so that an
 * interval costs what its pages cost, however long it all takes. In memory there is at most one set of pages for each
 * length, one bit a page in blocks of 128 MiB of address space.
 */
export class WorkingSetWindows {
  readonly #levels: Level[] = [];

  /** Takes the next interval; a process that wrote nothing may be left out, and each may be there only once. */
  add(microseconds: number, written: Iterable<WrittenPages>): void {
    const pages = new PageSet();
    for (const [pid, list] of written) pages.addAll(pid, list);
    let window: Window = { microseconds, pages };
    for (let index = 0; ; index++) {
      const level = this.#levels[index] ?? new Level(2 ** index);
      this.#levels[index] = level;
      level.count(window);
      const earlier = level.pending;
      if (earlier === undefined) {
        level.pending = window;
        return;
      }
      level.pending = undefined;
      earlier.pages.absorb(window.pages);
      window = { microseconds: earlier.microseconds + window.microseconds, pages: earlier.pages };
    }
  }

  /** What is known so far, shortest windows first; of each length at least one window was seen whole. */
  windows(): WorkingSetWindow[] {
    return this.#levels.map((level) => level.summary());
  }
}

interface Window {
  readonly microseconds: number;
  readonly pages: PageSet;
}

/** All windows of one length. */
class Level {
  /** The first of two that will be merged. */
  pending: Window | undefined;
  readonly #intervals: number;
  #windows = 0;
  #microseconds = 0;
  #pages = 0;
  #least = Number.POSITIVE_INFINITY;
  #most = 0;

  constructor(intervals: number) {
    this.#intervals = intervals;
  }

  count({ microseconds, pages }: Window): void {
    this.#windows++;
    this.#microseconds += microseconds;
    this.#pages += pages.count;
    this.#least = Math.min(this.#least, pages.count);
    this.#most = Math.max(this.#most, pages.count);
  }

  summary(): WorkingSetWindow {
    return {
      intervals: this.#intervals,
      microseconds: Math.round(this.#microseconds / this.#windows),
      windows: this.#windows,
      meanPages: this.#pages / this.#windows,
      leastPages: this.#least,
      mostPages: this.#most,
    };
  }
}

/** Pages of processes, one bit each in blocks that exist where there are pages. */
class PageSet {
  readonly #processes = new Map<number, Map<number, Uint32Array>>();
  #count = 0;

  get count(): number {
    return this.#count;
  }

  addAll(pid: number, list: PageRangeList): void {
    const blocks = this.#blocksOf(pid);
    for (let index = 0; index < list.rangeCount; index++) {
      const end = list.endPage(index);
      for (let page = list.startPage(index); page < end; ) {
        const number = Math.floor(page / PAGES_PER_BLOCK);
        const first = number * PAGES_PER_BLOCK;
        const last = Math.min(end, first + PAGES_PER_BLOCK);
        this.#count += setBits(blockOf(blocks, number), page - first, last - first);
        page = last;
      }
    }
  }

  /** Takes the pages of another set, which is not used afterwards. */
  absorb(other: PageSet): void {
    for (const [pid, theirs] of other.#processes) {
      const ours = this.#blocksOf(pid);
      for (const [number, block] of theirs) {
        const own = ours.get(number);
        if (own === undefined) {
          ours.set(number, block);
          this.#count += countBits(block);
        } else this.#count += mergeBits(own, block);
      }
    }
  }

  #blocksOf(pid: number): Map<number, Uint32Array> {
    const known = this.#processes.get(pid);
    if (known !== undefined) return known;
    const blocks = new Map<number, Uint32Array>();
    this.#processes.set(pid, blocks);
    return blocks;
  }
}

function blockOf(blocks: Map<number, Uint32Array>, number: number): Uint32Array {
  const known = blocks.get(number);
  if (known !== undefined) return known;
  const block = new Uint32Array(WORDS_PER_BLOCK);
  blocks.set(number, block);
  return block;
}

/** Sets the bits from..to. @returns how many were not set before */
function setBits(words: Uint32Array, from: number, to: number): number {
  let added = 0;
  for (let bit = from; bit < to; ) {
    const index = bit >>> 5;
    const end = Math.min(to, (index + 1) * 32);
    const count = end - bit;
    const mask = count === 32 ? 0xffffffff : ((2 ** count - 1) << (bit & 31)) >>> 0;
    added += bitsOf(mask & ~words[index]!);
    words[index]! |= mask;
    bit = end;
  }
  return added;
}

/** @returns how many bits are new */
function mergeBits(into: Uint32Array, from: Uint32Array): number {
  let added = 0;
  for (let index = 0; index < from.length; index++) {
    const fresh = from[index]! & ~into[index]!;
    if (fresh === 0) continue;
    added += bitsOf(fresh);
    into[index]! |= fresh;
  }
  return added;
}

function countBits(words: Uint32Array): number {
  let count = 0;
  for (const word of words) count += bitsOf(word);
  return count;
}
