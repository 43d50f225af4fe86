import { PAGE_DIGEST_BYTES, ZERO_PAGE_DIGEST } from '../codec/index.ts';
import { PageRangeList } from '../core/index.ts';
import type { ProcessIndex } from '../store/index.ts';
import { EntryLog } from './entry-log.ts';
import { createPageEntries, type EntryColumns, type PageEntries } from './page-entries.ts';
import { PreviousPages } from './previous-pages.ts';
import type { ScratchFile } from './scratch-file.ts';

const FIRST_CAPACITY = 256;

/** Entry 0: a page of zeros. */
const ZERO_ENTRY = zeroEntry();

/**
 * Where the pages of one process went that came in from outside. They come in address order but for a few, which
 * somebody wanted sooner; the last version of a page counts.
 */
export class ArrivedPages {
  readonly #scratch: ScratchFile;
  readonly #log: EntryLog;
  readonly #inOrder = new PageRangeList();
  readonly #outOfOrder = new Map<number, number>();
  #columns = createPageEntries(FIRST_CAPACITY);
  #nextPage = 0;

  constructor(scratch: ScratchFile) {
    this.#scratch = scratch;
    this.#log = new EntryLog(scratch);
  }

  /** Adds entry `index` of `entries` for `page`. */
  add(page: number, entries: EntryColumns, index: number): void {
    if (page < this.#nextPage) {
      this.#keepApart(page, entries, index);
      return;
    }
    this.#log.add(page, entries, index);
    this.#inOrder.append(page, page + 1);
    this.#nextPage = page + 1;
  }

  /** Adds pages of zeros. */
  addZeros(startPage: number, endPage: number): void {
    for (let page = startPage; page < endPage; page++) this.add(page, ZERO_ENTRY, 0);
  }

  /** All pages so far. */
  get pages(): PageRangeList {
    const late = new PageRangeList();
    for (const page of Float64Array.from(this.#outOfOrder.keys()).sort()) late.append(page, page + 1);
    return this.#inOrder.union(late);
  }

  /**
   * Ends the adding.
   * @param before the process's index in the checkpoint before, for pages that are looked up and have not come
   * @returns all pages, and where each of them is
   */
  finish(before?: ProcessIndex): { readonly pages: PageRangeList; readonly places: PreviousPages } {
    this.#log.seal();
    const late = new EntryLog(this.#scratch);
    for (const page of Float64Array.from(this.#outOfOrder.keys()).sort()) {
      late.add(page, this.#columns, this.#outOfOrder.get(page)!);
    }
    late.seal();
    return { pages: this.pages, places: new PreviousPages([late, this.#log], before) };
  }

  #keepApart(page: number, entries: EntryColumns, index: number): void {
    const at = this.#outOfOrder.get(page) ?? this.#outOfOrder.size;
    this.#outOfOrder.set(page, at);
    if (at >= this.#columns.packs.length) this.#columns = grown(this.#columns);
    const { digests, packs, positions, deltaPacks, deltaPositions } = this.#columns;
    const from = index * PAGE_DIGEST_BYTES;
    digests.set(entries.digests.subarray(from, from + PAGE_DIGEST_BYTES), at * PAGE_DIGEST_BYTES);
    packs[at] = entries.packs[index]!;
    positions[at] = entries.positions[index]!;
    deltaPacks[at] = entries.deltaPacks[index]!;
    deltaPositions[at] = entries.deltaPositions[index]!;
  }
}

function grown(columns: PageEntries): PageEntries {
  const larger = createPageEntries(columns.packs.length * 2);
  larger.digests.set(columns.digests);
  larger.packs.set(columns.packs);
  larger.positions.set(columns.positions);
  larger.deltaPacks.set(columns.deltaPacks);
  larger.deltaPositions.set(columns.deltaPositions);
  return larger;
}

function zeroEntry(): EntryColumns {
  const entries = createPageEntries(1);
  entries.digests.set(ZERO_PAGE_DIGEST);
  return entries;
}
