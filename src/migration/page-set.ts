import type { PageRangeList } from '../core/index.ts';
import { bitsOf } from './page-bitmap.ts';

const PAGES_PER_BLOCK = 32_768;
const WORDS_PER_BLOCK = PAGES_PER_BLOCK / 32;

/** Pages of processes, one bit each in blocks of 128 MiB of address space, which exist where there are pages. */
export class PageSet {
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
