import type { Outcome } from '../outcome.ts';
import type { PageFraming, RoundEngine } from './round-engine.ts';

/** The rule by which Xen's migration v2 stops (tools/libs/guest/xg_sr_save.c). */
export interface XenOptions {
  /** Live rounds; 0: stop and copy. */
  readonly maxIterations: number;
  /** So few dirty pages are not worth a round. */
  readonly dirtyThresholdPages: number;
  /** Stop when so many times the memory has been sent; only releases before 4.6 had a factor (3). */
  readonly maxFactor: number;
}

export const XEN_DEFAULTS: XenOptions = {
  maxIterations: 5,
  dirtyThresholdPages: 50,
  maxFactor: Number.POSITIVE_INFINITY,
};

/** A page's number stands before it; a page of zeros is sent like any other. */
export const XEN_FRAMING: PageFraming = { headerBytes: 8, zeroPageBytes: 4104 };

/** Xen: a few rounds whatever they bring, then the stop. Neither bandwidth nor downtime is looked at. */
export function migrateAsXen(engine: RoundEngine, options: XenOptions, giveUpAfter: number): Outcome {
  const memoryPages = engine.pending.count;
  let sent = 0;
  let iteration = 0;
  if (options.maxIterations === 0) {
    engine.stop();
    return engine.complete('xen', 0);
  }
  while (engine.now < giveUpAfter) {
    const few = engine.pending.count < options.dirtyThresholdPages;
    sent += engine.pending.count;
    engine.sendPending(Number.POSITIVE_INFINITY);
    iteration++;
    if (few || iteration >= options.maxIterations || sent > options.maxFactor * memoryPages) {
      engine.stop();
      return engine.complete('xen', iteration);
    }
    engine.sync();
  }
  return engine.giveUp('xen');
}
