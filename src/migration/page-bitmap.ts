/**
 * A growing set of page numbers, one bit a page, that knows how many it holds. Two more levels, with one bit for each
 * word of the level below, make walking through a large set with few pages cheap.
 */
export class PageBitmap {
  #words: Int32Array;
  /** Bit n is set if and only if word n is not 0. */
  #summary: Int32Array;
  /** Bit n is set if and only if word n of the summary is not 0. */
  #top: Int32Array;
  #count = 0;

  constructor(pageCount: number) {
    const words = Math.max(1, Math.ceil(pageCount / 32));
    this.#words = new Int32Array(words);
    this.#summary = new Int32Array(summaryLength(words));
    this.#top = new Int32Array(summaryLength(this.#summary.length));
  }

  /** A set of its own with the pages of `words`: bit n of word m is page 32 m + n. */
  static copyOf(words: Uint32Array): PageBitmap {
    const bitmap = new PageBitmap(words.length * 32);
    bitmap.#words.set(words);
    for (let index = 0; index < words.length; index++) {
      const word = bitmap.#words[index]!;
      if (word === 0) continue;
      bitmap.#mark(index);
      bitmap.#count += bitsOf(word);
    }
    return bitmap;
  }

  /** The words of the pages below `pageCount`, for `copyOf`, on memory that threads share. */
  sharedWords(pageCount: number): Uint32Array {
    const words = new Uint32Array(new SharedArrayBuffer(Math.ceil(pageCount / 32) * 4));
    words.set(this.#words.subarray(0, words.length));
    return words;
  }

  /** How many pages are in the set. */
  get count(): number {
    return this.#count;
  }

  has(page: number): boolean {
    return (((this.#words[page >>> 5] ?? 0) >>> (page & 31)) & 1) === 1;
  }

  /** @returns whether it was not in the set. */
  add(page: number): boolean {
    const index = page >>> 5;
    if (index >= this.#words.length) this.#grow(index + 1);
    const before = this.#words[index]!;
    const bit = 1 << (page & 31);
    if ((before & bit) !== 0) return false;
    this.#words[index] = before | bit;
    if (before === 0) this.#mark(index);
    this.#count++;
    return true;
  }

  remove(page: number): void {
    this.removeFromWord(page >>> 5, 1 << (page & 31));
  }

  addRange(start: number, end: number): void {
    if (start >= end) return;
    const last = (end - 1) >>> 5;
    const first = start >>> 5;
    const head = -1 << (start & 31);
    const tail = -1 >>> (31 - ((end - 1) & 31));
    if (first === last) {
      this.addToWord(first, head & tail);
      return;
    }
    this.addToWord(last, tail);
    for (let index = first + 1; index < last; index++) this.addToWord(index, -1);
    this.addToWord(first, head);
  }

  removeRange(start: number, end: number): void {
    if (start >= end) return;
    const last = (end - 1) >>> 5;
    const first = start >>> 5;
    const head = -1 << (start & 31);
    const tail = -1 >>> (31 - ((end - 1) & 31));
    if (first === last) {
      this.removeFromWord(first, head & tail);
      return;
    }
    this.removeFromWord(first, head);
    for (let index = first + 1; index < last; index++) this.removeFromWord(index, -1);
    this.removeFromWord(last, tail);
  }

  clear(): void {
    for (let index = this.nextWord(0); index >= 0; index = this.nextWord(index + 1)) {
      this.#words[index] = 0;
      this.#unmark(index);
    }
    this.#count = 0;
  }

  /** First page of the set at `from` or behind it; -1 if there is none. */
  next(from: number): number {
    const index = from >>> 5;
    if (index >= this.#words.length) return -1;
    const word = this.#words[index]! & (-1 << (from & 31));
    if (word !== 0) return index * 32 + lowestBit(word);
    const next = this.nextWord(index + 1);
    return next < 0 ? -1 : next * 32 + lowestBit(this.#words[next]!);
  }

  /** Pages 32 x `index` to 32 x `index` + 31, a bit each. */
  word(index: number): number {
    return this.#words[index] ?? 0;
  }

  /** First word at `index` or behind it that has pages of the set; -1 if there is none. */
  nextWord(index: number): number {
    const words = this.#words;
    if (index >= words.length) return -1;
    if (words[index] !== 0) return index;
    const summary = this.#summary;
    let at = index >>> 5;
    let bits = summary[at]! & (-1 << (index & 31));
    if (bits === 0) {
      at = this.#nextSummary(at + 1);
      if (at < 0) return -1;
      bits = summary[at]!;
    }
    return at * 32 + lowestBit(bits);
  }

  /** Adds the pages of a word whose bits are set in `bits`. @returns how many were not in the set. */
  addToWord(index: number, bits: number): number {
    if (index >= this.#words.length) this.#grow(index + 1);
    const before = this.#words[index]!;
    const fresh = bits & ~before;
    if (fresh === 0) return 0;
    this.#words[index] = before | fresh;
    if (before === 0) this.#mark(index);
    const added = bitsOf(fresh);
    this.#count += added;
    return added;
  }

  /** Takes the pages of a word away whose bits are set in `bits`. @returns how many there were. */
  removeFromWord(index: number, bits: number): number {
    const before = this.#words[index] ?? 0;
    const held = bits & before;
    if (held === 0) return 0;
    const rest = before ^ held;
    this.#words[index] = rest;
    if (rest === 0) this.#unmark(index);
    const removed = bitsOf(held);
    this.#count -= removed;
    return removed;
  }

  /** Moves every page of `other` into this set. @returns how many were not in it before. */
  absorb(other: PageBitmap): number {
    if (this.#count === 0 && other.#words.length >= this.#words.length) {
      [this.#words, other.#words] = [other.#words, this.#words];
      [this.#summary, other.#summary] = [other.#summary, this.#summary];
      [this.#top, other.#top] = [other.#top, this.#top];
      this.#count = other.#count;
      other.#count = 0;
      return this.#count;
    }
    let added = 0;
    for (let index = other.nextWord(0); index >= 0; index = other.nextWord(index + 1)) {
      added += this.addToWord(index, other.#words[index]!);
    }
    other.clear();
    return added;
  }

  /** A word is no longer 0. */
  #mark(index: number): void {
    const at = index >>> 5;
    const before = this.#summary[at]!;
    this.#summary[at] = before | (1 << (index & 31));
    if (before === 0) this.#top[at >>> 5]! |= 1 << (at & 31);
  }

  /** A word is 0 now. */
  #unmark(index: number): void {
    const at = index >>> 5;
    const rest = this.#summary[at]! & ~(1 << (index & 31));
    this.#summary[at] = rest;
    if (rest === 0) this.#top[at >>> 5]! &= ~(1 << (at & 31));
  }

  /** First word of the summary at `from` or behind it that is not 0; -1 if there is none. */
  #nextSummary(from: number): number {
    const top = this.#top;
    let at = from >>> 5;
    if (at >= top.length) return -1;
    let bits = top[at]! & (-1 << (from & 31));
    while (bits === 0) {
      at++;
      if (at >= top.length) return -1;
      bits = top[at]!;
    }
    return at * 32 + lowestBit(bits);
  }

  #grow(words: number): void {
    const larger = new Int32Array(Math.max(words, this.#words.length * 2));
    larger.set(this.#words);
    this.#words = larger;
    const summary = new Int32Array(summaryLength(larger.length));
    summary.set(this.#summary);
    this.#summary = summary;
    const top = new Int32Array(summaryLength(summary.length));
    top.set(this.#top);
    this.#top = top;
  }
}

function summaryLength(words: number): number {
  return Math.ceil(words / 32);
}

function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}

/** How many bits of a word are set. */
export function bitsOf(word: number): number {
  let bits = word - ((word >>> 1) & 0x55555555);
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** The `count` lowest of the set bits of a word, which has at least so many. */
export function lowestBits(word: number, count: number): number {
  if ((word | 0) === -1) return count >= 32 ? -1 : (1 << count) - 1;
  let rest = word;
  for (let left = count; left > 0; left--) rest &= rest - 1;
  return word & ~rest;
}
