import { type BlockCodec, isZeroPage } from '../../codec/index.ts';
import { PAGE_SIZE, type PageRangeList, Random } from '../../core/index.ts';
import type { ProcessView } from '../../target/index.ts';
import { differenceSize } from './difference.ts';
import type { PageSample } from './format.ts';

/** Pages whose content is kept to compare with, of all processes. */
const MOST_KEPT_PAGES = 2048;
/** Pages taken from those that exist when processes are first seen. */
const FIRST_PAGES = 256;
/** Written pages that are measured at most in one step, and how many of them may be new. */
const PAGES_PER_STEP = 128;
const NEW_PAGES_PER_STEP = 16;
/** What each process may have at least, however many they are. */
const LEAST_SHARE = 1 / 32;

/** Measures some pages of one process: how well they compress, and how much of them a write changes. */
export class PageSampler {
  readonly #codec: BlockCodec;
  readonly #random: Random;
  readonly #kept = new Map<number, Uint8Array>();

  constructor(codec: BlockCodec, pid: number) {
    this.#codec = codec;
    this.#random = new Random(pid);
  }

  /** Measures pages spread evenly over those that exist. @param processes so many share what is measured */
  first(process: ProcessView, resident: PageRangeList, processes: number): PageSample[] {
    const count = Math.min(shareOf(FIRST_PAGES, processes), resident.pageCount);
    const wanted = new Set<number>();
    let index = 0;
    let before = 0;
    for (let sample = 0; sample < count; sample++) {
      const position = Math.floor(((sample + 0.5) * resident.pageCount) / count);
      while (position >= before + resident.endPage(index) - resident.startPage(index)) {
        before += resident.endPage(index) - resident.startPage(index);
        index++;
      }
      wanted.add(resident.startPage(index) + position - before);
    }
    return this.#measure(process, wanted);
  }

  /**
   * Measures some of the pages that were written: those measured before first, then others, chosen at random.
   * @param processes so many share what is measured
   */
  written(process: ProcessView, written: PageRangeList, processes: number): PageSample[] {
    if (written.pageCount === 0) return [];
    const fresh = shareOf(NEW_PAGES_PER_STEP, processes);
    const most = shareOf(PAGES_PER_STEP, processes);
    const known = [...this.#kept.keys()].filter((page) => written.has(page));
    const wanted = new Set<number>();
    const begin = known.length > most ? this.#random.nextBelow(known.length) : 0;
    for (let index = 0; index < Math.min(known.length, most - fresh); index++) {
      wanted.add(known[(begin + index) % known.length]!);
    }
    const room = Math.min(fresh, shareOf(MOST_KEPT_PAGES, processes) - this.#kept.size);
    for (let index = 0; index < room; index++) {
      const range = this.#random.nextBelow(written.rangeCount);
      const pages = written.endPage(range) - written.startPage(range);
      wanted.add(written.startPage(range) + this.#random.nextBelow(pages));
    }
    return this.#measure(process, wanted);
  }

  /** Forgets pages that exist no more. */
  forget(gone: PageRangeList): void {
    if (gone.pageCount === 0) return;
    for (const page of this.#kept.keys()) if (gone.has(page)) this.#kept.delete(page);
  }

  #measure(process: ProcessView, pages: ReadonlySet<number>): PageSample[] {
    const samples: PageSample[] = [];
    const content = new Uint8Array(PAGE_SIZE);
    for (const page of [...pages].sort((left, right) => left - right)) {
      if (process.readMemory(page, 1, content) === 0) continue;
      const previous = this.#kept.get(page);
      samples.push({
        page,
        compressedBytes: isZeroPage(content, 0) ? 0 : this.#codec.encode(content, 'zstd', 1).stored.length,
        differenceBytes: previous === undefined ? undefined : differenceSize(previous, content),
      });
      if (previous === undefined) this.#kept.set(page, content.slice());
      else previous.set(content);
    }
    return samples;
  }
}

const shareOf = (pages: number, processes: number) =>
  Math.max(1, Math.floor(pages * Math.max(LEAST_SHARE, 1 / processes)));
