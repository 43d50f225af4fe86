import { PAGE_SIZE } from '../../core/index.ts';

/** An entry that was used within so many syncs is not given up for another page (CACHED_PAGE_LIFETIME). */
const LIFETIME_SYNCS = 2;

/**
 * QEMU's cache of pages as they were last sent (migration/page_cache.c): direct-mapped by page number. Instead of
 * contents it remembers how many stores the page had seen.
 */
export class XbzrleCache {
  readonly #pages: Float64Array;
  readonly #ages: Float64Array;
  readonly #stores: Float64Array;

  /** As many slots as fit, rounded down to a power of two. */
  constructor(bytes: number) {
    const slots = 2 ** Math.floor(Math.log2(Math.max(1, bytes / PAGE_SIZE)));
    this.#pages = new Float64Array(slots).fill(-1);
    this.#ages = new Float64Array(slots);
    this.#stores = new Float64Array(slots);
  }

  /** Stores that the cached copy has seen, or -1 if the page is not cached. A hit makes the entry young. */
  lookUp(page: number, sync: number): number {
    const slot = page % this.#pages.length;
    if (this.#pages[slot] !== page) return -1;
    this.#ages[slot] = sync;
    return this.#stores[slot]!;
  }

  /** Keeps the page, unless its slot holds another one that is too young to be given up. */
  insert(page: number, stores: number, sync: number): void {
    const slot = page % this.#pages.length;
    const held = this.#pages[slot]!;
    if (held >= 0 && held !== page && this.#ages[slot]! + LIFETIME_SYNCS > sync) return;
    this.#pages[slot] = page;
    this.#ages[slot] = sync;
    this.#stores[slot] = stores;
  }

  /** The cached copy is now that of the page as sent. */
  update(page: number, stores: number): void {
    const slot = page % this.#pages.length;
    if (this.#pages[slot] === page) this.#stores[slot] = stores;
  }
}
