import { UsageError } from '../core/index.ts';
import { type Advice, advise, meetsLimit } from './advise.ts';
import type { LinkOptions } from './link.ts';
import type { MigratingMemory } from './memory.ts';
import type { Outcome } from './outcome.ts';
import { QEMU_DEFAULTS } from './qemu/options.ts';
import { type RehearsalOptions, rehearseOnce } from './rehearse-once.ts';

/** What one rehearsal predicts, and between which bounds several of them lie. */
export interface Rehearsal extends Outcome {
  /** Seeds that the figures come from; the first one is shown in full. */
  readonly runs: number;
  /** Share of the runs that converge. */
  readonly convergence: number;
  /** 90 % intervals over the runs, [low, high]. */
  readonly intervals: Readonly<Record<IntervalName, readonly [number, number]>>;
  /** What would help, cheapest first; empty if nothing is needed, or nothing that was tried helps. */
  readonly advice: readonly Advice[];
}

export const INTERVAL_NAMES = [
  'totalMicroseconds',
  'downtimeMicroseconds',
  'transferredBytes',
  'rounds',
] as const;
export type IntervalName = (typeof INTERVAL_NAMES)[number];

/**
 * Rehearses a migration several times, each time with another history of the same program and another state of the
 * network.
 * @param open gives the memory of run number `run`, from 0.
 * @throws UsageError for options that no migration can have; the signal's reason if it is aborted.
 */
export async function rehearse(
  open: (run: number) => Promise<MigratingMemory>,
  options: RehearsalOptions,
  runs: number,
  signal?: AbortSignal,
): Promise<Rehearsal> {
  if (!Number.isInteger(runs) || runs < 1) throw new UsageError(`${runs} rehearsals cannot be made`);
  const outcomes: Outcome[] = [];
  for (let run = 0; run < runs; run++) {
    signal?.throwIfAborted();
    outcomes.push(rehearseOnce(await open(run), { ...options, link: disturbed(options.link, run) }));
  }
  const value: Record<IntervalName, (outcome: Outcome) => number> = {
    totalMicroseconds: (outcome) => outcome.totalMicroseconds,
    downtimeMicroseconds: (outcome) => outcome.downtimeMicroseconds,
    transferredBytes: (outcome) => outcome.transferredBytes,
    rounds: (outcome) => outcome.rounds.length,
  };
  const interval = (name: IntervalName) => ninety(outcomes.map(value[name]));
  const first = outcomes[0]!;
  const helped = meetsLimit(first, downtimeLimitOf(options))
    ? []
    : await advise(() => open(0), options, signal);
  return {
    ...first,
    runs,
    convergence: outcomes.filter((outcome) => outcome.verdict === 'converges').length / runs,
    intervals: {
      totalMicroseconds: interval('totalMicroseconds'),
      downtimeMicroseconds: interval('downtimeMicroseconds'),
      transferredBytes: interval('transferredBytes'),
      rounds: interval('rounds'),
    },
    advice: helped,
  };
}

/** Only QEMU has a limit that can be missed. */
function downtimeLimitOf({ choice }: RehearsalOptions): number {
  if (choice.policy !== 'qemu') return Number.POSITIVE_INFINITY;
  return choice.options?.downtimeLimitMicroseconds ?? QEMU_DEFAULTS.downtimeLimitMicroseconds;
}

/** The link of another run: bandwidth is known to two percent. The first run has it as given. */
function disturbed(link: LinkOptions, run: number): LinkOptions {
  // The golden ratio spreads any number of runs evenly over the range, the same way each time.
  const share = (run * 0.6180339887) % 1;
  const factor = run === 0 ? 1 : 0.98 + 0.04 * share;
  return { ...link, bytesPerSecond: link.bytesPerSecond * factor };
}

/** The bounds that 5 % of the values lie below and above; for few values, the smallest and the largest. */
function ninety(values: readonly number[]): [number, number] {
  const sorted = [...values].sort((left, right) => left - right);
  const skipped = Math.floor(sorted.length * 0.05);
  return [sorted[skipped]!, sorted[sorted.length - 1 - skipped]!];
}
