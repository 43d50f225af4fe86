import { PAGE_SIZE } from '../core/index.ts';
import { BLOCK_HEADER_BYTES, BLOCK_PAGES } from '../image/index.ts';
import type { DecodedBlock } from './block-source.ts';

/** A decoded block that stays as it is until it is released. */
export interface BlockLease {
  readonly block: DecodedBlock;
  /** To be called once; the block's bytes may be another block's afterwards. */
  release(): void;
}

/** Room for the blocks that ckpt writes, as stored or decoded. */
const SLOT_BYTES = BLOCK_HEADER_BYTES + BLOCK_PAGES * PAGE_SIZE;

/** Decoded blocks that are kept for the next page; adjacent pages mostly share a block. */
const CACHE_BYTES = 16 * 1024 * 1024;

interface Cached {
  readonly block: Promise<DecodedBlock>;
  readonly slot: Uint8Array;
  readonly bytes: number;
  /** Leases, and the decoding itself while it is under way. */
  users: number;
  forgotten: boolean;
}

/** How a block gets into a slot. */
export interface SlotFilling {
  readonly block: Promise<DecodedBlock>;
  /** Of its content. */
  readonly rawBytes: number;
}

/**
 * Keeps the blocks that were used last. They lie in shared memory which is lent to whoever reads them and used again
 * afterwards: an array for every block is garbage that piles up faster than it is collected, and would be copied on
 * its way to a worker.
 */
export class BlockCache {
  readonly #entries = new Map<number, Cached>();
  readonly #freeSlots: Uint8Array[] = [];
  #bytes = 0;

  /**
   * Lends a block.
   * @param fill reads and decodes it if it is not there; it may use the slot for both, until the block is released.
   * @throws whatever `fill` or its decoding throws.
   */
  async lease(key: number, fill: (slot: Uint8Array) => SlotFilling): Promise<BlockLease> {
    const entry = this.#entries.get(key) ?? this.#fill(fill);
    if (!entry.forgotten) {
      this.#entries.delete(key);
      this.#entries.set(key, entry);
    }
    entry.users++;
    try {
      const block = await entry.block;
      return { block, release: () => this.#leave(entry) };
    } catch (cause) {
      if (this.#entries.get(key) === entry) this.#forget(key, entry);
      this.#leave(entry);
      throw cause;
    }
  }

  /** Forgets all blocks. Those that are lent stay until they are released. */
  clear(): void {
    for (const [key, entry] of this.#entries) this.#forget(key, entry);
    this.#freeSlots.length = 0;
  }

  #fill(fill: (slot: Uint8Array) => SlotFilling): Cached {
    for (const [key, oldest] of this.#entries) {
      if (this.#bytes + SLOT_BYTES <= CACHE_BYTES) break;
      this.#forget(key, oldest);
    }
    const slot = this.#freeSlots.pop() ?? new Uint8Array(new SharedArrayBuffer(SLOT_BYTES));
    let filling: SlotFilling;
    try {
      filling = fill(slot);
    } catch (cause) {
      this.#freeSlots.push(slot);
      throw cause;
    }
    const { block, rawBytes } = filling;
    const bytes = Math.max(SLOT_BYTES, rawBytes);
    const entry: Cached = { block, slot, bytes, users: 1, forgotten: false };
    this.#bytes += bytes;
    const done = () => this.#leave(entry);
    block.then(done, done);
    return entry;
  }

  #forget(key: number, entry: Cached): void {
    this.#entries.delete(key);
    this.#bytes -= entry.bytes;
    entry.forgotten = true;
    this.#recycle(entry);
  }

  #leave(entry: Cached): void {
    entry.users--;
    this.#recycle(entry);
  }

  #recycle(entry: Cached): void {
    if (entry.forgotten && entry.users === 0) this.#freeSlots.push(entry.slot);
  }
}
