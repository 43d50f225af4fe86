/**
 * Addresses are kept as page numbers throughout ckpt: address / 4096. A page number of any 64-bit address is
 * below 2^52 and so an exact JavaScript number, while the address itself may not be.
 */

/** Bytes of a page. ckpt supports targets with 4 KiB pages only (x86-64, most arm64). */
export const PAGE_SIZE = 4096;

/** A half-open range of pages: `startPage` belongs to it, `endPage` does not. */
export interface PageRange {
  readonly startPage: number;
  readonly endPage: number;
}

/** `0x7f12a000` for page number 0x7f12a. */
export function formatPageAddress(page: number): string {
  return `0x${page.toString(16)}000`;
}

/** The page number of an address in bytes, which must be page-aligned hexadecimal text, with or without `0x`. */
export function parsePageAddress(text: string): number | undefined {
  const match = /^(?:0x)?([0-9a-f]{1,16})$/i.exec(text);
  if (match === null) return undefined;
  const address = BigInt(`0x${match[1]}`);
  return address % BigInt(PAGE_SIZE) === 0n ? Number(address / BigInt(PAGE_SIZE)) : undefined;
}

/** Number of pages in a range. */
export function pageCountOf(range: PageRange): number {
  return range.endPage - range.startPage;
}

/**
 * An ascending, disjoint list of page ranges, kept in a flat typed array because a scan of a large target may
 * name hundreds of thousands of them. Adjacent ranges are joined as they are appended.
 */
export class PageRangeList {
  #bounds = new Float64Array(64);
  #length = 0;
  #pageCount = 0;

  /** Builds a list from ranges in ascending order. */
  static of(...ranges: readonly PageRange[]): PageRangeList {
    const list = new PageRangeList();
    for (const range of ranges) list.append(range.startPage, range.endPage);
    return list;
  }

  /** Number of ranges. */
  get rangeCount(): number {
    return this.#length / 2;
  }

  /** Number of pages in all ranges together. */
  get pageCount(): number {
    return this.#pageCount;
  }

  /** Start of range `index`. */
  startPage(index: number): number {
    return this.#bounds[index * 2]!;
  }

  /** End (exclusive) of range `index`. */
  endPage(index: number): number {
    return this.#bounds[index * 2 + 1]!;
  }

  /**
   * Adds a range behind all others.
   * @throws RangeError if it begins before the end of the last one: lists are built in address order.
   */
  append(startPage: number, endPage: number): void {
    if (endPage <= startPage) return;
    const last = this.#length === 0 ? -1 : this.#bounds[this.#length - 1]!;
    if (startPage < last) {
      throw new RangeError(`page range ${startPage}-${endPage} is not behind page ${last}`);
    }
    this.#pageCount += endPage - startPage;
    if (startPage === last) {
      this.#bounds[this.#length - 1] = endPage;
      return;
    }
    if (this.#length + 2 > this.#bounds.length) {
      const grown = new Float64Array(this.#bounds.length * 2);
      grown.set(this.#bounds);
      this.#bounds = grown;
    }
    this.#bounds[this.#length++] = startPage;
    this.#bounds[this.#length++] = endPage;
  }

  /** Whether `page` lies in one of the ranges (binary search). */
  has(page: number): boolean {
    const index = this.#firstEndingAfter(page);
    return index < this.rangeCount && this.startPage(index) <= page;
  }

  /** The parts of this list inside `startPage`..`endPage`. */
  within(startPage: number, endPage: number): PageRangeList {
    const cut = new PageRangeList();
    for (let index = this.#firstEndingAfter(startPage); index < this.rangeCount; index++) {
      const start = this.startPage(index);
      if (start >= endPage) break;
      cut.append(Math.max(start, startPage), Math.min(this.endPage(index), endPage));
    }
    return cut;
  }

  /** The union of two lists. */
  union(other: PageRangeList): PageRangeList {
    const merged = new PageRangeList();
    let left = 0;
    let right = 0;
    let start = -1;
    let end = -1;
    while (left < this.rangeCount || right < other.rangeCount) {
      const fromLeft =
        right >= other.rangeCount ||
        (left < this.rangeCount && this.startPage(left) <= other.startPage(right));
      const nextStart = fromLeft ? this.startPage(left) : other.startPage(right);
      const nextEnd = fromLeft ? this.endPage(left++) : other.endPage(right++);
      if (nextStart > end) {
        if (end > start) merged.append(start, end);
        start = nextStart;
        end = nextEnd;
      } else if (nextEnd > end) end = nextEnd;
    }
    if (end > start) merged.append(start, end);
    return merged;
  }

  /** The pages that are in both lists. */
  intersection(other: PageRangeList): PageRangeList {
    const common = new PageRangeList();
    for (let left = 0, right = 0; left < this.rangeCount && right < other.rangeCount; ) {
      const endsFirst = this.endPage(left) <= other.endPage(right);
      common.append(
        Math.max(this.startPage(left), other.startPage(right)),
        Math.min(this.endPage(left), other.endPage(right)),
      );
      if (endsFirst) left++;
      else right++;
    }
    return common;
  }

  /** The pages of this list that are not in the other. */
  difference(other: PageRangeList): PageRangeList {
    const rest = new PageRangeList();
    let right = 0;
    for (let left = 0; left < this.rangeCount; left++) {
      let page = this.startPage(left);
      const endPage = this.endPage(left);
      while (right < other.rangeCount && other.endPage(right) <= page) right++;
      for (let index = right; index < other.rangeCount && other.startPage(index) < endPage; index++) {
        rest.append(page, other.startPage(index));
        page = Math.max(page, other.endPage(index));
      }
      rest.append(page, endPage);
    }
    return rest;
  }

  *[Symbol.iterator](): Generator<PageRange> {
    for (let index = 0; index < this.rangeCount; index++) {
      yield { startPage: this.startPage(index), endPage: this.endPage(index) };
    }
  }

  #firstEndingAfter(page: number): number {
    let low = 0;
    let high = this.rangeCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.endPage(middle) > page) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
