import { PAGE_DIGEST_BYTES } from '../codec/index.ts';
import { blockOfPosition, MAX_PACK_BLOCKS, slotOfPosition } from '../image/index.ts';

/** Digests kept at once: 32 MiB of them, for 8 GiB of stored pages. */
const CAPACITY = 2 ** 21;

/** What is known of a stored page. */
export type StoredPageCheck = 'equal' | 'different' | 'unknown';

/** Digests of the pages that blocks really hold, to be compared with what indexes say. */
export class StoredDigests {
  readonly #blocks = new Map<number, Uint8Array>();
  #count = 0;

  /** Whether no more should be added before what is here is compared and cleared. */
  get isFull(): boolean {
    return this.#count >= CAPACITY;
  }

  /** Adds the digests of all pages of a block. */
  addBlock(pack: number, block: number, digests: Uint8Array): void {
    this.#blocks.set(pack * MAX_PACK_BLOCKS + block, digests);
    this.#count += digests.length / PAGE_DIGEST_BYTES;
  }

  /** Compares the page at a location with digest number `entry` of `digests`. */
  check(pack: number, position: number, digests: Uint8Array, entry: number): StoredPageCheck {
    const found = this.#blocks.get(pack * MAX_PACK_BLOCKS + blockOfPosition(position));
    if (found === undefined) return 'unknown';
    const at = slotOfPosition(position) * PAGE_DIGEST_BYTES;
    if (at >= found.length) return 'different';
    for (let byte = 0; byte < PAGE_DIGEST_BYTES; byte++) {
      if (found[at + byte] !== digests[entry * PAGE_DIGEST_BYTES + byte]) return 'different';
    }
    return 'equal';
  }

  clear(): void {
    this.#blocks.clear();
    this.#count = 0;
  }
}
