import { Random, UsageError } from '../core/index.ts';
import { type Advice, advise, meetsLimit } from './advise.ts';
import { USUAL_COSTS } from './costs.ts';
import { scaledLink } from './link.ts';
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

/** Share by which a link's bandwidth is off what is said of it. */
const USUAL_LINK_UNCERTAINTY = 0.02;

export interface RepetitionOptions {
  /** How often to rehearse. */
  readonly runs: number;
  readonly signal?: AbortSignal;
  /** Whether to look for changes that help if it misses its limit. */
  readonly withAdvice?: boolean;
}

/**
 * Rehearses a migration several times, each time with another history of the same program and another state of the
 * network.
 * @param open gives the memory of run number `run`, from 0.
 * @throws UsageError for options that no migration can have; the signal's reason if it is aborted.
 */
export async function rehearse(
  open: (run: number) => Promise<MigratingMemory>,
  options: RehearsalOptions,
  { runs, signal, withAdvice = true }: RepetitionOptions,
): Promise<Rehearsal> {
  if (!Number.isInteger(runs) || runs < 1) throw new UsageError(`${runs} rehearsals cannot be made`);
  const outcomes: Outcome[] = [];
  for (let run = 0; run < runs; run++) {
    signal?.throwIfAborted();
    outcomes.push(rehearseOnce(await open(run), disturbed(options, run)));
  }
  const value: Record<IntervalName, (outcome: Outcome) => number> = {
    totalMicroseconds: (outcome) => outcome.totalMicroseconds,
    downtimeMicroseconds: (outcome) => outcome.downtimeMicroseconds,
    transferredBytes: (outcome) => outcome.transferredBytes,
    rounds: (outcome) => outcome.rounds.length,
  };
  const converged = outcomes.filter((outcome) => outcome.verdict === 'converges');
  // A run that was given up has no downtime, and a time that says nothing.
  const told = converged.length > 0 ? converged : outcomes;
  const interval = (name: IntervalName) => ninety(told.map(value[name]));
  const first = outcomes[0]!;
  const content = !withAdvice || meetsLimit(first, downtimeLimitOf(options));
  return {
    ...first,
    runs,
    convergence: converged.length / runs,
    intervals: {
      totalMicroseconds: interval('totalMicroseconds'),
      downtimeMicroseconds: interval('downtimeMicroseconds'),
      transferredBytes: interval('transferredBytes'),
      rounds: interval('rounds'),
    },
    advice: content ? [] : await advise(() => open(0), options, signal),
  };
}

/** Only QEMU has a limit that can be missed. */
function downtimeLimitOf({ choice }: RehearsalOptions): number {
  if (choice.policy !== 'qemu') return Number.POSITIVE_INFINITY;
  return choice.options?.downtimeLimitMicroseconds ?? QEMU_DEFAULTS.downtimeLimitMicroseconds;
}

/**
 * What cannot be known beforehand, drawn anew for each run: the network, the program's pace and how busy the hosts are
 * when the guest is stopped and resumed. The first run has everything as it is given.
 */
function disturbed(options: RehearsalOptions, run: number): RehearsalOptions {
  if (run === 0) return options;
  const random = new Random(run);
  const between = (low: number, high: number) => low + (high - low) * random.nextFraction();
  // Hosts are mostly idle and sometimes busy: small values often, large ones seldom.
  const seldom = (high: number) => high * random.nextFraction() ** 3;
  const costs = { ...USUAL_COSTS, ...options.costs };
  const { uncertainty = USUAL_LINK_UNCERTAINTY } = options.link;
  return {
    ...options,
    link: { ...scaledLink(options.link, between(1 - uncertainty, 1 + uncertainty)), jitterSeed: run },
    pace: (options.pace ?? 1) * between(0.93, 1.05),
    costs: {
      ...costs,
      wakeMicroseconds: costs.wakeMicroseconds * between(0, 1) + seldom(2000),
      stopMicroseconds: costs.stopMicroseconds * between(0.2, 1) + seldom(30_000),
      resumeMicroseconds: costs.resumeMicroseconds * between(0.1, 1) + seldom(40_000),
      pageNanoseconds: costs.pageNanoseconds * between(0.3, 2),
    },
  };
}

/**
 * Bounds between which another value falls in at least 90 % of cases, by the order of those that are known. Less than
 * 19 values cannot promise that: theirs are the smallest and the largest.
 */
function ninety(values: readonly number[]): [number, number] {
  const sorted = [...values].sort((left, right) => left - right);
  const skipped = Math.max(0, Math.floor((sorted.length + 1) * 0.05) - 1);
  return [sorted[skipped]!, sorted[sorted.length - 1 - skipped]!];
}
