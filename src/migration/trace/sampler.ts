import { type BlockCodec, isZeroPage } from '../../codec/index.ts';
import { PAGE_SIZE, type PageRangeList, Random } from '../../core/index.ts';
import type { ProcessView } from '../../target/index.ts';
import { differenceSize } from './difference.ts';
import type { PageSample } from './format.ts';

/** Pages whose content is kept to compare with, of all processes, chosen regardless of writes. */
const CHOSEN_PAGES = 1024;
/** And those that are kept because they were written where too few of the chosen ones are. */
const CAUGHT_PAGES = 1024;
/** Written pages that are measured at most in one step. */
const PAGES_PER_STEP = 128;
/** With so many chosen pages among the written ones of a step, no others are needed. */
const ENOUGH_PER_STEP = 16;
/** What each process may have at least, however many they are. */
const LEAST_SHARE = 1 / 32;

/**
 * Measures some pages of one process: how well they compress, and how much of them a write changes. Their choice does
 * not depend on how often a page is written, so that those measured in a step stand for all that were written in it: a
 * share of the pages that exist in the beginning, and of those that appear later. Where a program writes in so small a
 * part of its memory that hardly any of them are hit, pages are caught when they are written, which prefers those that are
 * written often.
 */
export class PageSampler {
  readonly #codec: BlockCodec;
  readonly #random: Random;
  readonly #chosen = new Map<number, Uint8Array>();
  readonly #caught = new Map<number, Uint8Array>();
  /** Chosen pages for each one that exists. */
  #chosenShare = 1;

  constructor(codec: BlockCodec, pid: number) {
    this.#codec = codec;
    this.#random = new Random(pid);
  }

  /** Measures pages spread evenly over those that exist. @param processes so many share what is measured */
  first(process: ProcessView, resident: PageRangeList, processes: number): PageSample[] {
    const count = Math.min(shareOf(CHOSEN_PAGES, processes), resident.pageCount);
    if (count > 0) this.#chosenShare = count / resident.pageCount;
    const step = resident.pageCount / count;
    const pages = pagesAt(
      resident,
      Array.from({ length: count }, (_, index) => (index + this.#random.nextFraction()) * step),
    );
    return this.#measure(process, pages, this.#chosen);
  }

  /**
   * Measures some of the pages that were written.
   * @param appeared those of them that did not exist at the step before
   * @param processes so many share what is measured
   */
  written(
    process: ProcessView,
    written: PageRangeList,
    appeared: PageRangeList,
    processes: number,
  ): PageSample[] {
    if (written.pageCount === 0) return [];
    const most = shareOf(PAGES_PER_STEP, processes);
    const enough = shareOf(ENOUGH_PER_STEP, processes);
    const chosen = this.#someOf(this.#chosen, written, most);
    const room = shareOf(CHOSEN_PAGES, processes) * 2 - this.#chosen.size;
    const newcomers = appeared.pageCount * this.#chosenShare + this.#random.nextFraction();
    chosen.push(...this.#anyOf(appeared, Math.min(newcomers, room, most)));
    const samples = this.#measure(process, chosen, this.#chosen);
    if (samples.length >= enough) return samples;
    const caught = this.#someOf(this.#caught, written, most - enough);
    const caughtRoom = shareOf(CAUGHT_PAGES, processes) - this.#caught.size;
    caught.push(...this.#anyOf(written, Math.min(enough, caughtRoom)));
    const others = caught.filter((page) => !this.#chosen.has(page));
    return [...samples, ...this.#measure(process, others, this.#caught)].sort(
      (left, right) => left.page - right.page,
    );
  }

  /** Forgets pages that exist no more. */
  forget(gone: PageRangeList): void {
    if (gone.pageCount === 0) return;
    for (const kept of [this.#chosen, this.#caught]) {
      for (const page of kept.keys()) if (gone.has(page)) kept.delete(page);
    }
  }

  /** Kept pages that were written, from a random one on if there are more than `most`. */
  #someOf(kept: ReadonlyMap<number, Uint8Array>, written: PageRangeList, most: number): number[] {
    const hit = [...kept.keys()].filter((page) => written.has(page));
    if (hit.length <= most) return hit;
    const begin = this.#random.nextBelow(hit.length);
    return Array.from({ length: most }, (_, index) => hit[(begin + index) % hit.length]!);
  }

  /** Pages at random, a fraction of one counting as none. */
  #anyOf(pages: PageRangeList, count: number): number[] {
    const positions = Array.from({ length: Math.max(0, Math.floor(count)) }, () =>
      this.#random.nextBelow(Math.max(1, pages.pageCount)),
    );
    return pagesAt(
      pages,
      positions.sort((left, right) => left - right),
    );
  }

  /** In address order, each once; they are kept in `kept`. */
  #measure(process: ProcessView, pages: readonly number[], kept: Map<number, Uint8Array>): PageSample[] {
    const samples: PageSample[] = [];
    const content = new Uint8Array(PAGE_SIZE);
    for (const page of [...new Set(pages)].sort((left, right) => left - right)) {
      if (process.readMemory(page, 1, content) === 0) continue;
      const previous = kept.get(page);
      samples.push({
        page,
        compressedBytes: isZeroPage(content, 0) ? 0 : this.#codec.encode(content, 'zstd', 1).stored.length,
        differenceBytes: previous === undefined ? undefined : differenceSize(previous, content),
      });
      if (previous === undefined) kept.set(page, content.slice());
      else previous.set(content);
    }
    return samples;
  }
}

const shareOf = (pages: number, processes: number) =>
  Math.max(1, Math.floor(pages * Math.max(LEAST_SHARE, 1 / processes)));

/** The pages at ascending positions (fractions are cut off) in a list; positions behind its end are left out. */
function pagesAt(list: PageRangeList, positions: readonly number[]): number[] {
  const pages: number[] = [];
  let index = 0;
  let before = 0;
  for (const position of positions) {
    while (index < list.rangeCount && position >= before + list.endPage(index) - list.startPage(index)) {
      before += list.endPage(index) - list.startPage(index);
      index++;
    }
    if (index < list.rangeCount) pages.push(list.startPage(index) + Math.floor(position - before));
  }
  return pages;
}
