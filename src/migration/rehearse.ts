import { UsageError } from '../core/index.ts';
import { type Advice, advise, downtimeLimitOf, meetsLimit } from './advise.ts';
import { USUAL_COSTS } from './costs.ts';
import { scaledLink } from './link.ts';
import type { Outcome } from './outcome.ts';
import type { RehearsalTask } from './parallel/messages.ts';
import { type OpenMemory, RehearsalPool } from './parallel/pool.ts';
import type { RehearsalOptions } from './rehearse-once.ts';
import { disturbedSending } from './send/sending-costs.ts';
import type { MemorySource } from './source.ts';

/** What one rehearsal predicts, and between which bounds several of them lie. */
export interface Rehearsal extends Outcome {
  /** Seeds that the figures come from; the first one is shown in full. */
  readonly runs: number;
  /** Share of the runs that converge. */
  readonly convergence: number;
  /** 90 % intervals over the runs that converge, [low, high]; of less than 19, the least and the most. */
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
  /** Threads; 0: none but the calling one. By default as many as there are cores, where it pays. */
  readonly workers?: number;
  /** Is told after each rehearsal how many are done. */
  readonly onDone?: (done: number) => void;
  /** Whether to look for changes that help if it misses its limit. */
  readonly withAdvice?: boolean;
}

/**
 * Rehearses a migration several times, each time with another history of the same program and another state of the
 * network.
 * @param memory where it comes from; a source is rehearsed by several threads where that pays, a function is called here.
 * @throws UsageError for options that no migration can have; the signal's reason if it is aborted.
 */
export async function rehearse(
  memory: MemorySource | OpenMemory,
  options: RehearsalOptions,
  { runs, withAdvice = true, ...others }: RepetitionOptions,
): Promise<Rehearsal> {
  if (!Number.isInteger(runs) || runs < 1) throw new UsageError(`${runs} rehearsals cannot be made`);
  const pool = new RehearsalPool(memory, others);
  try {
    const outcomes = await pool.outcomes(repetitions(options, runs));
    const rehearsal = summarize(outcomes);
    if (!withAdvice || meetsLimit(rehearsal, downtimeLimitOf(options))) return rehearsal;
    return { ...rehearsal, advice: await advise(pool, options, rehearsal) };
  } finally {
    await pool.close();
  }
}

/** So many rehearsals under the same conditions, as far as they can be the same. */
export function repetitions(options: RehearsalOptions, runs: number): RehearsalTask[] {
  return Array.from({ length: runs }, (_, run) => ({ run, options: disturbed(options, run) }));
}

/** What several outcomes say together, without advice. */
export function summarize(outcomes: readonly Outcome[]): Rehearsal {
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
  return {
    ...outcomes[0]!,
    runs: outcomes.length,
    convergence: converged.length / outcomes.length,
    intervals: {
      totalMicroseconds: interval('totalMicroseconds'),
      downtimeMicroseconds: interval('downtimeMicroseconds'),
      transferredBytes: interval('transferredBytes'),
      rounds: interval('rounds'),
    },
    advice: [],
  };
}

/**
 * What cannot be known beforehand, drawn anew for each run: the network, the program's pace and how busy the hosts are
 * when the guest is stopped and resumed. The first run has everything as it is given.
 */
function disturbed(options: RehearsalOptions, run: number): RehearsalOptions {
  if (run === 0) return options;
  let dimension = 0;
  const fraction = () => spreadFraction(run, dimension++);
  const between = (low: number, high: number) => low + (high - low) * fraction();
  // Hosts are mostly idle and sometimes busy: small values often, large ones seldom.
  const seldom = (high: number) => high * fraction() ** 3;
  const costs = { ...USUAL_COSTS, ...options.costs };
  const { uncertainty = USUAL_LINK_UNCERTAINTY } = options.link;
  return {
    ...options,
    link: { ...scaledLink(options.link, between(1 - uncertainty, 1 + uncertainty)), jitterSeed: run },
    pace: (options.pace ?? 1) * between(0.93, 1.05),
    costs: {
      ...costs,
      wakeMicroseconds: costs.wakeMicroseconds * between(0, 1) + seldom(5000),
      stopMicroseconds: costs.stopMicroseconds * between(0.1, 1) + seldom(30_000),
      resumeMicroseconds: costs.resumeMicroseconds * between(0.02, 1) + seldom(40_000),
      pageNanoseconds: costs.pageNanoseconds * between(0.3, 2),
    },
    ...(options.sending === undefined ? {} : { sending: disturbedSending(options.sending, run) }),
  };
}

/** What is unknown of a run: the link, the pace, five costs, and how busy the hosts are three times. */
const DIMENSIONS = 9;
/** The positive root of x^10 = x + 1. */
const SPREAD_BASE = spreadBase(DIMENSIONS);

function spreadBase(dimensions: number): number {
  let base = 1.5;
  for (let step = 0; step < 60; step++) base = (1 + base) ** (1 / (dimensions + 1));
  return base;
}

/**
 * A number of [0, 1) for one unknown of one run. Over the runs each of them is spread evenly, and so is every pair of
 * them (an additive recurrence with Roberts' base): drawn by chance, a few runs may well miss the ends that are possible.
 */
function spreadFraction(run: number, dimension: number): number {
  return (0.5 + run * SPREAD_BASE ** -(dimension + 1)) % 1;
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
