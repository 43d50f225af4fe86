import { PageBitmap } from '../page-bitmap.ts';

/** Page numbers are rotated by so many bits, so that neighbours, hot or cold together, are sent far apart. */
const ROTATED_BITS = 10;
const STRIDE = 2 ** ROTATED_BITS;
/** Words of a stride: the pages of one of them have the same place in all but the last five of the rotated bits. */
const STRIDE_WORDS = STRIDE / 32;

/**
 * A set of pages in the order in which Xen sent them in 2005: all whose numbers are 0 modulo 1024, then all that are 1
 * modulo 1024, and so on. Its words hold 32 pages that follow one another in this order.
 */
export class RotatedPages {
  readonly #pages: PageBitmap;
  /** Pages with the same remainder. */
  readonly #column: number;

  constructor(pageCount: number) {
    const bits = Math.max(ROTATED_BITS + 1, Math.ceil(Math.log2(Math.max(2, pageCount))));
    this.#column = 2 ** (bits - ROTATED_BITS);
    this.#pages = new PageBitmap(2 ** bits);
  }

  /** Adds the pages 32 x `word` to 32 x `word` + 31 whose bits are set in `pages`. */
  add(word: number, pages: number): void {
    const row = Math.floor(word / STRIDE_WORDS);
    const first = (word % STRIDE_WORDS) * 32;
    for (let rest = pages; rest !== 0; rest &= rest - 1) {
      const remainder = first + 31 - Math.clz32(rest & -rest);
      this.#pages.add(remainder * this.#column + row);
    }
  }

  /** 32 places in the order, a bit each. */
  word(index: number): number {
    return this.#pages.word(index);
  }

  /** First word at `index` or behind it that has pages of the set; -1 if there is none. */
  nextWord(index: number): number {
    return this.#pages.nextWord(index);
  }
}
