import { open } from 'node:fs/promises';
import { attempt, GatheredWriter } from '../../checkpoint/index.ts';
import { formatPageAddress, IntegrityError, PAGE_SIZE, type PageRangeList } from '../../core/index.ts';
import type { PageRun } from '../../store/index.ts';

/** Writes pagemaps and pages files, one after another, with one pair of buffers. Files are for their owner alone. */
export class MemoryWriter {
  readonly #writer = new GatheredWriter();

  /** Writes a new file from its pieces. @throws OutputError */
  async writePieces(path: string, pieces: Iterable<Uint8Array>): Promise<void> {
    await this.#whole(path, undefined, async () => {
      let offsetBytes = 0;
      for (const piece of pieces) {
        await this.#writer.put(offsetBytes, piece);
        offsetBytes += piece.length;
      }
    });
  }

  /**
   * Writes a pages file: the pages of `stored` one behind the other, those of zeros as holes.
   * @param pages those of `stored`, in address order.
   * @param where names the memory in errors.
   * @param onPages is told of pages that have been taken over; may throw to stop.
   * @returns how many of them are zeros
   * @throws IntegrityError if a page is missing, OutputError, and whatever `pages` throws.
   */
  async writePages(
    path: string,
    stored: PageRangeList,
    pages: AsyncIterable<PageRun>,
    where: string,
    onPages: (pageCount: number) => void,
  ): Promise<number> {
    return this.#whole(path, stored.pageCount * PAGE_SIZE, async () => {
      const cursor = new PageCursor(stored, where);
      let zeroPages = 0;
      for await (const { startPage, pageCount, bytes } of pages) {
        const offsetPages = cursor.take(startPage, pageCount);
        if (bytes === undefined) zeroPages += pageCount;
        else await this.#writer.put(offsetPages * PAGE_SIZE, bytes);
        onPages(pageCount);
      }
      cursor.expectEnd();
      return zeroPages;
    });
  }

  /** Lends a new file to `fill`, and sees that it is on disk. */
  async #whole<Result>(
    path: string,
    sizeBytes: number | undefined,
    fill: () => Promise<Result>,
  ): Promise<Result> {
    const file = await attempt(path, () => open(path, 'wx', 0o600));
    try {
      if (sizeBytes !== undefined) await attempt(path, () => file.truncate(sizeBytes));
      this.#writer.begin(file, path);
      try {
        const result = await fill();
        await this.#writer.finish();
        await attempt(path, () => file.sync());
        return result;
      } finally {
        await this.#writer.settle();
      }
    } finally {
      await file.close();
    }
  }
}

/** Where the pages of a list lie, one behind the other, and whether all of them come. */
export class PageCursor {
  readonly #stored: PageRangeList;
  readonly #where: string;
  #range = 0;
  #donePages = 0;
  /** Pages of the current range that have come. */
  #doneInRange = 0;

  constructor(stored: PageRangeList, where: string) {
    this.#stored = stored;
    this.#where = where;
  }

  /** The next pages have come. @returns how many lie before them */
  take(startPage: number, pageCount: number): number {
    const before = this.#donePages;
    for (let done = 0; done < pageCount; ) {
      const wanted = this.#nextPage();
      if (wanted !== startPage + done) throw this.#missing(wanted ?? startPage + done);
      const count = Math.min(pageCount - done, this.#stored.endPage(this.#range) - wanted);
      done += count;
      this.#doneInRange += count;
    }
    this.#donePages += pageCount;
    return before;
  }

  expectEnd(): void {
    const wanted = this.#nextPage();
    if (wanted !== undefined) throw this.#missing(wanted);
  }

  #nextPage(): number | undefined {
    while (this.#range < this.#stored.rangeCount) {
      const page = this.#stored.startPage(this.#range) + this.#doneInRange;
      if (page < this.#stored.endPage(this.#range)) return page;
      this.#range++;
      this.#doneInRange = 0;
    }
    return undefined;
  }

  #missing(page: number): IntegrityError {
    const address = formatPageAddress(page);
    return new IntegrityError(`${this.#where} lacks the page at ${address}, which its pagemap names`, {
      hint: "run 'ckpt verify' to list everything that is damaged",
      data: { address },
    });
  }
}
