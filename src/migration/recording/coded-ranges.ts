import type { CodedRanges } from './recording.ts';
import { sharedCopy } from './shared-arrays.ts';

/** Longest run of pages that is sorted as one. */
const LONGEST_RUN = 2 ** 20 - 1;

/**
 * Gathers the page ranges of one interval after the other. An interval's ranges are coded in ascending order: twice the
 * gap since the end of the range before (the first: since page 0), plus one if it has more than one page; then, in this
 * case, its pages. Numbers are LEB128: recordings of large targets name tens of millions of ranges, and most of them
 * take a byte or two so.
 */
export class RangeCoder {
  #bytes = new Uint8Array(1 << 16);
  #length = 0;
  readonly #offsets: number[] = [0];
  readonly #pages: number[] = [];
  #starts = new Uint32Array(1024);
  #ends = new Uint32Array(1024);
  #count = 0;
  #ascending = true;

  /** Adds a range to the interval that is gathered; ranges may come in any order. */
  add(start: number, end: number): void {
    const last = this.#count - 1;
    if (last >= 0 && this.#ascending) {
      if (start === this.#ends[last]) {
        this.#ends[last] = end;
        return;
      }
      if (start < this.#ends[last]!) this.#ascending = false;
    }
    if (this.#count === this.#starts.length) {
      this.#starts = grown(this.#starts, this.#count * 2);
      this.#ends = grown(this.#ends, this.#count * 2);
    }
    this.#starts[this.#count] = start;
    this.#ends[this.#count++] = end;
  }

  /** The interval is over: codes its ranges and calls `visit` for each, in ascending order. */
  finish(visit: (start: number, end: number) => void): void {
    if (!this.#ascending) this.#sort();
    let at = 0;
    let pages = 0;
    for (let index = 0; index < this.#count; index++) {
      const start = this.#starts[index]!;
      const end = this.#ends[index]!;
      visit(start, end);
      if (this.#length + 12 > this.#bytes.length) {
        const larger = new Uint8Array(this.#bytes.length * 2);
        larger.set(this.#bytes);
        this.#bytes = larger;
      }
      const length = end - start;
      this.#number((start - at) * 2 + (length > 1 ? 1 : 0));
      if (length > 1) this.#number(length);
      at = end;
      pages += length;
    }
    this.#offsets.push(this.#length);
    this.#pages.push(pages);
    this.#count = 0;
    this.#ascending = true;
  }

  /** Everything that was gathered, on shared memory. */
  build(): CodedRanges {
    return {
      bytes: sharedCopy(this.#bytes.subarray(0, this.#length)),
      offsets: sharedCopy(Float64Array.from(this.#offsets)),
      pages: sharedCopy(Uint32Array.from(this.#pages)),
    };
  }

  #number(value: number): void {
    let left = value;
    while (left >= 0x80) {
      this.#bytes[this.#length++] = (left & 0x7f) | 0x80;
      left = left < 0x80000000 ? left >>> 7 : Math.floor(left / 128);
    }
    this.#bytes[this.#length++] = left;
  }

  /** Sorts the ranges and joins those that touch or overlap. */
  #sort(): void {
    const keys: number[] = [];
    for (let index = 0; index < this.#count; index++) {
      const end = this.#ends[index]!;
      for (let start = this.#starts[index]!; start < end; start += LONGEST_RUN) {
        keys.push(start * (LONGEST_RUN + 1) + Math.min(LONGEST_RUN, end - start));
      }
    }
    this.#count = 0;
    for (const key of Float64Array.from(keys).sort()) {
      const start = Math.floor(key / (LONGEST_RUN + 1));
      const end = start + (key % (LONGEST_RUN + 1));
      const last = this.#count - 1;
      if (last >= 0 && start <= this.#ends[last]!) this.#ends[last] = Math.max(this.#ends[last]!, end);
      else {
        this.#ascending = true;
        this.add(start, end);
      }
    }
  }
}

/** Reads the ranges of one interval: their starts into `starts`, their ends into `ends`. */
export class RangeDecoder {
  starts = new Uint32Array(1024);
  ends = new Uint32Array(1024);
  /** Ranges of the interval that was read last. */
  count = 0;

  read({ bytes, offsets }: CodedRanges, interval: number): void {
    const end = offsets[interval + 1]!;
    let offset = offsets[interval]!;
    // No range takes less than a byte.
    if (end - offset > this.starts.length) {
      this.starts = new Uint32Array((end - offset) * 2);
      this.ends = new Uint32Array((end - offset) * 2);
    }
    const { starts, ends } = this;
    let at = 0;
    let count = 0;
    while (offset < end) {
      let byte = bytes[offset++]!;
      let word = byte & 0x7f;
      for (let factor = 128; byte >= 0x80; factor *= 128) {
        byte = bytes[offset++]!;
        word += (byte & 0x7f) * factor;
      }
      let pages = 1;
      if (word % 2 === 1) {
        byte = bytes[offset++]!;
        pages = byte & 0x7f;
        for (let factor = 128; byte >= 0x80; factor *= 128) {
          byte = bytes[offset++]!;
          pages += (byte & 0x7f) * factor;
        }
      }
      const start = at + Math.floor(word / 2);
      at = start + pages;
      starts[count] = start;
      ends[count++] = at;
    }
    this.count = count;
  }
}

function grown(array: Uint32Array, length: number): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(length);
  larger.set(array);
  return larger;
}
