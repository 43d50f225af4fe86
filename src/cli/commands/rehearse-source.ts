import { basename } from 'node:path';
import { parseTarget, readWorkloadFile } from '../../checkpoint/index.ts';
import { formatDuration, UsageError } from '../../core/index.ts';
import { loadRecording, type MemorySource, recordLive } from '../../migration/index.ts';
import { parseWorkload } from '../../workload/index.ts';
import type { CommandContext } from '../context.ts';
import { isSentByCkpt, type MeasuredCosts, type RehearseOptions } from './rehearse-options.ts';

/** What is rehearsed, and what was found out about it. */
export interface RehearsedSource {
  readonly source: MemorySource;
  /** For people. */
  readonly name: string;
  /** Costs that were measured here with pages of the target. */
  readonly costs: MeasuredCosts;
  /** What is to be known about how it was recorded. */
  readonly notes: readonly string[];
}

/**
 * Opens what the options name: a workload, a trace, or a live process, which is watched first.
 * @throws UsageError, WorkloadError, TargetError, IntegrityError, StoreVersionError
 */
export async function openRehearsed(
  context: CommandContext,
  options: RehearseOptions,
): Promise<RehearsedSource> {
  const { target, trace } = options;
  if ((target === undefined) === (trace === undefined)) {
    throw new UsageError(
      target === undefined ? 'nothing to rehearse' : 'a target and a trace cannot be rehearsed together',
      { hint: 'name either a target (-t) or a trace (--trace)' },
    );
  }
  if (trace !== undefined) {
    const recording = await loadRecording(trace, context.signals.signal);
    const name = `${recording.target} (${basename(trace)})`;
    return { source: { kind: 'recording', recording }, name, costs: {}, notes: [] };
  }
  const specification = parseTarget(target!);
  if (specification.kind === 'live') return watchLive(context, specification.pid, options);
  const { path } = specification;
  const text = readWorkloadFile(path);
  const { name } = parseWorkload(text, path);
  return {
    source: { kind: 'workload', path, text, warmUpMicroseconds: options.after },
    name: `sim:${name}`,
    costs: {},
    notes: [],
  };
}

async function watchLive(
  context: CommandContext,
  pid: number,
  options: RehearseOptions,
): Promise<RehearsedSource> {
  const { recording, costs, sending, trackerReason, frozenMicroseconds } = await recordLive({
    pid,
    single: options.single === true,
    tracker: options.tracker,
    durationMicroseconds: options.observe,
    intervalMicroseconds: options.interval,
    ...(isSentByCkpt(options) ? { sending: { compression: options.compress } } : {}),
    signal: context.signals.signal,
    onStop: (release) => context.signals.onSignal(release),
    onStep: () => context.progress.update({ phase: 'watching the target' }),
  });
  const { total, longest } = frozenMicroseconds;
  context.detail(1, trackerReason);
  return {
    source: { kind: 'recording', recording },
    name: recording.target,
    costs: sending === undefined ? costs : { ...costs, sending },
    notes: [
      `watched for ${formatDuration(recording.microseconds)}; meanwhile it stood still for ${formatDuration(total)} altogether, ${formatDuration(longest)} at a time`,
    ],
  };
}
