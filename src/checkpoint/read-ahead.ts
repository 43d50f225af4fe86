import type { PageDigests } from '../codec/index.ts';
import { BLOCK_PAGES, findInSegment, type Segment, sameDigest, windowStartOf } from '../image/index.ts';
import type { CheckpointReader, ProcessIndex } from '../store/index.ts';

/** Pages of one process that will be encoded, in address order. */
export interface PagesAhead {
  readonly pages: Float64Array;
  readonly pageCount: number;
  readonly found: PageDigests;
}

/** Older versions asked for and not used yet. Each may lie in a block of its own, and all these must fit the cache. */
const PAGES_AHEAD = 96;

/**
 * Begins to decode the blocks that hold older versions of pages some while before the encoder compares the pages with
 * them, so that the workers need not wait for it, nor it for them. What is fetched in vain costs time alone; what
 * fails is met again by the encoder.
 */
export class ReadAhead {
  readonly #reader: CheckpointReader;
  readonly #index: ProcessIndex;
  readonly #isWorthIt: () => boolean;
  /** Pages asked for, from `#first` on not passed by the encoder yet. */
  readonly #asked: number[] = [];
  #first = 0;
  #passed = -1;
  #stopped = false;
  #wake: (() => void) | undefined;

  /** @param isWorthIt whether the encoder will look at older versions, as far as it knows. */
  constructor(reader: CheckpointReader, index: ProcessIndex, isWorthIt: () => boolean) {
    this.#reader = reader;
    this.#index = index;
    this.#isWorthIt = isWorthIt;
  }

  /** Goes ahead of the encoder until all is asked for, or `stop`. */
  async run(ahead: Iterable<PagesAhead>): Promise<void> {
    let windowStart = -1;
    let segment: Segment | undefined;
    for (const { pages, pageCount, found } of ahead) {
      for (let index = 0; index < pageCount; index++) {
        while (this.#asked.length - this.#first >= PAGES_AHEAD && !this.#stopped) await this.#room();
        if (this.#stopped) return;
        const page = pages[index]!;
        if (page <= this.#passed || found.zeroFlags[index] === 1 || !this.#isWorthIt()) continue;
        if (windowStartOf(page) !== windowStart) {
          windowStart = windowStartOf(page);
          segment = (await this.#index.window(windowStart))?.segment;
          if (this.#stopped) return;
        }
        if (segment === undefined) continue;
        const isDense =
          pages[index + BLOCK_PAGES - 1] === page + BLOCK_PAGES - 1 && index + BLOCK_PAGES <= pageCount;
        this.#ask(page, segment, found.digests, index, isDense);
      }
    }
  }

  /** Says that the encoder has passed `page`. */
  pass(page: number): void {
    this.#passed = page;
    while (this.#first < this.#asked.length && this.#asked[this.#first]! <= page) this.#first++;
    this.#wake?.();
  }

  /** Asks for no more. */
  stop(): void {
    this.#stopped = true;
    this.#wake?.();
  }

  #ask(page: number, segment: Segment, digests: Uint8Array, index: number, isDense: boolean): void {
    const entry = findInSegment(segment, page);
    if (entry < 0 || segment.packs[entry] === 0 || sameDigest(digests, index, segment.digests, entry)) return;
    this.#reader.prefetch(segment, entry, isDense);
    this.#asked.push(page);
  }

  async #room(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }
}
