import type { StoredVma } from '../../image/index.ts';
import type { NewProcess } from '../../store/index.ts';
import type { SharedObjectNumbers } from './images/shared-objects.ts';
import type { MemoryImage } from './images/types.ts';
import type { DirectoryState } from './state/types.ts';

/**
 * The processes and shared memory objects of a directory as the store has them, objects first.
 * @param newest the state of the last directory of its chain: a pre-dump says neither how processes are called nor who
 *   their parents are
 */
export function storedProcesses(
  memories: readonly MemoryImage[],
  known: DirectoryState,
  newest: Pick<DirectoryState, 'processes'>,
  numbers: Pick<SharedObjectNumbers, 'pidOf'>,
): NewProcess[] {
  const objects = memories.flatMap(({ object }): NewProcess[] => {
    if (object.kind !== 'shmem') return [];
    const { id } = object;
    // One without pages is unknown there; it has an image all the same.
    const { name, pageCount } = known.objects.find((one) => one.id === id) ?? { name: '', pageCount: 1 };
    const vmas = [objectMapping(pageCount, name)];
    return [{ pid: numbers.pidOf(id), parentPid: 0, name, sharedMemory: id, vmas }];
  });
  const later = new Map(newest.processes.map((process) => [process.pid, process]));
  const processes = known.processes.map(({ pid, parentPid, name, vmas, sharedRanges }): NewProcess => {
    const named = name === '' ? later.get(pid) : undefined;
    return {
      pid,
      parentPid: named?.parentPid ?? parentPid,
      name: named?.name ?? name,
      vmas,
      sharedRanges: sharedRanges.map(({ startPage, endPage, objectId, objectPage }) => ({
        startPage,
        endPage,
        objectPid: numbers.pidOf(objectId),
        objectPage,
      })),
    };
  });
  return [...objects, ...processes];
}

function objectMapping(pageCount: number, pathname: string): StoredVma {
  return {
    startPage: 0,
    endPage: pageCount,
    read: true,
    write: true,
    execute: false,
    shared: true,
    offsetPages: 0,
    deviceMajor: 0,
    deviceMinor: 0,
    inode: 0,
    pathname,
    flags: [],
  };
}
