import { PAGE_SIZE } from '../../../core/index.ts';
import type { MemoryImage } from '../images/types.ts';
import type { DumpContext } from './dump-context.ts';
import type { ProcessMappings, SharedObject } from './types.ts';

/**
 * The objects of shared memory that have an image.
 * @param context absent for a pre-dump, which tells nothing of them
 */
export function objectsOf(
  memories: readonly MemoryImage[],
  processes: readonly ProcessMappings[],
  context: DumpContext | undefined,
): SharedObject[] {
  const objects = new Map<string, SharedObject>();
  for (const { object, entries } of memories) {
    if (object.kind !== 'shmem') continue;
    const last = entries.startPages.length - 1;
    const pageCount = last < 0 ? 0 : entries.startPages[last]! + entries.pageCounts[last]!;
    objects.set(object.id, { id: object.id, name: nameOfUnknown(object.id), pageCount });
  }
  const enlarge = (id: string, pageCount: number, name: string) => {
    const object = objects.get(id);
    if (object === undefined) return;
    objects.set(id, { id, name, pageCount: Math.max(object.pageCount, pageCount) });
  };
  for (const { vmas, sharedRanges } of processes) {
    let next = 0;
    for (const { startPage, endPage, objectId, objectPage } of sharedRanges) {
      while (vmas[next]!.startPage < startPage) next++;
      const name = vmas[next]!.pathname.replace(/ \(deleted\)$/, '');
      enlarge(objectId, objectPage + endPage - startPage, name);
    }
  }
  for (const file of context?.files.memfds() ?? []) {
    enlarge(file.objectId, Math.ceil(file.sizeBytes / PAGE_SIZE), file.path.replace(/ \(deleted\)$/, ''));
  }
  for (const [id, { key, bytes }] of context?.segments ?? []) {
    enlarge(String(id), Math.ceil(bytes / PAGE_SIZE), segmentName(key));
  }
  return [...objects.values()].filter(({ pageCount }) => pageCount > 0);
}

/** What an object is called of which the images say nothing. */
export const nameOfUnknown = (id: string) => `shared memory ${id}`;

/** As a mapping of a segment of System V shared memory is called (ipc/shm.c, newseg). */
export function segmentName(key: number): string {
  return `/SYSV${(key >>> 0).toString(16).padStart(8, '0')}`;
}
