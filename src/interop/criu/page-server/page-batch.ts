import { MAX_INCOMING_PAGES } from '../../../checkpoint/index.ts';
import { PAGE_SIZE, PageRangeList } from '../../../core/index.ts';

/** Takes up to MAX_INCOMING_PAGES pages of one object, whose contents `fill` writes one behind the other. */
export type TakePages = (pages: PageRangeList, fill: (into: Uint8Array) => Promise<void>) => Promise<void>;

/**
 * Puts the pages of many short runs together: a piece of work for the codec costs the same for one page as for 256.
 * Long runs go past it.
 */
export class PageBatch {
  readonly #bytes = new Uint8Array(MAX_INCOMING_PAGES * PAGE_SIZE);
  #pages = new PageRangeList();

  /**
   * Reads the contents of pages, all of one object until `flush`, ascending.
   * @param read fills what it is given with the next bytes
   * @param take is given the pages that are complete; it must not throw
   */
  async read(
    startPage: number,
    endPage: number,
    read: (into: Uint8Array) => Promise<void>,
    take: TakePages,
  ): Promise<void> {
    for (let page = startPage; page < endPage; ) {
      const held = this.#pages.pageCount;
      const count = Math.min(endPage - page, MAX_INCOMING_PAGES - held);
      if (count === MAX_INCOMING_PAGES) {
        let filling: Promise<void> = Promise.resolve();
        await take(PageRangeList.of({ startPage: page, endPage: page + count }), (into) => {
          filling = read(into);
          return filling;
        });
        await filling;
      } else {
        await read(this.#bytes.subarray(held * PAGE_SIZE, (held + count) * PAGE_SIZE));
        this.#pages.append(page, page + count);
        if (this.#pages.pageCount === MAX_INCOMING_PAGES) await this.flush(take);
      }
      page += count;
    }
  }

  /** Gives out what is held. */
  async flush(take: TakePages): Promise<void> {
    const pages = this.#pages;
    if (pages.pageCount === 0) return;
    this.#pages = new PageRangeList();
    // Copied before it is awaited, so the next pages may come.
    await take(pages, async (into) => into.set(this.#bytes.subarray(0, pages.pageCount * PAGE_SIZE)));
  }
}
