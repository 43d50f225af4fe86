/** Heat of a page that was never written, and of one that was written in one interval only. */
const NEVER_WRITTEN = 0;
export const ONCE_WRITTEN = 1;
const HOTTEST = 255;
/** Writes per interval of a page of the highest heat; with more of them no look within an interval tells a difference. */
const MOST_WRITES = 16;
/** An interval that is shorter than this share of what was asked for shows what is written all the time. */
const PROBE_SHARE = 0.5;

/** Pages that are counted in one block of memory, which exists once one of them was written. */
const BLOCK_PAGES = 2 ** 20;

/**
 * What is counted of a page lies in one word, because pages are written all over memory: in how many intervals it was
 * written (12 bits), how many of these followed one in which it was written, too (12 bits), and the low bits of the
 * number of the last one (8 bits).
 */
const COUNT_MASK = 0xfff;
const AGAIN_SHIFT = 12;
const LAST_SHIFT = 24;
const LAST_MASK = 0xff;

/** Writes that wait until enough of one block have come: all of them at once find the block in the processor's cache. */
const QUEUE_LENGTH = 8192;
/** What waits is a page of the block with the low bits of the interval, or a question for its count. */
const PAGE_MASK = BLOCK_PAGES - 1;
const INTERVAL_SHIFT = 20;
const QUESTION = 1 << 28;
/** A longer run of pages does not wait. */
const LONG_RUN_PAGES = 64;

/** Is told in how many intervals a page had been written when it was asked. */
export interface TimesWritten {
  timesWritten: number;
}

/** What is counted of a stretch of pages. */
class Block {
  readonly words = new Uint32Array(BLOCK_PAGES);
  readonly #queue = new Uint32Array(QUEUE_LENGTH);
  #queued = 0;
  readonly #asking: TimesWritten[] = [];

  /** The pages from..to-1 of the block were written. */
  add(from: number, to: number, interval: number): void {
    const last = interval & LAST_MASK;
    if (to - from > LONG_RUN_PAGES) {
      this.settle();
      for (let page = from; page < to; page++) this.#count(page, last);
      return;
    }
    for (let page = from; page < to; page++) this.#enqueue(page | (last << INTERVAL_SHIFT));
  }

  ask(page: number, asking: TimesWritten): void {
    this.#asking.push(asking);
    this.#enqueue(page | QUESTION);
  }

  /** Counts what waits. */
  settle(): void {
    const queue = this.#queue;
    let asked = 0;
    for (let index = 0; index < this.#queued; index++) {
      const entry = queue[index]!;
      const page = entry & PAGE_MASK;
      if ((entry & QUESTION) === 0) this.#count(page, entry >>> INTERVAL_SHIFT);
      else this.#asking[asked++]!.timesWritten = this.words[page]! & COUNT_MASK;
    }
    this.#queued = 0;
    this.#asking.length = 0;
  }

  #enqueue(entry: number): void {
    this.#queue[this.#queued++] = entry;
    if (this.#queued === QUEUE_LENGTH) this.settle();
  }

  #count(page: number, last: number): void {
    const word = this.words[page]!;
    const written = word & COUNT_MASK;
    if (written === COUNT_MASK) return;
    const follows = written > 0 && word >>> LAST_SHIFT === ((last - 1) & LAST_MASK);
    const counts = word & ~(LAST_MASK << LAST_SHIFT);
    this.words[page] = (counts | (last << LAST_SHIFT)) + (follows ? 1 << AGAIN_SHIFT : 0) + 1;
  }
}

/**
 * Estimates how often each page is written while a program is at it: of the intervals that follow one in which the page
 * was written, in how many it was written again. Were its writes a Poisson process, a share f of intervals means
 * -ln(1 - f) writes per interval. A phase in which the program does something else does not cool the page. How often
 * pages are written that are written in every interval only shorter ones can show.
 */
export class HeatCounter {
  readonly #intervalMicroseconds: number;
  readonly #blocks: (Block | undefined)[] = [];
  /** In how many short intervals each page was written. */
  readonly #probed: (Uint8Array | undefined)[] = [];
  #interval = 0;
  #isProbe = false;
  #probes = 0;
  #probedMicroseconds = 0;

  constructor(intervalMicroseconds: number) {
    this.#intervalMicroseconds = intervalMicroseconds;
  }

  /** The next interval begins. */
  begin(lengthMicroseconds: number): void {
    this.#isProbe = lengthMicroseconds < this.#intervalMicroseconds * PROBE_SHARE;
    if (this.#isProbe) {
      this.#probes++;
      this.#probedMicroseconds += lengthMicroseconds;
    } else this.#interval++;
  }

  /** Asks in how many intervals a page was written so far, without short ones; the answer is there after `build`. */
  ask(page: number, asking: TimesWritten): void {
    const number = Math.floor(page / BLOCK_PAGES);
    this.#blocks[number] ??= new Block();
    this.#blocks[number].ask(page % BLOCK_PAGES, asking);
  }

  /** In how many intervals a page was written, without short ones, when all are over. */
  timesWritten(page: number): number {
    const block = this.#blocks[Math.floor(page / BLOCK_PAGES)];
    block?.settle();
    return (block?.words[page % BLOCK_PAGES] ?? 0) & COUNT_MASK;
  }

