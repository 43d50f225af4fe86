import { TargetError, UnsupportedError } from '../core/index.ts';
import { openLiveTarget, type ProcessView } from '../target/index.ts';

/** What became of one process. */
export interface UntrackedProcess {
  readonly pid: number;
  readonly name: string;
  /** `none`: it was not tracked. `failed`: `problem` says why it still is. */
  readonly outcome: 'removed' | 'none' | 'failed';
  readonly problem?: string;
}

export interface UntrackRequest {
  readonly pid: number;
  /** The process alone, without its descendants. */
  readonly single?: boolean;
  /** Given what lets the stopped processes go on at once; returns what takes that back. */
  readonly onStop?: (release: () => void) => () => void;
}

/**
 * Removes what the tracker pagemap-scan keeps inside a process and its descendants: write protection of its mappings,
 * the userfaultfd and the record beside it. The processes stand still meanwhile.
 * @throws TargetError, UnsupportedError if the process cannot be opened or stopped
 */
export async function untrackProcesses(request: UntrackRequest): Promise<UntrackedProcess[]> {
  const target = await openLiveTarget(request.pid, { single: request.single === true });
  const withdraw = request.onStop?.(() => target.thaw());
  try {
    await target.freeze();
    return target.processes().map(untrack);
  } finally {
    withdraw?.();
    await target.close();
  }
}

function untrack(view: ProcessView): UntrackedProcess {
  const { pid, name } = view;
  try {
    const removed = view.writeProtection?.remove(view.vmas()) === true;
    return { pid, name, outcome: removed ? 'removed' : 'none' };
  } catch (error) {
    if (!(error instanceof TargetError || error instanceof UnsupportedError)) throw error;
    return { pid, name, outcome: 'failed', problem: error.message };
  }
}
