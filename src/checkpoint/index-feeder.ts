import { PAGE_DIGEST_BYTES } from '../codec/index.ts';
import type { PageRangeList } from '../core/index.ts';
import type { IndexBuilder } from '../store/index.ts';
import { ENTRY_KIND, type PageEntries } from './page-entries.ts';
import type { PreviousPages } from './previous-pages.ts';

/**
 * Feeds a page index in address order from two sides: pages that were copied and encoded, and ranges of pages that are
 * as they were before.
 */
export class IndexFeeder {
  readonly #builder: IndexBuilder;
  readonly #unchanged: PageRangeList;
  /** Where unchanged pages are; undefined if all of them are in the parent. */
  readonly #previous: PreviousPages | undefined;
  #nextRange = 0;

  constructor(builder: IndexBuilder, unchanged: PageRangeList, previous: PreviousPages | undefined) {
    this.#builder = builder;
    this.#unchanged = unchanged;
    this.#previous = previous;
  }

  /** Adds entry `index` of `entries` for `page`, after all unchanged pages below it. */
  async add(page: number, entries: PageEntries, index: number): Promise<void> {
    if (this.#nextRange < this.#unchanged.rangeCount && this.#unchanged.startPage(this.#nextRange) < page) {
      await this.#addUnchangedBelow(page);
    }
    if (entries.kinds[index] === ENTRY_KIND.inherited) this.#builder.addInherited(page, page + 1);
    else addOwn(this.#builder, page, entries, index);
  }

  /** Adds the unchanged pages that are left. */
  async finish(): Promise<void> {
    await this.#addUnchangedBelow(Number.POSITIVE_INFINITY);
  }

  async #addUnchangedBelow(page: number): Promise<void> {
    while (this.#nextRange < this.#unchanged.rangeCount) {
      const startPage = this.#unchanged.startPage(this.#nextRange);
      if (startPage >= page) return;
      // Unchanged ranges and copied pages are disjoint, so a range that begins below the page ends below it.
      await this.#addUnchanged(startPage, this.#unchanged.endPage(this.#nextRange));
      this.#nextRange++;
    }
  }

  async #addUnchanged(startPage: number, endPage: number): Promise<void> {
    const previous = this.#previous;
    if (previous === undefined) {
      this.#builder.addInherited(startPage, endPage);
      return;
    }
    for (let page = startPage; page < endPage; page++) {
      if (!previous.covers(page)) await previous.enter(page);
      if (!previous.find(page))
        throw new RangeError(`page ${page} is called unchanged and has no previous version`);
      if (previous.fromParent) this.#builder.addInherited(page, page + 1);
      else addOwn(this.#builder, page, previous.segment!, previous.index);
    }
  }
}

type Columns = Pick<PageEntries, 'digests' | 'packs' | 'positions' | 'deltaPacks' | 'deltaPositions'>;

function addOwn(builder: IndexBuilder, page: number, from: Columns, index: number): void {
  const pack = from.packs[index]!;
  const digestAt = index * PAGE_DIGEST_BYTES;
  if (pack === 0) builder.addZero(page, page + 1);
  else if (from.deltaPacks[index] === 0) {
    builder.addWhole(page, from.digests, digestAt, pack, from.positions[index]!);
  } else {
    builder.addDelta(
      page,
      from.digests,
      digestAt,
      pack,
      from.positions[index]!,
      from.deltaPacks[index]!,
      from.deltaPositions[index]!,
    );
  }
}
