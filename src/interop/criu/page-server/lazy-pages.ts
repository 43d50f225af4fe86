import { PAGE_SIZE, type PageRange, PageRangeList } from '../../../core/index.ts';
import { blockOfPosition, lowerBoundInSegment, SEGMENT_PAGES, windowStartOf } from '../../../image/index.ts';
import type { CheckpointReader, ProcessIndex } from '../../../store/index.ts';

/** Pages of zeros that are handed out together. */
const ZERO_PAGES = 64;

const ZEROS = new Uint8Array(ZERO_PAGES * PAGE_SIZE);

/** The pages of one checkpoint for those who ask for them in any order, and mostly for the ones behind soon after. */
export class LazyPages {
  readonly #reader: CheckpointReader;

  constructor(reader: CheckpointReader) {
    this.#reader = reader;
  }

  /**
   * How many pages from `startPage` on exist without a gap, `limit` at most; 0 if that page does not, or the process.
   * @throws IntegrityError
   */
  async countFrom(pid: number, startPage: number, limit: number): Promise<number> {
    const index = await this.#indexOf(pid);
    if (index === undefined) return 0;
    let count = 0;
    while (count < limit) {
      const page = startPage + count;
      const segment = (await index.window(windowStartOf(page)))?.segment;
      if (segment === undefined) break;
      const { offsets } = segment;
      const first = page - segment.startPage;
      const from = lowerBoundInSegment(segment, page);
      const most = Math.min(limit - count, segment.count - from);
      let found = 0;
      while (found < most && offsets[from + found] === first + found) found++;
      count += found;
      if (first + found < SEGMENT_PAGES) break;
    }
    return count;
  }

  /**
   * The contents of pages that exist, in order, at most 256 KiB at a time. Each piece is valid until the next is asked
   * for.
   * @throws IntegrityError naming pack, block, offset and page
   */
  async *read(pid: number, range: PageRange): AsyncGenerator<Uint8Array> {
    for await (const { pageCount, bytes } of this.#reader.pages(pid, PageRangeList.of(range))) {
      if (bytes !== undefined) yield bytes;
      else {
        for (let rest = pageCount; rest > 0; rest -= ZERO_PAGES) yield ZEROS.subarray(0, rest * PAGE_SIZE);
      }
    }
  }

  /** Begins to decode the blocks of pages that will probably be asked for. What fails is met when they are. */
  prefetch(pid: number, range: PageRange): void {
    this.#decodeAhead(pid, range).catch(() => undefined);
  }

  async #decodeAhead(pid: number, { startPage, endPage }: PageRange): Promise<void> {
    const index = await this.#indexOf(pid);
    if (index === undefined) return;
    let last = -1;
    for (let window = windowStartOf(startPage); window < endPage; window += SEGMENT_PAGES) {
      const segment = (await index.window(window))?.segment;
      if (segment === undefined) continue;
      const end = lowerBoundInSegment(segment, endPage);
      for (let entry = lowerBoundInSegment(segment, startPage); entry < end; entry++) {
        const block = blockOfPosition(segment.positions[entry]!);
        if (segment.packs[entry] === 0 || block === last) continue;
        last = block;
        this.#reader.prefetch(segment, entry, true);
      }
    }
  }

  async #indexOf(pid: number): Promise<ProcessIndex | undefined> {
    const { processes } = this.#reader.manifest;
    const isTask = processes.some((process) => process.pid === pid && process.sharedMemory === undefined);
    return isTask ? this.#reader.index(pid) : undefined;
  }
}
