import type { PageRangeList } from '../../core/index.ts';
import type { NumberedSegment } from '../page-numbers.ts';

/** Pages that are numbered at once where a process has a page for the first time. */
const CHUNK_PAGES = 512;

/**
 * Numbers the pages of all processes of a recording: those that were there at its beginning in the order of their
 * addresses, whole chunks at a time, later ones behind them. Memory that is only reserved takes no numbers.
 */
export class PageNumbering {
  /** Of each process, in the order of addresses. */
  readonly #segments = new Map<number, NumberedSegment[]>();
  #count = 0;

  /** One above the highest number. */
  get count(): number {
    return this.#count;
  }

  /** All segments, in the order of their numbers. */
  segments(): NumberedSegment[] {
    return [...this.#segments.values()].flat().sort((left, right) => left.firstNumber - right.firstNumber);
  }

  /** Calls `visit` with the numbers of the pages; those that have none get theirs. */
  eachRange(pid: number, pages: PageRangeList, visit: (start: number, end: number) => void): void {
    const segments = this.#of(pid);
    let index = 0;
    for (let range = 0; range < pages.rangeCount; range++) {
      const end = pages.endPage(range);
      for (let page = pages.startPage(range); page < end; ) {
        index = seek(segments, index, page);
        if (index === segments.length || segments[index]!.startPage > page) {
          index = this.#insert(pid, segments, index, page, end);
        }
        const segment = segments[index]!;
        const until = Math.min(end, segment.endPage);
        const offset = segment.firstNumber - segment.startPage;
        visit(page + offset, until + offset);
        page = until;
      }
    }
  }

  /** The number of a page, or -1 if it has none. */
  numberOf(pid: number, page: number): number {
    const segments = this.#of(pid);
    const segment = segments[seek(segments, 0, page)];
    return segment === undefined || segment.startPage > page
      ? -1
      : segment.firstNumber + page - segment.startPage;
  }

  /** Calls `visit` with the numbers of those pages of startPage..endPage-1 that have any. */
  eachNumbered(
    pid: number,
    startPage: number,
    endPage: number,
    visit: (start: number, end: number) => void,
  ): void {
    const segments = this.#of(pid);
    for (let index = seek(segments, 0, startPage); index < segments.length; index++) {
      const segment = segments[index]!;
      if (segment.startPage >= endPage) break;
      const offset = segment.firstNumber - segment.startPage;
      visit(Math.max(segment.startPage, startPage) + offset, Math.min(segment.endPage, endPage) + offset);
    }
  }

  #of(pid: number): NumberedSegment[] {
    const known = this.#segments.get(pid);
    if (known !== undefined) return known;
    const segments: NumberedSegment[] = [];
    this.#segments.set(pid, segments);
    return segments;
  }

  /** Numbers the chunks of page..end-1 as far as the next segment. @returns the index of the segment they are in */
  #insert(pid: number, segments: NumberedSegment[], index: number, page: number, end: number): number {
    const before = segments[index - 1];
    const limit = segments[index]?.startPage ?? Number.POSITIVE_INFINITY;
    const startPage = Math.max(before?.endPage ?? 0, Math.floor(page / CHUNK_PAGES) * CHUNK_PAGES);
    const endPage = Math.min(limit, Math.ceil(end / CHUNK_PAGES) * CHUNK_PAGES);
    const firstNumber = this.#count;
    this.#count += endPage - startPage;
    const follows =
      before !== undefined &&
      before.endPage === startPage &&
      before.firstNumber + before.endPage - before.startPage === firstNumber;
    if (follows) {
      segments[index - 1] = { ...before, endPage };
      return index - 1;
    }
    segments.splice(index, 0, { pid, startPage, endPage, firstNumber });
    return index;
  }
}

/** Index of the first segment that ends behind a page, near `from` if there is one. */
function seek(segments: readonly NumberedSegment[], from: number, page: number): number {
  let low = from;
  // Ranges come in the order of addresses: the segment is mostly the one before, or the next.
  for (let step = 0; step < 2; step++) {
    if (low >= segments.length || segments[low]!.endPage > page) return low;
    low++;
  }
  let high = segments.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (segments[middle]!.endPage <= page) low = middle + 1;
    else high = middle;
  }
  return low;
}
