/** A stretch of one process's addresses and the numbers of its pages. */
export interface NumberedSegment {
  readonly pid: number;
  readonly startPage: number;
  /** Exclusive. */
  readonly endPage: number;
  /** Number of the page at `startPage`; the others follow. */
  readonly firstNumber: number;
}

/** Pages numbered at once where a program writes to addresses that it did not have before. */
const CHUNK_PAGES = 512;

/** Numbers the pages of all processes of a simulation: known mappings in their order, later ones behind them. */
export class PageNumbers {
  readonly #segments = new Map<number, NumberedSegment[]>();
  #last: NumberedSegment = { pid: -1, startPage: 0, endPage: 0, firstNumber: 0 };
  #count = 0;

  /** One above the highest number. */
  get count(): number {
    return this.#count;
  }

  /** All stretches, in the order of their numbers. */
  segments(): NumberedSegment[] {
    return [...this.#segments.values()].flat().sort((left, right) => left.firstNumber - right.firstNumber);
  }

  /** Numbers a mapping. @returns the number of its first page. */
  addMapping(pid: number, startPage: number, pageCount: number): number {
    const firstNumber = this.#count;
    const segment = { pid, startPage, endPage: startPage + pageCount, firstNumber };
    const segments = this.#segments.get(pid);
    if (segments === undefined) this.#segments.set(pid, [segment]);
    else segments.push(segment);
    this.#count += pageCount;
    return firstNumber;
  }

  /** The number of a page; it gets one if it has none. */
  numberOf(pid: number, page: number): number {
    let segment = this.#last;
    if (segment.pid !== pid || page < segment.startPage || page >= segment.endPage) {
      segment = this.#find(pid, page) ?? this.#addChunk(pid, page);
      this.#last = segment;
    }
    return segment.firstNumber + page - segment.startPage;
  }

  #find(pid: number, page: number): NumberedSegment | undefined {
    return this.#segments.get(pid)?.find(({ startPage, endPage }) => page >= startPage && page < endPage);
  }

  #addChunk(pid: number, page: number): NumberedSegment {
    // The chunk must not reach into a neighbour: its pages have numbers already.
    let startPage = page - (page % CHUNK_PAGES);
    let endPage = startPage + CHUNK_PAGES;
    for (const other of this.#segments.get(pid) ?? []) {
      if (other.endPage <= page) startPage = Math.max(startPage, other.endPage);
      if (other.startPage > page) endPage = Math.min(endPage, other.startPage);
    }
    this.addMapping(pid, startPage, endPage - startPage);
    return this.#segments.get(pid)!.at(-1)!;
  }
}
