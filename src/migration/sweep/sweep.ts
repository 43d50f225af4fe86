import { UsageError } from '../../core/index.ts';
import { parseWorkload } from '../../workload/index.ts';
import { downtimeLimitOf, meetsLimit } from '../advise.ts';
import type { RehearsalTask } from '../parallel/messages.ts';
import { RehearsalPool, type RehearsalPoolOptions } from '../parallel/pool.ts';
import { recordWorkload } from '../recording/record-workload.ts';
import { repetitions, summarize } from '../rehearse.ts';
import type { RehearsalOptions } from '../rehearse-once.ts';
import type { MemorySource } from '../source.ts';
import { frontierOf } from './frontier.ts';
import type { AxisValue, SweepAxis, SweepCell, SweepResult } from './result.ts';

export interface SweepOptions extends RehearsalPoolOptions {
  /** Rehearsals of each combination; more than one give intervals. */
  readonly runs?: number;
}

/** One value for each axis, by the axis's name. */
export type Combination = Readonly<Record<string, AxisValue['value']>>;

/** So long a workload is recorded; a migration that takes longer goes over the recording again. */
const RECORDED_MICROSECONDS = 60e6;
/** A combination that needs more than so many times one pass is none to be looked for. */
const PATIENCE_PASSES = 4;

/**
 * Rehearses every combination of the axes' values, all from one recording.
 * @param source a workload is recorded first.
 * @param optionsFor makes the options of a rehearsal out of a combination.
 * @throws UsageError naming the combination that no migration can have; the signal's reason if it is aborted.
 */
export async function sweep(
  source: MemorySource,
  axes: readonly SweepAxis[],
  optionsFor: (combination: Combination) => RehearsalOptions,
  { runs = 1, ...others }: SweepOptions = {},
): Promise<SweepResult> {
  const combinations = combinationsOf(axes);
  const options = combinations.map((indices) => ({
    patiencePasses: PATIENCE_PASSES,
    ...namedOptions(axes, indices, optionsFor),
  }));
  const recorded = source.kind === 'recording' ? source : await record(source, others.signal);
  const pool = new RehearsalPool(recorded, others);
  try {
    // Some options mean nothing to some policies: such combinations are one and the same rehearsal.
    const tasks = new Map<string, { readonly first: number; readonly tasks: RehearsalTask[] }>();
    const keys = options.map((each) => JSON.stringify(each));
    let count = 0;
    for (const [index, key] of keys.entries()) {
      if (tasks.has(key)) continue;
      tasks.set(key, { first: count, tasks: repetitions(options[index]!, runs) });
      count += runs;
    }
    const outcomes = await pool.outcomes([...tasks.values()].flatMap((each) => each.tasks));
    const cells = combinations.map((indices, index): SweepCell => {
      const { first } = tasks.get(keys[index]!)!;
      const rehearsal = summarize(outcomes.slice(first, first + runs));
      const { verdict, convergence, totalMicroseconds, downtimeMicroseconds, transferredBytes } = rehearsal;
      return {
        indices,
        verdict,
        meetsLimit: meetsLimit(rehearsal, downtimeLimitOf(options[index]!)),
        convergence,
        totalMicroseconds,
        downtimeMicroseconds,
        transferredBytes,
        rounds: rehearsal.rounds.length,
        service: rehearsal.service,
        bandwidthBytesPerSecond: linkBandwidth(options[index]!),
        ...(runs > 1 ? { intervals: rehearsal.intervals } : {}),
      };
    });
    return { axes, runs, cells, frontier: frontierOf(cells) };
  } finally {
    await pool.close();
  }
}

/** Indices of all combinations; the last axis counts fastest. */
function combinationsOf(axes: readonly SweepAxis[]): number[][] {
  return axes.reduce<number[][]>(
    (combinations, { values }) =>
      combinations.flatMap((indices) => values.map((_, index) => [...indices, index])),
    [[]],
  );
}

function namedOptions(
  axes: readonly SweepAxis[],
  indices: readonly number[],
  optionsFor: (combination: Combination) => RehearsalOptions,
): RehearsalOptions {
  const chosen = axes.map(({ name, values }, axis) => ({ name, ...values[indices[axis]!]! }));
  try {
    return optionsFor(Object.fromEntries(chosen.map(({ name, value }) => [name, value])));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const names = chosen.map(({ name, label }) => `${name}=${label}`).join(',');
    throw new UsageError(`${names}: ${error.message}`, error.hint === undefined ? {} : { hint: error.hint });
  }
}

async function record(
  { path, text, warmUpMicroseconds }: Extract<MemorySource, { kind: 'workload' }>,
  signal: AbortSignal | undefined,
): Promise<MemorySource> {
  const recording = await recordWorkload(parseWorkload(text, path), {
    warmUpMicroseconds,
    durationMicroseconds: RECORDED_MICROSECONDS,
    ...(signal === undefined ? {} : { signal }),
  });
  return { kind: 'recording', recording };
}

/** What the link carries at its best. */
function linkBandwidth({ link }: RehearsalOptions): number {
  return Math.max(link.bytesPerSecond, ...(link.profile ?? []).map((step) => step.bytesPerSecond));
}
