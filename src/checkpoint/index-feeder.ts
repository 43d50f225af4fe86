import { PAGE_DIGEST_BYTES } from '../codec/index.ts';
import { PageRangeList } from '../core/index.ts';
import type { IndexBuilder, SharedRange } from '../store/index.ts';
import type { EntryLog } from './entry-log.ts';
import { ENTRY_KIND, type EntryColumns, type PageEntries } from './page-entries.ts';
import type { PreviousPages } from './previous-pages.ts';

/** Pages that were not copied, and how they get into the index. The ranges of all sources are disjoint. */
export interface PageSource {
  readonly pages: PageRangeList;
  /** Adds a range of them. */
  add(target: FeedTarget, startPage: number, endPage: number): Promise<void>;
}

/** Where the entries of a process go. */
export interface FeedTarget {
  readonly builder: IndexBuilder;
  /** Gets what was copied, and what another process gave, if other processes want to look it up. */
  readonly log: EntryLog | undefined;
}

/**
 * Feeds a page index in address order from several sides: pages that were copied and encoded, and ranges of pages that
 * are to be found elsewhere.
 */
export class IndexFeeder {
  readonly #target: FeedTarget;
  readonly #sources: readonly Feed[];
  /** First page that any source has left. */
  #nextPage: number;

  constructor(target: FeedTarget, sources: readonly PageSource[]) {
    this.#target = target;
    this.#sources = sources.map((source) => ({ source, nextRange: 0 }));
    this.#nextPage = startOf(lowestOf(this.#sources));
  }

  /** Adds entry `index` of `entries` for `page`, after all pages of the sources below it. */
  async add(page: number, entries: PageEntries, index: number): Promise<void> {
    if (this.#nextPage < page) await this.#addBelow(page);
    const { builder, log } = this.#target;
    if (entries.kinds[index] === ENTRY_KIND.inherited) builder.addInherited(page, page + 1);
    else addOwn(builder, page, entries, index);
    log?.add(page, entries, index);
  }

  /** Adds what is left. */
  async finish(): Promise<void> {
    await this.#addBelow(Number.POSITIVE_INFINITY);
    this.#target.log?.seal();
  }

  async #addBelow(page: number): Promise<void> {
    for (;;) {
      const lowest = lowestOf(this.#sources);
      this.#nextPage = startOf(lowest);
      if (lowest === undefined || this.#nextPage >= page) return;
      // Ranges and copied pages are disjoint, so a range that begins below the page ends below it.
      const { source, nextRange } = lowest;
      lowest.nextRange++;
      await source.add(this.#target, source.pages.startPage(nextRange), source.pages.endPage(nextRange));
    }
  }
}

interface Feed {
  readonly source: PageSource;
  nextRange: number;
}

/** The one with the first page left. */
function lowestOf(feeds: readonly Feed[]): Feed | undefined {
  let lowest = feeds[0];
  for (const feed of feeds) if (startOf(feed) < startOf(lowest)) lowest = feed;
  return lowest;
}

function startOf(one: Feed | undefined): number {
  if (one === undefined || one.nextRange >= one.source.pages.rangeCount) return Number.POSITIVE_INFINITY;
  return one.source.pages.startPage(one.nextRange);
}

/**
 * Pages that are as they were.
 * @param previous where they are; undefined if all of them are in the parent
 */
export function unchangedPages(pages: PageRangeList, previous: PreviousPages | undefined): PageSource {
  return {
    pages,
    async add({ builder }, startPage, endPage) {
      if (previous === undefined) {
        builder.addInherited(startPage, endPage);
        return;
      }
      for (let page = startPage; page < endPage; page++) {
        if (!previous.covers(page)) await previous.enter(page);
        if (!previous.find(page)) {
          throw new RangeError(`page ${page} is called unchanged and has no previous version`);
        }
        if (previous.fromParent) builder.addInherited(page, page + 1);
        else addOwn(builder, page, previous.segment!, previous.index);
      }
    },
  };
}

/**
 * Pages of a process that map a part of an object of shared memory.
 * @param range where they are in the process, and which part of the object it is
 * @param present pages that the object has; those that it lacks do not exist in the process either
 * @param places where these are
 * @param possible pages of the process that may come from objects
 */
export function objectPages(
  range: SharedRange,
  present: PageRangeList,
  places: PreviousPages,
  possible: PageRangeList,
): PageSource {
  const toProcess = range.startPage - range.objectPage;
  const objectEnd = range.objectPage + range.endPage - range.startPage;
  const mapped = new PageRangeList();
  for (const { startPage, endPage } of present.within(range.objectPage, objectEnd)) {
    mapped.append(startPage + toProcess, endPage + toProcess);
  }
  return {
    pages: mapped.intersection(possible),
    async add({ builder }, startPage, endPage) {
      for (let page = startPage; page < endPage; page++) {
        const ofObject = page - toProcess;
        if (!places.covers(ofObject)) await places.enter(ofObject);
        if (!places.find(ofObject)) throw new RangeError(`the object has no page ${ofObject}`);
        addOwn(builder, page, places.segment!, places.index);
      }
    },
  };
}

/** What became of pages that are another process's, too. */
export interface AlikeCounts {
  /** Not as they were before. */
  changedPages: number;
  /** The other process turned out not to have them, as they could not be read. */
  readonly missing: PageRangeList;
}

/**
 * Pages that are, at the same addresses, those of another process that was fed before.
 * @param donor where the other process's pages are
 * @param previous what the process itself had there before
 */
export function alikePages(
  pages: PageRangeList,
  donor: PreviousPages,
  previous: PreviousPages,
  counts: AlikeCounts,
): PageSource {
  return {
    pages,
    async add({ builder, log }, startPage, endPage) {
      for (let page = startPage; page < endPage; page++) {
        if (!donor.covers(page)) await donor.enter(page);
        if (!previous.covers(page)) await previous.enter(page);
        if (!donor.find(page)) {
          counts.missing.append(page, page + 1);
          continue;
        }
        const segment = donor.segment!;
        const isSame = previous.find(page) && previous.hasDigest(segment.digests, donor.index);
        if (!isSame) counts.changedPages++;
        if (isSame && previous.fromParent) builder.addInherited(page, page + 1);
        else addOwn(builder, page, segment, donor.index);
        log?.add(page, segment, donor.index);
      }
    },
  };
}

function addOwn(builder: IndexBuilder, page: number, from: EntryColumns, index: number): void {
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
