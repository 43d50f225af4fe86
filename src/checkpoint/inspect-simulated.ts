import { formatMapsLine } from '../procfs/index.ts';
import { openSimulatedTarget, type PagemapRow, pagemapRows, type Target } from '../target/index.ts';
import { readWorkloadFile, restoreSimulated } from './open-target.ts';
import { type CheckpointName, openNamed, readStore } from './read-store.ts';

/** Which simulated process to look at: one that starts from its workload file, or one of a checkpoint. */
export type SimulatedSource =
  | { readonly workloadPath: string }
  | { readonly storeDirectory: string; readonly checkpoint: CheckpointName };

/** What /proc shows of a simulated process. */
export interface SimulatedProcess {
  readonly pid: number;
  readonly name: string;
  /** The text of /proc/PID/maps. */
  readonly maps: string;
  /** /proc/PID/pagemap, decoded; pages without any bit are left out. */
  readonly pagemap: readonly PagemapRow[];
}

/**
 * Looks at the processes of a simulated target, after letting it run for some virtual time.
 * @throws WorkloadError, TargetError, StoreNotFoundError, CheckpointNotFoundError.
 */
export async function inspectSimulated(
  source: SimulatedSource,
  runMicroseconds: number,
  signal?: AbortSignal,
): Promise<SimulatedProcess[]> {
  if ('workloadPath' in source) {
    const { workloadPath } = source;
    return look(openSimulatedTarget(readWorkloadFile(workloadPath), workloadPath), runMicroseconds, signal);
  }
  return readStore(
    source.storeDirectory,
    async (store) => {
      const reader = await openNamed(store, source.checkpoint);
      return look(await restoreSimulated(reader), runMicroseconds, signal);
    },
    0,
  );
}

async function look(
  target: Target,
  runMicroseconds: number,
  signal?: AbortSignal,
): Promise<SimulatedProcess[]> {
  try {
    await target.run(runMicroseconds, signal);
    return target.processes().map((view) => {
      const vmas = view.vmas();
      const maps = vmas.map((vma) => `${formatMapsLine(vma)}\n`).join('');
      return { pid: view.pid, name: view.name, maps, pagemap: pagemapRows(view, vmas) };
    });
  } finally {
    await target.close();
  }
}
