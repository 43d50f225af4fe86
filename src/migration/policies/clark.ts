import { PAGE_SIZE } from '../../core/index.ts';
import { zerosAmong } from '../memory.ts';
import type { Outcome } from '../outcome.ts';
import { bitsOf, lowestBits } from '../page-bitmap.ts';
import { RotatedPages } from './rotated-pages.ts';
import type { PageFraming, RoundEngine } from './round-engine.ts';

/** "Live Migration of Virtual Machines" (Clark and others, NSDI 2005), with the constants of its code in Xen 2. */
export interface ClarkOptions {
  /** Rate of the first round, bytes a second. */
  readonly minRate: number;
  readonly maxRate: number;
  /** Added to the rate at which memory was dirtied in a round, for the next one. */
  readonly rateIncrement: number;
  /** Live rounds; 0: stop and copy. */
  readonly maxIterations: number;
  readonly dirtyThresholdPages: number;
  readonly maxFactor: number;
  /** Pages that are dirty again already are left for later. */
  readonly skipWritableWorkingSet: boolean;
}

const MEGABIT = 125_000;

export const CLARK_DEFAULTS: ClarkOptions = {
  minRate: 100 * MEGABIT,
  maxRate: 500 * MEGABIT,
  rateIncrement: 50 * MEGABIT,
  maxIterations: 29,
  dirtyThresholdPages: 50,
  maxFactor: 3,
  skipWritableWorkingSet: true,
};

/** Pages are gathered by 1024, each with its number. */
export const CLARK_FRAMING: PageFraming = { headerBytes: 4, zeroPageBytes: 4100 };
/** The dirty log is looked at before each batch. */
const BATCH_PAGES = 1024;
/** One live round. @returns pages sent and pages skipped. */
function sendRound(engine: RoundEngine, rate: number, skipping: boolean): { sent: number; skipped: number } {
  const { memory } = engine;
  const pages = engine.takePending();
  const pending = new RotatedPages(memory.pageCount);
  const zero = new RotatedPages(memory.pageCount);
  const dirty = new RotatedPages(memory.pageCount);
  const look = () => engine.peekDirty((word, written) => dirty.add(word, written));
  look();
  for (let word = pages.nextWord(0); word >= 0; word = pages.nextWord(word + 1)) {
    pending.add(word, pages.word(word));
    zero.add(word, zerosAmong(memory, word, pages.word(word)));
  }
  let sent = 0;
  let skipped = 0;
  for (let word = pending.nextWord(0), batched = 0; word >= 0; word = pending.nextWord(word + 1)) {
    for (let rest = pending.word(word); rest !== 0; ) {
      const written = dirty.word(word);
      const candidates = skipping ? rest & ~written : rest;
      const count = Math.min(bitsOf(candidates), BATCH_PAGES - batched);
      const chosen = lowestBits(candidates, count);
      batched += count;
      // Where a batch ends within the word, those behind it are for the next one to decide on.
      const passed = batched < BATCH_PAGES ? rest : rest & upToHighest(chosen);
      engine.sendPages(chosen, chosen & zero.word(word) & ~written, rate);
      const left = bitsOf(passed) - count;
      engine.skip(left);
      sent += count;
      skipped += left;
      rest ^= passed;
      if (batched < BATCH_PAGES) continue;
      engine.flush(rate);
      look();
      batched = 0;
    }
  }
  engine.flush(rate);
  return { sent, skipped };
}

/** All bits up to the highest one that is set. */
function upToHighest(bits: number): number {
  return -1 >>> Math.clz32(bits);
}

/** Rounds at a rate that follows the program's, sparing what it writes all the time; then the stop, at full rate. */
export function migrateAsClark(engine: RoundEngine, options: ClarkOptions, giveUpAfter: number): Outcome {
  if (options.maxIterations === 0) {
    engine.stop();
    return engine.complete('clark', 0, options.maxRate);
  }
  const memoryPages = engine.pending.count;
  let rate = options.minRate;
  let total = 0;
  let before = Number.POSITIVE_INFINITY;
  for (let iteration = 1; engine.now < giveUpAfter; iteration++) {
    const start = engine.now;
    const { sent, skipped } = sendRound(engine, rate, options.skipWritableWorkingSet);
    total += sent;
    const last =
      (sent > before && rate === options.maxRate) ||
      iteration >= options.maxIterations ||
      sent + skipped < options.dirtyThresholdPages ||
      total > options.maxFactor * memoryPages;
    before = sent;
    if (last) {
      engine.stop();
      return engine.complete('clark', iteration, options.maxRate);
    }
    const dirtied = engine.sync();
    const dirtyRate = (dirtied * PAGE_SIZE * 1e6) / Math.max(1, engine.now - start);
    if (dirtyRate > rate) rate = Math.min(dirtyRate + options.rateIncrement, options.maxRate);
  }
  return engine.giveUp('clark');
}
