import { PAGE_SIZE, type PageRange } from '../core/index.ts';

/** Differing bytes next to each other: `offsetBytes` is where they begin in the page. */
export interface ByteRange {
  readonly page: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/** Ranges kept; memory stays bounded whatever two checkpoints differ in. */
const MAX_RANGES = 100_000;

const ZERO_PAGE = new Uint8Array(PAGE_SIZE);

/** Collects, page by page in ascending order, which bytes differ. */
export class ByteDifference {
  readonly #ranges: ByteRange[] = [];
  readonly #pages: number[] = [];
  readonly #bytesOfPage: number[] = [];

  /** Compares two versions of a page; undefined is a page of zeros. */
  addPage(page: number, older: Uint8Array | undefined, newer: Uint8Array | undefined): void {
    const before = older ?? ZERO_PAGE;
    const after = newer ?? ZERO_PAGE;
    let changedBytes = 0;
    for (let offset = 0; offset < PAGE_SIZE; offset++) {
      if (before[offset] === after[offset]) continue;
      const start = offset++;
      while (offset < PAGE_SIZE && before[offset] !== after[offset]) offset++;
      changedBytes += offset - start;
      if (this.#ranges.length < MAX_RANGES) {
        this.#ranges.push({ page, offsetBytes: start, lengthBytes: offset - start });
      }
    }
    this.#pages.push(page);
    this.#bytesOfPage.push(changedBytes);
  }

  /** What differs in a range of pages. */
  within(range: PageRange): { readonly changedBytes: number; readonly ranges: readonly ByteRange[] } {
    let changedBytes = 0;
    for (const [index, page] of this.#pages.entries()) {
      if (page >= range.startPage && page < range.endPage) changedBytes += this.#bytesOfPage[index]!;
    }
    return {
      changedBytes,
      ranges: this.#ranges.filter(({ page }) => page >= range.startPage && page < range.endPage),
    };
  }
}
