import type { StoredVma } from '../../../image/index.ts';
import type { PagemapEntries } from '../images/types.ts';
import { objectsOf } from './objects.ts';
import type { DirectoryState, ProcessMappings, StateSource } from './types.ts';

/** Mappings that are made up for a process at most: they are listed in every manifest. */
const MAX_MAPPINGS = 4096;

/** A pre-dump has memory only: mappings are made up around its pages. */
export function preDumpState({ memories }: StateSource): DirectoryState {
  const processes = memories.flatMap(({ object, entries }): ProcessMappings[] =>
    object.kind === 'task'
      ? [{ pid: object.pid, parentPid: 0, name: '', vmas: mappingsAround(entries), sharedRanges: [] }]
      : [],
  );
  return { state: undefined, processes, objects: objectsOf(memories, [], undefined), missingObjects: [] };
}

/** Ranges that touch are one mapping; where there are too many, those that are close. */
function mappingsAround(entries: PagemapEntries): StoredVma[] {
  for (let gapPages = 0; ; gapPages = Math.max(1, gapPages * 2)) {
    const vmas = joined(entries, gapPages);
    if (vmas !== undefined) return vmas;
  }
}

/** @returns undefined if there are too many */
function joined({ startPages, pageCounts }: PagemapEntries, gapPages: number): StoredVma[] | undefined {
  const vmas: StoredVma[] = [];
  const count = startPages.length;
  for (let index = 0; index < count; ) {
    const start = startPages[index]!;
    let end = start + pageCounts[index]!;
    for (index++; index < count && startPages[index]! - end <= gapPages; index++) {
      end = startPages[index]! + pageCounts[index]!;
    }
    if (vmas.length === MAX_MAPPINGS) return undefined;
    vmas.push(privateMapping(start, end));
  }
  return vmas;
}

function privateMapping(startPage: number, endPage: number): StoredVma {
  return {
    startPage,
    endPage,
    read: true,
    write: true,
    execute: false,
    shared: false,
    offsetPages: 0,
    deviceMajor: 0,
    deviceMinor: 0,
    inode: 0,
    pathname: '',
    flags: [],
  };
}
