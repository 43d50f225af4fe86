import { PAGE_SIZE, PageRangeList } from '../core/index.ts';
import {
  FILE_HEADER_BYTES,
  type LoadSegment,
  needsExtendedCount,
  PROGRAM_HEADER_BYTES,
  SECTION_HEADER_BYTES,
  SEGMENT_FLAG,
} from './elf.ts';

/**
 * What the pages of a mapping are that the checkpoint does not hold. `zeros`: never written. `file`: as in the file
 * that is mapped there, where a debugger finds them by the file note. `nowhere`: not to be had, so that a debugger
 * should say so instead of showing zeros.
 */
export type AbsentPages = 'zeros' | 'file' | 'nowhere';

/** A mapping on its way into a core file. */
export interface CoreMapping {
  readonly startPage: number;
  /** Exclusive. */
  readonly endPage: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly execute: boolean;
  readonly absent: AbsentPages;
  /** Contents of the first page, where they are not in the checkpoint but known all the same. */
  readonly firstPage?: Uint8Array | undefined;
}

/** Where everything lies in a core file. */
export interface CoreLayout {
  readonly programHeaders: number;
  readonly notesOffsetBytes: number;
  readonly notesBytes: number;
  /** Where the contents of the first segment begin: a multiple of the page size. */
  readonly memoryOffsetBytes: number;
  readonly sizeBytes: number;
}

/**
 * Pages of zeros that are worth a segment of their own. Fewer are a hole in the sparse file; a mapping of terabytes
 * with a page here and there would make a file longer than file systems allow.
 */
const LEAST_GAP_PAGES = 256;

/**
 * The segments of a core in address order; their contents lie in the file in the same order, without gaps. They are
 * computed again in each pass instead of kept: there may be as many as pages.
 * @param present the pages that the checkpoint holds.
 */
export function* coreSegments(
  mappings: readonly CoreMapping[],
  present: PageRangeList,
  memoryOffsetBytes: number,
): Generator<LoadSegment> {
  let offsetBytes = memoryOffsetBytes;
  for (const mapping of mappings) {
    const flags = flagsOf(mapping);
    const stored = storedRuns(mapping, present);
    let startPage = mapping.startPage;
    for (let run = 0; run < stored.rangeCount; run++) {
      const runStart = stored.startPage(run);
      if (runStart > startPage && mapping.absent !== 'nowhere') {
        yield { startPage, memoryPages: runStart - startPage, storedPages: 0, offsetBytes, flags };
      }
      const storedPages = stored.endPage(run) - runStart;
      const next = run + 1 < stored.rangeCount ? stored.startPage(run + 1) : mapping.endPage;
      const memoryPages = mapping.absent === 'nowhere' ? storedPages : next - runStart;
      yield { startPage: runStart, memoryPages, storedPages, offsetBytes, flags };
      offsetBytes += storedPages * PAGE_SIZE;
      startPage = next;
    }
    if (stored.rangeCount === 0 && mapping.absent !== 'nowhere') {
      const memoryPages = mapping.endPage - mapping.startPage;
      yield { startPage, memoryPages, storedPages: 0, offsetBytes, flags };
    }
  }
}

/** Places headers, notes and memory in the file. */
export function planCore(
  mappings: readonly CoreMapping[],
  present: PageRangeList,
  notesBytes: number,
): CoreLayout {
  let programHeaders = 1;
  let memoryBytes = 0;
  for (const segment of coreSegments(mappings, present, 0)) {
    programHeaders++;
    memoryBytes += segment.storedPages * PAGE_SIZE;
  }
  const notesOffsetBytes =
    FILE_HEADER_BYTES +
    programHeaders * PROGRAM_HEADER_BYTES +
    (needsExtendedCount(programHeaders) ? SECTION_HEADER_BYTES : 0);
  const memoryOffsetBytes = Math.ceil((notesOffsetBytes + notesBytes) / PAGE_SIZE) * PAGE_SIZE;
  return {
    programHeaders,
    notesOffsetBytes,
    notesBytes,
    memoryOffsetBytes,
    sizeBytes: memoryOffsetBytes + memoryBytes,
  };
}

/** Pages of a mapping that get room in the file. */
function storedRuns(mapping: CoreMapping, present: PageRangeList): PageRangeList {
  const { startPage, endPage, absent, firstPage } = mapping;
  const held = present.within(startPage, endPage);
  if (absent === 'zeros') return withoutSmallGaps(held, startPage);
  if (firstPage === undefined) return held;
  return PageRangeList.of({ startPage, endPage: startPage + 1 }).union(held);
}

/** Joins runs across small gaps, also the gap between `startPage` and the first of them. */
function withoutSmallGaps(runs: PageRangeList, startPage: number): PageRangeList {
  const joined = new PageRangeList();
  let start = startPage;
  let end = startPage;
  for (const run of runs) {
    if (run.startPage - end >= LEAST_GAP_PAGES) {
      joined.append(start, end);
      start = run.startPage;
    }
    end = run.endPage;
  }
  joined.append(start, end);
  return joined;
}

function flagsOf({ read, write, execute }: CoreMapping): number {
  return (
    (read ? SEGMENT_FLAG.read : 0) | (write ? SEGMENT_FLAG.write : 0) | (execute ? SEGMENT_FLAG.execute : 0)
  );
}
