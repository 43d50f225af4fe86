import { readFileSync } from 'node:fs';
import { TargetError, UsageError } from '../core/index.ts';
import type { CheckpointReader, Store } from '../store/index.ts';
import { openLiveTarget, openSimulatedTarget, restoreSimulatedTarget, type Target } from '../target/index.ts';
import { requireNewest, requireSameTarget } from './parent.ts';

/** What `-t` names: a workload file to simulate, or a process. */
export type TargetSpecification =
  | { readonly kind: 'simulated'; readonly path: string }
  | { readonly kind: 'live'; readonly pid: number };

/**
 * Parses `sim:FILE` or a PID.
 * @throws UsageError for anything else.
 */
export function parseTarget(text: string): TargetSpecification {
  if (text.startsWith('sim:') && text.length > 4) return { kind: 'simulated', path: text.slice(4) };
  const pid = Number(text);
  if (/^\d+$/.test(text) && pid > 0 && pid <= 4_194_304) return { kind: 'live', pid };
  throw new UsageError(`'${text}' names no target`, {
    hint: 'a target is the PID of a live process, or sim:FILE for a workload file',
  });
}

/**
 * Opens what `-t` names: a live process as it is, a simulated one at the beginning of its program.
 * @throws UsageError, WorkloadError, TargetError, UnsupportedError.
 */
export async function openFreshTarget(
  specification: TargetSpecification,
  { single }: { readonly single?: boolean },
): Promise<Target> {
  if (specification.kind === 'live') return openLiveTarget(specification.pid, { single: single === true });
  if (single === true) {
    throw new UsageError(
      '--single is for live processes: a workload file says itself which programs it runs',
    );
  }
  return openSimulatedTarget(readWorkloadFile(specification.path), specification.path);
}

/**
 * Opens the target of a dump. A live process is as it is; a simulated one starts its program, or, for a delta, goes on
 * from the newest checkpoint of the store: that is where it lives between two commands.
 * @throws UsageError, WorkloadError, TargetError, UnsupportedError.
 */
export async function openTarget(
  specification: TargetSpecification,
  store: Store,
  options: { readonly incremental: boolean; readonly single?: boolean },
): Promise<Target> {
  const fresh = await openFreshTarget(specification, options);
  if (specification.kind === 'live' || !options.incremental) return fresh;
  const newest = await requireNewest(store);
  requireSameTarget(newest, fresh.identity);
  return restoreSimulated(await store.openCheckpoint(newest.number));
}

/**
 * The simulated target of a checkpoint, as it was then.
 * @throws TargetError if the checkpoint is of a live process.
 */
export async function restoreSimulated(reader: CheckpointReader): Promise<Target> {
  const { state, target, number } = reader.manifest;
  const bytes = await reader.state();
  if (state === null || bytes === undefined || target.kind !== 'simulated') {
    throw new TargetError(`checkpoint ${number} is of ${target.name}, which is not simulated`, {
      hint: 'only a simulated process can go on from a checkpoint; --to DIR writes the memory of any',
      data: { checkpoint: number },
    });
  }
  return restoreSimulatedTarget({ format: state.format, bytes });
}

/**
 * Reads a workload file.
 * @throws UsageError if it cannot be read.
 */
export function readWorkloadFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(`cannot read the workload file ${path}: ${(error as Error).message}`, {
      hint: 'a simulated target is written sim:FILE, where FILE is a workload in YAML',
      data: { path },
      cause: error,
    });
  }
}
