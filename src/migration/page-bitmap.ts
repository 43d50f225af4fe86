/** A growing set of page numbers, one bit a page, that knows how many it holds. */
export class PageBitmap {
  #words: Uint32Array;
  #count = 0;

  constructor(pageCount: number) {
    this.#words = new Uint32Array(Math.max(1, Math.ceil(pageCount / 32)));
  }

  /** How many pages are in the set. */
  get count(): number {
    return this.#count;
  }

  has(page: number): boolean {
    return (((this.#words[page >>> 5] ?? 0) >>> (page & 31)) & 1) === 1;
  }

  add(page: number): void {
    const index = page >>> 5;
    if (index >= this.#words.length) this.#grow(index + 1);
    const bit = 1 << (page & 31);
    if ((this.#words[index]! & bit) !== 0) return;
    this.#words[index]! |= bit;
    this.#count++;
  }

  remove(page: number): void {
    const index = page >>> 5;
    const bit = 1 << (page & 31);
    if (((this.#words[index] ?? 0) & bit) === 0) return;
    this.#words[index]! &= ~bit;
    this.#count--;
  }

  addRange(start: number, end: number): void {
    for (let page = start; page < end; page++) {
      if ((page & 31) === 0 && page + 32 <= end) {
        const index = page >>> 5;
        if (index >= this.#words.length) this.#grow(index + 1);
        this.#count += 32 - bitsOf(this.#words[index]!);
        this.#words[index] = 0xffffffff;
        page += 31;
      } else this.add(page);
    }
  }

  clear(): void {
    this.#words.fill(0);
    this.#count = 0;
  }

  /** First page of the set at `from` or behind it; -1 if there is none. */
  next(from: number): number {
    const words = this.#words;
    let index = from >>> 5;
    if (index >= words.length) return -1;
    let word = words[index]! & (-1 << (from & 31));
    while (word === 0) {
      index++;
      if (index >= words.length) return -1;
      word = words[index]!;
    }
    return index * 32 + (31 - Math.clz32(word & -word));
  }

  /** Moves every page of `other` into this set. @returns how many were not in it before. */
  absorb(other: PageBitmap): number {
    if (other.#count === 0) return 0;
    if (other.#words.length > this.#words.length) this.#grow(other.#words.length);
    const words = this.#words;
    const source = other.#words;
    let added = 0;
    for (let index = 0; index < source.length; index++) {
      const word = source[index]!;
      if (word === 0) continue;
      const fresh = word & ~words[index]!;
      if (fresh !== 0) {
        added += bitsOf(fresh);
        words[index]! |= fresh;
      }
      source[index] = 0;
    }
    this.#count += added;
    other.#count = 0;
    return added;
  }

  #grow(words: number): void {
    const larger = new Uint32Array(Math.max(words, this.#words.length * 2));
    larger.set(this.#words);
    this.#words = larger;
  }
}

/** How many bits of a 32-bit word are set. */
export function bitsOf(word: number): number {
  let bits = word - ((word >>> 1) & 0x55555555);
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
