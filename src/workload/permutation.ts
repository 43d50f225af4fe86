import { mix32 } from '../core/index.ts';

/**
 * A fixed scrambled order of the numbers 0..count-1 that needs no table: four rounds of invertible mixing on the next
 * power of two, repeated until the result is inside (cycle walking). While that power stays the same, a larger count
 * leaves most places where they were, so the hot pages of a growing region stay hot.
 */
export class Permutation {
  readonly #count: number;
  readonly #mask: number;
  readonly #shift: number;
  readonly #offset: number;

  /** `count` is at most 2^32. */
  constructor(count: number, seed: number) {
    const bits = Math.max(1, Math.ceil(Math.log2(count)));
    this.#count = count;
    this.#mask = 2 ** bits - 1;
    this.#shift = (bits + 1) >>> 1;
    this.#offset = mix32(seed);
  }

  /** The place of `index`. */
  at(index: number): number {
    let place = index;
    do {
      place = (place + this.#offset) & this.#mask;
      place = Math.imul(place ^ ((place & this.#mask) >>> this.#shift), 0x9e3779b1) & this.#mask;
      place = Math.imul(place ^ ((place & this.#mask) >>> this.#shift), 0x85ebca6b) & this.#mask;
      place = ((place ^ (place >>> this.#shift)) & this.#mask) >>> 0;
    } while (place >= this.#count);
    return place;
  }
}
