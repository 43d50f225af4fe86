import { PAGE_SIZE } from '../../core/index.ts';
import type { Outcome } from '../outcome.ts';
import { type PrePaging, pagerFor } from './postcopy.ts';
import type { PageFraming, RoundEngine } from './round-engine.ts';

/** A plain pre-copy, to compare others with. */
export interface FixedOptions {
  /** Live rounds; 0: stop and copy. */
  readonly rounds: number;
  /** Stop earlier when the rest can be sent in this time. */
  readonly downtimeLimitMicroseconds: number;
  /** Bytes a second. */
  readonly maxBandwidth: number;
  /** Stop after the rounds without sending what is left: it follows, in this order besides what is asked for. */
  readonly postcopy: PrePaging | undefined;
}

export const FIXED_DEFAULTS: FixedOptions = {
  rounds: 3,
  downtimeLimitMicroseconds: 0,
  maxBandwidth: Number.POSITIVE_INFINITY,
  postcopy: undefined,
};

/** Pages with their addresses; a page of zeros is one byte. */
export const FIXED_FRAMING: PageFraming = { headerBytes: 8, zeroPageBytes: 9 };

/** A fixed number of rounds, each of which sends all that the one before left, then the stop, or post-copy. */
export function migrateFixed(engine: RoundEngine, options: FixedOptions, giveUpAfter: number): Outcome {
  for (let round = 0; round < options.rounds; round++) {
    if (engine.now >= giveUpAfter) return engine.giveUp('fixed');
    const start = engine.now;
    const before = engine.sentBytes;
    engine.sendPending(options.maxBandwidth);
    const bytesPerMicrosecond = (engine.sentBytes - before) / Math.max(1, engine.now - start);
    if (round + 1 === options.rounds) break;
    engine.sync();
    if (engine.pending.count * PAGE_SIZE < bytesPerMicrosecond * options.downtimeLimitMicroseconds) {
      return finish(engine, options, round + 1, giveUpAfter);
    }
  }
  return finish(engine, options, options.rounds, giveUpAfter);
}

function finish(engine: RoundEngine, options: FixedOptions, rounds: number, giveUpAfter: number): Outcome {
  const { postcopy, maxBandwidth } = options;
  engine.stop();
  if (postcopy === undefined) return engine.complete('fixed', rounds, maxBandwidth);
  const pager = pagerFor(postcopy, maxBandwidth);
  return engine.completeByPostcopy('fixed', rounds, { pager, ownConnection: true, giveUpAfter });
}
