import type { SharedObjectNumbers } from '../images/shared-objects.ts';
import type { MemoryImage } from '../images/types.ts';
import type { ListedMemory } from '../listing.ts';
import { PAGE_FLAGS } from './protocol.ts';

/** A received pagemap as if CRIU's page server had written it: there is no pages file. */
export function imageOf({ name, pid, sharedMemory, pagesId, runs }: ListedMemory): MemoryImage {
  const dataPages = new Float64Array(runs.flags.length);
  let presentPages = 0;
  for (const [run, flags] of runs.flags.entries()) {
    dataPages[run] = presentPages;
    if ((flags & PAGE_FLAGS.present) !== 0) presentPages += runs.pageCounts[run] ?? 0;
  }
  return {
    object: sharedMemory === null ? { kind: 'task', pid } : { kind: 'shmem', id: sharedMemory },
    name,
    pagesId,
    pagesPath: '',
    entries: { ...runs, dataPages },
    presentPages,
    hasHoles: false,
  };
}

/** The numbers that objects of shared memory have where their pages are stored. */
export function objectNumbersOf(listed: readonly ListedMemory[]): Pick<SharedObjectNumbers, 'pidOf'> {
  const pids = new Map(listed.map(({ sharedMemory, pid }) => [sharedMemory, pid]));
  return {
    pidOf: (id) => {
      const pid = pids.get(id);
      if (pid === undefined) throw new RangeError(`shared memory ${id} has no pages`);
      return pid;
    },
  };
}
