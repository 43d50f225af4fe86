import type { PageRangeList } from '../core/index.ts';
import { PageSet } from './page-set.ts';

/** How many distinct pages were written in windows of one length. */
export interface WorkingSetWindow {
  /** Length of the windows: a power of two. */
  readonly intervals: number;
  /** Mean of their lengths. */
  readonly microseconds: number;
  /** How many windows were seen whole. They follow one another and do not overlap. */
  readonly windows: number;
  /** Distinct pages of a window. */
  readonly meanPages: number;
  readonly leastPages: number;
  readonly mostPages: number;
}

/** The pages of one process that were written in an interval. */
export type WrittenPages = readonly [pid: number, written: PageRangeList];

/**
 * The writable working set as Clark et al. (2005) measure it: the distinct pages written within windows of 1, 2, 4, ...
 * intervals. Two windows of one length that follow one another are merged into one of twice the length, so that an
 * interval costs what its pages cost, however long it all takes. In memory there is at most one set of pages for each
 * length, one bit a page.
 */
export class WorkingSetWindows {
  readonly #levels: Level[] = [];

  /** Takes the next interval; a process that wrote nothing may be left out, and each may be there only once. */
  add(microseconds: number, written: Iterable<WrittenPages>): void {
    const pages = new PageSet();
    for (const [pid, list] of written) pages.addAll(pid, list);
    let window: Window = { microseconds, pages };
    for (let index = 0; ; index++) {
      const level = this.#levels[index] ?? new Level(2 ** index);
      this.#levels[index] = level;
      level.count(window);
      const earlier = level.pending;
      if (earlier === undefined) {
        level.pending = window;
        return;
      }
      level.pending = undefined;
      earlier.pages.absorb(window.pages);
      window = { microseconds: earlier.microseconds + window.microseconds, pages: earlier.pages };
    }
  }

  /** What is known so far, shortest windows first; of each length at least one window was seen whole. */
  windows(): WorkingSetWindow[] {
    return this.#levels.map((level) => level.summary());
  }
}

interface Window {
  readonly microseconds: number;
  readonly pages: PageSet;
}

/** All windows of one length. */
class Level {
  /** The first of two that will be merged. */
  pending: Window | undefined;
  readonly #intervals: number;
  #windows = 0;
  #microseconds = 0;
  #pages = 0;
  #least = Number.POSITIVE_INFINITY;
  #most = 0;

  constructor(intervals: number) {
    this.#intervals = intervals;
  }

  count({ microseconds, pages }: Window): void {
    this.#windows++;
    this.#microseconds += microseconds;
    this.#pages += pages.count;
    this.#least = Math.min(this.#least, pages.count);
    this.#most = Math.max(this.#most, pages.count);
  }

  summary(): WorkingSetWindow {
    return {
      intervals: this.#intervals,
      microseconds: Math.round(this.#microseconds / this.#windows),
      windows: this.#windows,
      meanPages: this.#pages / this.#windows,
      leastPages: this.#least,
      mostPages: this.#most,
    };
  }
}
