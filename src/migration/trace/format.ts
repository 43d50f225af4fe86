import { type ByteReader, type ByteWriter, PageRangeList } from '../../core/index.ts';
import type { MapsEntry } from '../../procfs/index.ts';

/** First bytes of every trace file. */
export const TRACE_MAGIC = 'ckpttrac';
/** The version that this ckpt writes, and the only one that it reads. */
export const TRACE_FORMAT_VERSION = 1;
/** Kind of block, in its header. */
export const BLOCK_KIND = { header: 1, records: 2, seal: 3 } as const;
/** Bytes of a block's header. */
export const BLOCK_HEADER_BYTES = 18;
/** Kind of record, its first byte. */
export const RECORD_KIND = {
  process: 1,
  ended: 2,
  unmapped: 3,
  mapped: 4,
  resident: 5,
  zero: 6,
  written: 7,
  gone: 8,
  samples: 9,
  step: 10,
} as const;

/** What a recording is of. */
export interface TraceHeader {
  /** `sim:kv-store.yaml`, or `1234 (redis-server)`. */
  readonly target: string;
  readonly kind: 'simulated' | 'live';
  /** How written pages were found: the name of a tracker. */
  readonly tracker: string;
  /** Bytes. */
  readonly pageSize: number;
  /** Time between two scans, as it was asked for. */
  readonly intervalMicroseconds: number;
  /** What times are told by: the virtual time of a simulation, or a clock of the machine that never goes back. */
  readonly clock: 'virtual' | 'monotonic';
}

/** A process that is there from this step on. */
export interface TraceProcess {
  readonly pid: number;
  readonly parentPid: number;
  readonly name: string;
}

/** A page whose content was measured. */
export interface PageSample {
  readonly page: number;
  /** As a zstd frame of its own at level 1; 0 for a page of zeros. */
  readonly compressedBytes: number;
  /**
   * What turned the content of the sample before into this one: for each run of changed bytes the gap in front of it
   * and its length (LEB128 each), and the bytes. Undefined if the page was not sampled before.
   */
  readonly differenceBytes: number | undefined;
}

/** What one scan found out about one process. Page lists may be empty. */
export interface TraceProcessStep {
  readonly pid: number;
  /** Mappings that are no more, by their first page; a mapping that changed is here and in `mapped`. */
  readonly unmapped: readonly number[];
  readonly mapped: readonly MapsEntry[];
  /** Pages that existed when the recording, or the process, began. */
  readonly resident: PageRangeList;
  /** Those of them that held zeros only. */
  readonly zero: PageRangeList;
  /** Pages that were written since the step before, new ones included. */
  readonly written: PageRangeList;
  /** Pages that existed at the step before and exist no more. */
  readonly gone: PageRangeList;
  /** In address order. */
  readonly samples: readonly PageSample[];
}

/** One scan of the target: the first is the state in which the recording began, each further one ends an interval. */
export interface TraceStep {
  /** Since the first step. */
  readonly atMicroseconds: number;
  /** How long the target stood still for it. */
  readonly frozenMicroseconds: number;
  readonly started: readonly TraceProcess[];
  /** PIDs; they come before what `started` says, since a PID may be used again. */
  readonly ended: readonly number[];
  readonly processes: readonly TraceProcessStep[];
}

/** Why a recording is not longer. */
export const TRACE_ENDS = ['duration', 'interrupted', 'target-ended'] as const;
export type TraceEnd = (typeof TRACE_ENDS)[number];

/** What the seal of a trace tells. */
export interface TraceSeal {
  readonly steps: number;
  readonly end: TraceEnd;
}

/** Ranges of one record; longer lists take several. */
export const RANGES_PER_RECORD = 8192;

/**
 * Writes `count` ranges from index `from`: twice the gap since the end of the range before (for the first: since page
 * 0), plus one if it has more than one page; then, in this case, its pages.
 */
export function writeRanges(out: ByteWriter, list: PageRangeList, from: number, count: number): void {
  out.varint(count);
  let at = 0;
  for (let index = from; index < from + count; index++) {
    const start = list.startPage(index);
    const pages = list.endPage(index) - start;
    out.varint((start - at) * 2 + (pages > 1 ? 1 : 0));
    if (pages > 1) out.varint(pages);
    at = start + pages;
  }
}

/** Reads what `writeRanges` wrote behind the ranges in `into`. @throws IntegrityError */
export function readRanges(reader: ByteReader, into: PageRangeList): void {
  const count = reader.varint();
  if (count === 0 || count > RANGES_PER_RECORD) throw reader.damaged(`a record of ${count} ranges`);
  const behind = into.rangeCount === 0 ? 0 : into.endPage(into.rangeCount - 1);
  let at = 0;
  for (let index = 0; index < count; index++) {
    const word = reader.varint();
    const start = at + Math.floor(word / 2);
    const pages = word % 2 === 0 ? 1 : reader.varint();
    at = start + pages;
    if (start < behind || pages === 0 || at > MAX_PAGE) throw reader.damaged('a range out of order');
    into.append(start, at);
  }
}

/** One above the page number of the last page of a 64-bit address space. */
const MAX_PAGE = 2 ** 52;

/** A step of a process in which nothing happened yet. */
export function emptyStep(pid: number) {
  return {
    pid,
    unmapped: [] as number[],
    mapped: [] as MapsEntry[],
    resident: new PageRangeList(),
    zero: new PageRangeList(),
    written: new PageRangeList(),
    gone: new PageRangeList(),
    samples: [] as PageSample[],
  };
}
