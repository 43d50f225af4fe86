import { findInSegment, type Segment, sameDigest, windowStartOf } from '../image/index.ts';
import type { ProcessIndex } from '../store/index.ts';
import type { EntryLog } from './entry-log.ts';

/**
 * The version of each page of a process that a new dump is taken relative to: what was copied while the process ran,
 * else what the parent checkpoint has. Asked in address order, it decodes each window once.
 *
 *     log (this dump, running)     |##......#.|
 *     parent checkpoint            |###########|
 *     previous version             |LLPPPPPPLPP|
 */
export class PreviousPages {
  readonly #log: EntryLog | undefined;
  readonly #parent: ProcessIndex | undefined;
  #windowStart = -1;
  #logged: Segment | undefined;
  #stored: Segment | undefined;

  /** Segment and index of the entry that `find` found. */
  segment: Segment | undefined;
  index = -1;
  /** Whether the entry found is the parent's, so that it can be inherited and its bytes can be read back. */
  fromParent = false;

  constructor(log: EntryLog | undefined, parent: ProcessIndex | undefined) {
    this.#log = log;
    this.#parent = parent;
  }

  /** Whether `page` lies in the window that `enter` loaded. */
  covers(page: number): boolean {
    return windowStartOf(page) === this.#windowStart;
  }

  /** Loads the window of `page`. */
  async enter(page: number): Promise<void> {
    this.#windowStart = windowStartOf(page);
    this.#logged = this.#log?.window(this.#windowStart);
    this.#stored = (await this.#parent?.window(this.#windowStart))?.segment;
  }

  /** Finds the previous version of a page of the loaded window; false if there is none. */
  find(page: number): boolean {
    if (this.#logged !== undefined && this.#findIn(this.#logged, page)) {
      this.fromParent = false;
      return true;
    }
    this.fromParent = true;
    if (this.#stored !== undefined) return this.#findIn(this.#stored, page);
    // The entry found before is of another window, and must not be taken for an older version of this page.
    this.segment = undefined;
    this.index = -1;
    return false;
  }

  /** Whether the version found has digest number `index` of `digests`. */
  hasDigest(digests: Uint8Array, index: number): boolean {
    return this.segment !== undefined && sameDigest(digests, index, this.segment.digests, this.index);
  }

  #findIn(segment: Segment, page: number): boolean {
    // Pages are mostly asked for one after another, so the next entry is tried before the search.
    const next = segment === this.segment ? this.index + 1 : 0;
    const isNext = next < segment.count && segment.startPage + segment.offsets[next]! === page;
    this.segment = segment;
    this.index = isNext ? next : findInSegment(segment, page);
    return this.index >= 0;
  }
}
