import { PAGE_DIGEST_BYTES } from '../codec/index.ts';

/** Words of an entry: four of the digest, the pack, the position. */
const ENTRY_WORDS = 6;
const DIGEST_WORDS = PAGE_DIGEST_BYTES / 4;
const FIRST_CAPACITY = 2 ** 12;

/** Slots of the largest table: 48 MiB, room for 1.5 million pages (6 GiB of distinct memory). */
const LARGEST_CAPACITY = 2 ** 21;
const FULLEST = 0.75;

/**
 * Which page contents the store already has, and where: an open-addressing hash table from page digests to
 * locations, in one typed array. It grows to a fixed size; what is added beyond that is not remembered, so equal
 * pages are then stored again. That costs space, never correctness.
 */
export class KnownPages {
  #table = new Uint32Array(FIRST_CAPACITY * ENTRY_WORDS);
  #capacity = FIRST_CAPACITY;
  #count = 0;
  readonly #largestCapacity: number;
  /** Location that the last successful `find` found. */
  foundPack = 0;
  foundPosition = 0;

  /** @param largestCapacity slots of the table when fully grown, a power of two; 24 bytes each. */
  constructor(largestCapacity = LARGEST_CAPACITY) {
    this.#largestCapacity = largestCapacity;
  }

  /** Contents remembered. */
  get count(): number {
    return this.#count;
  }

  /** Makes room for `count` contents at once, since growing step by step copies everything each time. */
  reserve(count: number): void {
    while (this.#capacity < this.#largestCapacity && count >= this.#capacity * FULLEST) this.#capacity *= 2;
    this.#rehash();
  }

  /** Looks a digest up; if it is known, `foundPack` and `foundPosition` say where its page lies whole. */
  find(digests: Uint8Array, digestOffset: number): boolean {
    const at = this.#slotOf(digests, digestOffset);
    this.foundPack = this.#table[at + DIGEST_WORDS]!;
    this.foundPosition = this.#table[at + DIGEST_WORDS + 1]!;
    return this.foundPack !== 0;
  }

  /**
   * Remembers where a page lies whole. The first location of a content wins.
   * @returns false if the table is full and the content is new.
   */
  add(digests: Uint8Array, digestOffset: number, pack: number, position: number): boolean {
    let at = this.#slotOf(digests, digestOffset);
    if (this.#table[at + DIGEST_WORDS] !== 0) return true;
    if (this.#count >= this.#capacity * FULLEST) {
      if (this.#capacity >= this.#largestCapacity) return false;
      this.#capacity *= 2;
      this.#rehash();
      at = this.#slotOf(digests, digestOffset);
    }
    for (let word = 0; word < DIGEST_WORDS; word++) {
      this.#table[at + word] = wordAt(digests, digestOffset + word * 4);
    }
    this.#table[at + DIGEST_WORDS] = pack;
    this.#table[at + DIGEST_WORDS + 1] = position;
    this.#count++;
    return true;
  }

  /** Offset of the entry of a digest, or of the free one where it belongs. */
  #slotOf(digests: Uint8Array, digestOffset: number): number {
    const table = this.#table;
    const first = wordAt(digests, digestOffset);
    const second = wordAt(digests, digestOffset + 4);
    const third = wordAt(digests, digestOffset + 8);
    const fourth = wordAt(digests, digestOffset + 12);
    const mask = this.#capacity - 1;
    for (let slot = first & mask; ; slot = (slot + 1) & mask) {
      const at = slot * ENTRY_WORDS;
      if (table[at + DIGEST_WORDS] === 0) return at;
      if (
        table[at] === first &&
        table[at + 1] === second &&
        table[at + 2] === third &&
        table[at + 3] === fourth
      ) {
        return at;
      }
    }
  }

  /** Moves what is known into a table of the current capacity. */
  #rehash(): void {
    const old = this.#table;
    if (old.length === this.#capacity * ENTRY_WORDS) return;
    this.#table = new Uint32Array(this.#capacity * ENTRY_WORDS);
    const mask = this.#capacity - 1;
    for (let from = 0; from < old.length; from += ENTRY_WORDS) {
      if (old[from + DIGEST_WORDS] === 0) continue;
      let slot = old[from]! & mask;
      while (this.#table[slot * ENTRY_WORDS + DIGEST_WORDS] !== 0) slot = (slot + 1) & mask;
      this.#table.set(old.subarray(from, from + ENTRY_WORDS), slot * ENTRY_WORDS);
    }
  }
}

/** 32 bits in little-endian order; the typed array that holds them may be unaligned. */
function wordAt(bytes: Uint8Array, offset: number): number {
  return (
    (bytes[offset]! | (bytes[offset + 1]! << 8) | (bytes[offset + 2]! << 16) | (bytes[offset + 3]! << 24)) >>>
    0
  );
}
