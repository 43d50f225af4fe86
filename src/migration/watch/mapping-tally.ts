import type { PageRangeList } from '../../core/index.ts';
import type { MapsEntry } from '../../procfs/index.ts';
import { PageSet } from '../page-set.ts';
import type { PageSample } from '../trace/format.ts';
import { ContentTally, type WatchedContent } from './content-tally.ts';

/** One mapping of a process, and what was written there. */
export interface WatchedMapping {
  readonly pid: number;
  readonly mapping: MapsEntry;
  /** Written in the last interval. */
  readonly dirtyPages: number;
  /** Written in all intervals, pages that were written in several of them counted in each. */
  readonly totalDirtyPages: number;
  /** Different pages written since it is watched. */
  readonly distinctPages: number;
  /** Of all its pages that were measured so far. */
  readonly content: WatchedContent;
}

/** Counts what is written in one mapping of a process, also while it grows or shrinks at its end. */
export class MappingTally {
  mapping: MapsEntry;
  readonly #pid: number;
  readonly #distinct = new PageSet();
  readonly #content = new ContentTally();
  #dirtyPages = 0;
  #totalDirtyPages = 0;

  constructor(pid: number, mapping: MapsEntry) {
    this.#pid = pid;
    this.mapping = mapping;
  }

  /** Takes what was written in an interval, here and elsewhere, and what was measured. */
  take(written: PageRangeList, samples: readonly PageSample[]): void {
    const { startPage, endPage } = this.mapping;
    const own = written.within(startPage, endPage);
    this.#dirtyPages = own.pageCount;
    this.#totalDirtyPages += own.pageCount;
    if (own.pageCount > 0) this.#distinct.addAll(0, own);
    for (const sample of samples) {
      if (sample.page >= startPage && sample.page < endPage) this.#content.take(sample);
    }
  }

  /** Nothing was written in an interval. */
  rest(): void {
    this.#dirtyPages = 0;
  }

  get dirtyPages(): number {
    return this.#dirtyPages;
  }

  get totalDirtyPages(): number {
    return this.#totalDirtyPages;
  }

  summary(): WatchedMapping {
    return {
      pid: this.#pid,
      mapping: this.mapping,
      dirtyPages: this.#dirtyPages,
      totalDirtyPages: this.#totalDirtyPages,
      distinctPages: this.#distinct.count,
      content: this.#content.summary(),
    };
  }
}
