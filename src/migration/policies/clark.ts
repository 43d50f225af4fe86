import { PAGE_SIZE } from '../../core/index.ts';
import type { Outcome } from '../outcome.ts';
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
/** Page numbers are rotated by so many bits, so that neighbours, hot or cold together, are sent far apart. */
const ROTATED_BITS = 10;

/** One live round. @returns pages sent and pages skipped. */
function sendRound(engine: RoundEngine, rate: number, skipping: boolean): { sent: number; skipped: number } {
  const bits = Math.max(ROTATED_BITS + 1, Math.ceil(Math.log2(Math.max(2, engine.memory.pageCount))));
  const count = 2 ** bits;
  const low = 2 ** (bits - ROTATED_BITS);
  let sent = 0;
  let skipped = 0;
  let dirty = engine.peekDirty();
  for (let index = 0, batched = 0; index < count; index++) {
    const page = (index % low) * 2 ** ROTATED_BITS + Math.floor(index / low);
    if (!engine.pending.has(page)) continue;
    if (skipping && dirty.has(page)) {
      engine.pending.remove(page);
      skipped++;
      continue;
    }
    engine.send(page >>> 5, 1 << (page & 31), rate);
    sent++;
    if (++batched === BATCH_PAGES) {
      engine.flush(rate);
      dirty = engine.peekDirty();
      batched = 0;
    }
  }
  engine.flush(rate);
  return { sent, skipped };
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
