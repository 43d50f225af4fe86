import { findInSegment, type Segment, sameDigest, windowStartOf } from '../image/index.ts';
import type { ProcessIndex } from '../store/index.ts';
import type { EntryLog } from './entry-log.ts';

/**
 * The version of each page of a process that a new dump is taken relative to: what was logged in this dump, as when the
 * process was copied while it ran, else what the parent checkpoint has. Asked in address order, it decodes each window
 * once.
 *
 *     log (this dump, running)     |##......#.|
 *     parent checkpoint            |###########|
 *     previous version             |LLPPPPPPLPP|
 */
export class PreviousPages {
  readonly #logs: readonly EntryLog[];
  readonly #parent: ProcessIndex | undefined;
  #windowStart = -1;
  #logged: readonly Segment[] = [];
  #stored: Segment | undefined;

  /** Segment and index of the entry that `find` found. */
  segment: Segment | undefined;
  index = -1;
  /** Whether the entry found is the parent's, so that it can be inherited and its bytes can be read back. */
  fromParent = false;

  /** @param logs the latest first */
  constructor(logs: readonly EntryLog[], parent: ProcessIndex | undefined) {
    this.#logs = logs;
    this.#parent = parent;
  }

  /** Whether `page` lies in the window that `enter` loaded. */
  covers(page: number): boolean {
    return windowStartOf(page) === this.#windowStart;
  }

  /** Loads the window of `page`. */
  async enter(page: number): Promise<void> {
    this.#windowStart = windowStartOf(page);
    this.#logged = this.#logs
      .map((log) => log.window(this.#windowStart))
      .filter((segment) => segment !== undefined);
    this.#stored = (await this.#parent?.window(this.#windowStart))?.segment;
  }

  /** Finds the previous version of a page of the loaded window; false if there is none. */
  find(page: number): boolean {
    for (const segment of this.#logged) {
      if (!this.#findIn(segment, page)) continue;
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
