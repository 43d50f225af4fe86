/** Heat of a page that was never written, and of one that was written in one interval only. */
const NEVER_WRITTEN = 0;
export const ONCE_WRITTEN = 1;
const HOTTEST = 255;
/** Writes per interval of a page of the highest heat; with more of them no look within an interval tells a difference. */
const MOST_WRITES = 16;
/** An interval that is shorter than this share of what was asked for shows what is written all the time. */
const PROBE_SHARE = 0.5;

/** Pages that are counted in one block of memory, which exists once one of them was written. */
const BLOCK_PAGES = 4096;

interface Block {
  /** In how many intervals each page was written. */
  readonly written: Uint16Array;
  /** How many of these followed one in which it was written, too. */
  readonly again: Uint16Array;
  readonly lastInterval: Uint32Array;
  /** In how many short intervals. */
  readonly probed: Uint8Array;
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

  /** Intervals in which a page was written so far, without short ones. */
  timesWritten(page: number): number {
    return this.#blocks[Math.floor(page / BLOCK_PAGES)]?.written[page % BLOCK_PAGES] ?? 0;
  }

  /** The pages start..end-1 were written in the interval. */
  add(start: number, end: number): void {
    for (let page = start; page < end; ) {
      const number = Math.floor(page / BLOCK_PAGES);
      const blockStart = number * BLOCK_PAGES;
      const until = Math.min(end, blockStart + BLOCK_PAGES);
      this.#blocks[number] ??= emptyBlock();
      if (this.#isProbe) countIn(this.#blocks[number].probed, page - blockStart, until - blockStart);
      else addTo(this.#blocks[number], page - blockStart, until - blockStart, this.#interval);
      page = until;
    }
  }

  /**
   * How many pages a program would write that it had not written before, if it went on as long again, as a share of
   * those that it wrote in one interval only (Good and Toulmin 1956, the first three terms of their series).
   */
  freshShare(): number {
    const times = [0, 0, 0, 0];
    for (const block of this.#blocks) {
      for (const written of block?.written ?? []) if (written < times.length) times[written]!++;
    }
    const [, once, twice, thrice] = times;
    return once === 0 ? 0 : Math.min(1, Math.max(0, (once! - twice! + thrice!) / once!));
  }

  /** The heat of the first `pageCount` pages, on shared memory. */
  build(pageCount: number): Uint8Array {
    const heat = new Uint8Array(new SharedArrayBuffer(pageCount));
    const probeShare = this.#probedMicroseconds / (this.#probes * this.#intervalMicroseconds);
    for (const [number, block] of this.#blocks.entries()) {
      if (block === undefined) continue;
      const first = number * BLOCK_PAGES;
      for (let index = 0; index < BLOCK_PAGES && first + index < pageCount; index++) {
        const written = block.written[index]!;
        if (written <= 1) {
          if (written + block.probed[index]! > 0) heat[first + index] = ONCE_WRITTEN;
          continue;
        }
        const rate = -Math.log(1 - block.again[index]! / (written + 1));
        const probed = block.probed[index]!;
        const probedRate = probed === 0 ? 0 : -Math.log(1 - probed / (this.#probes + 1)) / probeShare;
        // One hit in a short interval may be chance; a page that is not hot is better known from the others.
        heat[first + index] = heatOf(probed > 1 ? Math.max(rate, probedRate) : rate);
      }
    }
    return heat;
  }
}

/** Whether a page of this heat was never written. */
export function isNeverWritten(heat: number): boolean {
  return heat === NEVER_WRITTEN;
}

function emptyBlock(): Block {
  return {
    written: new Uint16Array(BLOCK_PAGES),
    again: new Uint16Array(BLOCK_PAGES),
    lastInterval: new Uint32Array(BLOCK_PAGES),
    probed: new Uint8Array(BLOCK_PAGES),
  };
}

function countIn(counts: Uint8Array, from: number, to: number): void {
  for (let page = from; page < to; page++) if (counts[page]! < 255) counts[page]!++;
}

function addTo({ written, again, lastInterval }: Block, from: number, to: number, interval: number): void {
  for (let page = from; page < to; page++) {
    if (written[page]! === 0xffff) continue;
    if (lastInterval[page]! === interval - 1 && interval > 1) again[page]!++;
    lastInterval[page] = interval;
    written[page]!++;
  }
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
