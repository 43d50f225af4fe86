import { PAGE_SIZE } from '../../core/index.ts';
import type { Outcome, PolicyName } from '../outcome.ts';
import { LazyPagesPager } from './postcopy.ts';
import type { PageFraming, RoundEngine } from './round-engine.ts';

/** Container migrations by CRIU: pre-dumps, then the dump, then a restore that reads what has arrived. */
export interface CriuOptions {
  /** Pre-dumps before the dump (`criu`). */
  readonly preDumps: number;
  /** Restore without memory, which follows (`criu`, dump and restore with --lazy-pages). */
  readonly lazyPages: boolean;
  /** How long the processes stand still for a pre-dump, besides reading the page maps. */
  readonly freezeMicroseconds: number;
  /** Dumping everything but memory. */
  readonly dumpMicroseconds: number;
  /** Forking the processes anew and restoring everything but memory. */
  readonly restoreMicroseconds: number;
  /** Rate at which a restore reads the images into memory. */
  readonly restoreBytesPerSecond: number;
}

export const CRIU_DEFAULTS: CriuOptions = {
  preDumps: 1,
  lazyPages: false,
  freezeMicroseconds: 5000,
  dumpMicroseconds: 20_000,
  restoreMicroseconds: 20_000,
  restoreBytesPerSecond: 2e9,
};

/** The page server is told of ranges, not of pages. Pages that exist are sent, whatever they hold. */
export const CRIU_FRAMING: PageFraming = { headerBytes: 0, zeroPageBytes: PAGE_SIZE };

/** Constants of go-criu's phaul/client.go. */
const PHAUL_MAX_ITERATIONS = 8;
const PHAUL_SMALL_PAGES = 64;
const PHAUL_GROWTH_PAGES = 32;

/**
 * go-criu's driver: at most eight pre-dumps; fewer when one is small or larger than the one before. Before the first
 * one it takes zero pages for written, so that any first pre-dump but the smallest ends the loop: as it is written.
 */
export function migrateAsPhaul(engine: RoundEngine, options: CriuOptions, giveUpAfter: number): Outcome {
  let before = 0;
  return preDump(engine, 'phaul', options, giveUpAfter, (iteration, written) => {
    const grown = written - before;
    before = written;
    return iteration >= PHAUL_MAX_ITERATIONS || written < PHAUL_SMALL_PAGES || grown >= PHAUL_GROWTH_PAGES;
  });
}

/** So many pre-dumps, then the dump. */
export function migrateAsCriu(engine: RoundEngine, options: CriuOptions, giveUpAfter: number): Outcome {
  return preDump(engine, 'criu', options, giveUpAfter, (iteration) => iteration >= options.preDumps);
}

function preDump(
  engine: RoundEngine,
  policy: PolicyName,
  options: CriuOptions,
  giveUpAfter: number,
  isLast: (iteration: number, writtenPages: number) => boolean,
): Outcome {
  const memoryBytes = engine.pending.count * PAGE_SIZE;
  let iterations = 0;
  for (let last = policy === 'criu' && options.preDumps === 0; !last; ) {
    if (engine.now >= giveUpAfter) return engine.giveUp(policy);
    if (iterations > 0) engine.sync();
    engine.suspend(options.freezeMicroseconds);
    const written = engine.pending.count;
    engine.sendPending(Number.POSITIVE_INFINITY);
    engine.drain();
    last = isLast(++iterations, written);
  }
  engine.stop();
  engine.now += options.dumpMicroseconds;
  const lazy = policy === 'criu' && options.lazyPages;
  const readBytes = memoryBytes - (lazy ? engine.pending.count * PAGE_SIZE : 0);
  const restore =
    options.restoreMicroseconds + (Math.max(0, readBytes) / options.restoreBytesPerSecond) * 1e6;
  if (lazy) {
    return engine.completeByPostcopy(policy, iterations, {
      pager: new LazyPagesPager(),
      ownConnection: false,
      restoreMicroseconds: restore,
      giveUpAfter,
    });
  }
  return engine.complete(policy, iterations, Number.POSITIVE_INFINITY, restore);
}
