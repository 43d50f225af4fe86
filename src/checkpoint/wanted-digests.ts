import { PAGE_DIGEST_BYTES } from '../codec/index.ts';

/** Bits of the filter: 128 KiB, and few of the digests that nobody asked for pass while thousands are wanted. */
const FILTER_BITS = 2 ** 20;

/**
 * Which page digests a dump is about to look for. A delta of few pages then learns only those of its parent's pages that
 * may be equal to one of them, instead of filing all: a filter may let others pass, which costs a little and harms nothing.
 */
export class WantedDigests {
  readonly #filter = new Uint32Array(FILTER_BITS / 32);

  /** Wants the first `count` digests. */
  add(digests: Uint8Array, count: number): void {
    for (let index = 0; index < count; index++) {
      const bit = bitOf(digests, index);
      this.#filter[bit >>> 5]! |= 1 << (bit & 31);
    }
  }

  /** Whether digest number `index` may be wanted. */
  mayHave(digests: Uint8Array, index: number): boolean {
    const bit = bitOf(digests, index);
    return (this.#filter[bit >>> 5]! & (1 << (bit & 31))) !== 0;
  }
}

/** Digests are uniform, so any of their bits serve. */
function bitOf(digests: Uint8Array, index: number): number {
  const at = index * PAGE_DIGEST_BYTES;
  return digests[at]! | (digests[at + 1]! << 8) | ((digests[at + 2]! & 15) << 16);
}
