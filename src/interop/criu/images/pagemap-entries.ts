import { PAGE_FLAGS } from '../page-server/protocol.ts';
import type { PagemapEntries } from './types.ts';

const FIRST_CAPACITY = 64;

/** Entries as they are read, in columns that grow. */
export class PagemapEntriesBuilder {
  #startPages = new Float64Array(FIRST_CAPACITY);
  #pageCounts = new Float64Array(FIRST_CAPACITY);
  #dataPages = new Float64Array(FIRST_CAPACITY);
  #flags = new Uint8Array(FIRST_CAPACITY);
  #count = 0;
  #presentPages = 0;

  /** Entries so far, those that were joined counted once. */
  get count(): number {
    return this.#count;
  }

  /** Pages so far whose content is in the pages file. */
  get presentPages(): number {
    return this.#presentPages;
  }

  /** First page behind the entries so far. */
  get endPage(): number {
    const last = this.#count - 1;
    return last < 0 ? 0 : this.#startPages[last]! + this.#pageCounts[last]!;
  }

  /** Adds pages that lie behind all others. */
  add(startPage: number, pageCount: number, flags: number): void {
    const last = this.#count - 1;
    if (last >= 0 && startPage === this.endPage && flags === this.#flags[last]) {
      this.#pageCounts[last]! += pageCount;
    } else {
      if (this.#count === this.#flags.length) this.#grow();
      this.#startPages[this.#count] = startPage;
      this.#pageCounts[this.#count] = pageCount;
      this.#dataPages[this.#count] = this.#presentPages;
      this.#flags[this.#count++] = flags;
    }
    if ((flags & PAGE_FLAGS.present) !== 0) this.#presentPages += pageCount;
  }

  finish(): PagemapEntries {
    return {
      startPages: this.#startPages.slice(0, this.#count),
      pageCounts: this.#pageCounts.slice(0, this.#count),
      dataPages: this.#dataPages.slice(0, this.#count),
      flags: this.#flags.slice(0, this.#count),
    };
  }

  #grow(): void {
    const capacity = this.#count * 2;
    this.#startPages = grown(new Float64Array(capacity), this.#startPages);
    this.#pageCounts = grown(new Float64Array(capacity), this.#pageCounts);
    this.#dataPages = grown(new Float64Array(capacity), this.#dataPages);
    this.#flags = grown(new Uint8Array(capacity), this.#flags);
  }
}

function grown<Column extends Float64Array | Uint8Array>(larger: Column, column: Column): Column {
  larger.set(column);
  return larger;
}