  /** The pages start..end-1 were written in the interval. */
  add(start: number, end: number): void {
    for (let page = start; page < end; ) {
      const number = Math.floor(page / BLOCK_PAGES);
      const blockStart = number * BLOCK_PAGES;
      const until = Math.min(end, blockStart + BLOCK_PAGES);
      if (this.#isProbe) {
        this.#probed[number] ??= new Uint8Array(BLOCK_PAGES);
        countIn(this.#probed[number], page - blockStart, until - blockStart);
      } else {
        this.#blocks[number] ??= new Block();
        this.#blocks[number].add(page - blockStart, until - blockStart, this.#interval);
      }
      page = until;
    }
  }

  /** What was found out about the first `pageCount` pages; the arrays lie on shared memory. */
  build(pageCount: number): PageHeat {
    const heat = new Uint8Array(new SharedArrayBuffer(pageCount));
    const hot = new Uint32Array(new SharedArrayBuffer(Math.ceil(pageCount / 32) * 4));
    /** Pages that were written in so many intervals. */
    const times = new Array<number>(COUNT_MASK + 1).fill(0);
    for (let number = 0; number * BLOCK_PAGES < pageCount; number++) {
      const block = this.#blocks[number];
      const probed = this.#probed[number];
      if (block === undefined && probed === undefined) continue;
      block?.settle();
      const first = number * BLOCK_PAGES;
      const length = Math.min(BLOCK_PAGES, pageCount - first);
      for (let index = 0; index < length; index++) {
        const word = block?.words[index] ?? 0;
        const probes = probed?.[index] ?? 0;
        if (word === 0 && probes === 0) continue;
        times[word & COUNT_MASK]!++;
        const found = this.#heatFrom(word, probes);
        heat[first + index] = found;
        if (found > ONCE_WRITTEN) hot[(first + index) >>> 5]! |= 1 << (index & 31);
      }
    }
    const once = times[1]!;
    const fresh = once === 0 ? 0 : (once - times[2]! + times[3]!) / once;
    return { heat, hot, freshShare: Math.min(1, Math.max(0, fresh)) };
  }

  #heatFrom(word: number, probes: number): number {
    const written = word & COUNT_MASK;
    if (written <= 1) return ONCE_WRITTEN;
    const rate = -Math.log(1 - ((word >>> AGAIN_SHIFT) & COUNT_MASK) / (written + 1));
    // One hit in a short interval may be chance; a page that is not hot is better known from the others.
    if (probes <= 1) return heatOf(rate);
    const probeShare = this.#probedMicroseconds / (this.#probes * this.#intervalMicroseconds);
    return heatOf(
      Math.max(rate, -Math.log(1 - Math.min(probes, this.#probes) / (this.#probes + 1)) / probeShare),
    );
  }
}

/** How often pages are written. */
export interface PageHeat {
  /** Of each page. */
  readonly heat: Uint8Array;
  /** Bitmap of the pages that were written more than once. */
  readonly hot: Uint32Array;
  /**
   * How many pages a program would write that it had not written before, if it went on as long again, as a share of
   * those that it wrote in one interval only (Good and Toulmin 1956, the first three terms of their series).
   */
  readonly freshShare: number;
}

/** Whether a page of this heat was never written. */
export function isNeverWritten(heat: number): boolean {
  return heat === NEVER_WRITTEN;
}

function countIn(counts: Uint8Array, from: number, to: number): void {
  for (let page = from; page < to; page++) if (counts[page]! < 255) counts[page]!++;
}

/** The heat of a page that is written so often in an interval. Never that of one written once. */
export function heatOf(writesPerInterval: number): number {
  const heat = Math.round(HOTTEST * Math.sqrt(writesPerInterval / MOST_WRITES));
  return Math.min(HOTTEST, Math.max(ONCE_WRITTEN + 1, heat));
}

/** The inverse, for all heats but that of a page written once. */
function writesOf(heat: number): number {
  return MOST_WRITES * (heat / HOTTEST) ** 2;
}

/** Writes per interval of a page that has so many on average in the intervals in which it is written at all. */
export function rateOf(meanWritesWhereWritten: number): number {
  // The mean is rate / (1 - exp(-rate)); it begins at 1 and grows at least half as fast as the rate.
  let low = 0;
  let high = 2 * meanWritesWhereWritten;
  for (let step = 0; step < 30; step++) {
    const middle = (low + high) / 2;
    if (middle / (1 - Math.exp(-middle)) < meanWritesWhereWritten) low = middle;
    else high = middle;
  }
  return low;
}

/**
 * Mean number of writes, by heat, in an interval in which the page was written at all: a Poisson variable that is known
 * not to be zero.
 */
export function meanWrites(heat: number): number {
  if (heat <= ONCE_WRITTEN) return 1;
  const rate = writesOf(heat);
  return rate / (1 - Math.exp(-rate));
}

/**
 * For each heat a row of 16-bit thresholds: a number drawn from 0..65535 is below as many of them as there are writes
 * more than one in an interval in which the page was written.
 */
export function moreWritesThresholds(): readonly Uint16Array[] {
  return Array.from({ length: HOTTEST + 1 }, (_, heat) => {
    if (heat <= ONCE_WRITTEN) return new Uint16Array(0);
    const rate = writesOf(heat);
    const row: number[] = [];
    let probability = (rate * Math.exp(-rate)) / (1 - Math.exp(-rate));
    let above = 1 - probability;
    for (let writes = 2; above * 65536 >= 0.5; writes++) {
      row.push(Math.min(65535, Math.round(above * 65536)));
      probability *= rate / writes;
      above -= probability;
    }
    return Uint16Array.from(row);
  });
}
