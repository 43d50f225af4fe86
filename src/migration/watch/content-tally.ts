import type { PageSample } from '../trace/format.ts';

/** What was measured on some of the pages that were written. */
export interface WatchedContent {
  readonly measuredPages: number;
  /** Mean of one page, compressed alone (zstd, level 1); undefined if none was measured. */
  readonly compressedBytes: number | undefined;
  /**
   * Mean of what turned the content of a page as it was measured before into that of now; undefined if no page was
   * measured twice.
   */
  readonly differenceBytes: number | undefined;
}

/** Means over measured pages. */
export class ContentTally {
  #pages = 0;
  #compressedBytes = 0;
  #comparedPages = 0;
  #differenceBytes = 0;

  take({ compressedBytes, differenceBytes }: PageSample): void {
    this.#pages++;
    this.#compressedBytes += compressedBytes;
    if (differenceBytes === undefined) return;
    this.#comparedPages++;
    this.#differenceBytes += differenceBytes;
  }

  summary(): WatchedContent {
    return {
      measuredPages: this.#pages,
      compressedBytes: meanOf(this.#compressedBytes, this.#pages),
      differenceBytes: meanOf(this.#differenceBytes, this.#comparedPages),
    };
  }
}

const meanOf = (sum: number, count: number) => (count === 0 ? undefined : Math.round(sum / count));
