import { PageRangeList } from '../../core/index.ts';
import { WorkingSetWindows } from '../working-set.ts';
import { RangeDecoder } from './coded-ranges.ts';
import type { Recording } from './recording.ts';

/** What a recording tells of a target's writes, as plain figures to draw. Times count from the first look. */
export interface MemoryProfile {
  readonly residentPages: number;
  /** Neighbouring intervals are joined where there are very many. */
  readonly intervals: readonly {
    readonly atMicroseconds: number;
    readonly lengthMicroseconds: number;
    /** Pages written, each counted once in an interval of the recording. */
    readonly dirtyPages: number;
  }[];
  /** Distinct pages written in windows of growing length: their mean, the least and the most. */
  readonly workingSet: readonly {
    readonly windowMicroseconds: number;
    readonly pages: number;
    readonly low: number;
    readonly high: number;
  }[];
  /** Pages written by address and time. */
  readonly heat: {
    /** When each column begins. */
    readonly columns: readonly number[];
    readonly rows: readonly {
      readonly label: string;
      readonly pid: number;
      readonly startPage: number;
      readonly endPage: number;
    }[];
    /** By row, then column. */
    readonly counts: readonly (readonly number[])[];
  };
  /** Mappings in which anything was written, busiest first. */
  readonly mappings: readonly {
    readonly label: string;
    readonly pid: number;
    readonly startPage: number;
    readonly endPage: number;
    /** Summed over all intervals. */
    readonly dirtyPages: number;
  }[];
}

const MOST_INTERVALS = 600;
const HEAT_COLUMNS = 120;
const HEAT_ROWS = 64;
/** Memory without a name. */
const NAMELESS = '[anon]';

/** Adds up a recording. */
export function profileOf(recording: Recording): MemoryProfile {
  const { states, endsMicroseconds: ends, written } = recording;
  const areas = areasOf(recording);
  const windows = new WorkingSetWindows();
  const decoder = new RangeDecoder();
  for (let interval = 0; interval < ends.length; interval++) {
    decoder.read(written, interval);
    const pages = new PageRangeList();
    for (let index = 0; index < decoder.count; index++)
      pages.append(decoder.starts[index]!, decoder.ends[index]!);
    windows.add(lengthOf(ends, interval), [[0, pages]]);
    eachPart(decoder, areas, (area, start, end) => {
      area.dirtyPages += end - start;
    });
  }
  const dirty = areas.filter(({ dirtyPages }) => dirtyPages > 0);
  return {
    residentPages: states[0]!.residentPages,
    intervals: joinedIntervals(recording),
    workingSet: windows.windows().map(({ microseconds, meanPages, leastPages, mostPages }) => ({
      windowMicroseconds: microseconds,
      pages: meanPages,
      low: leastPages,
      high: mostPages,
    })),
    heat: heatOf(recording, dirty),
    mappings: mappingsOf(dirty),
  };
}

/** A stretch of numbers of one mapping, and how many pages were written in it. */
interface Area {
  readonly firstNumber: number;
  readonly endNumber: number;
  readonly pid: number;
  readonly startPage: number;
  readonly label: string;
  dirtyPages: number;
}

/** Areas that cover all page numbers, in their order. */
function areasOf({ segments, sizes, mappings }: Recording): Area[] {
  const areas: Area[] = [];
  let next = 0;
  for (const { firstNumber: first, startPage, endPage, pid } of segments) {
    const end = first + endPage - startPage;
    for (let at = first; at < end; ) {
      while (next < sizes.stretches.length && sizes.stretches[next]!.endNumber <= at) next++;
      const stretch = sizes.stretches[next];
      const isIn = stretch !== undefined && stretch.firstNumber <= at;
      const until = Math.min(end, (isIn ? stretch.endNumber : stretch?.firstNumber) ?? end);
      areas.push({
        firstNumber: at,
        endNumber: until,
        pid,
        startPage: startPage + at - first,
        label: (isIn && mappings[stretch.mapping]!.label) || NAMELESS,
        dirtyPages: 0,
      });
      at = until;
    }
  }
  return areas;
}

/** Calls `visit` for what the ranges of an interval have in each area. Both are in the order of page numbers. */
function eachPart<T extends { readonly firstNumber: number; readonly endNumber: number }>(
  { starts, ends, count }: RangeDecoder,
  areas: readonly T[],
  visit: (area: T, start: number, end: number) => void,
): void {
  let next = 0;
  for (let index = 0; index < count; index++) {
    for (let at = starts[index]!; at < ends[index]!; ) {
      while (next < areas.length && areas[next]!.endNumber <= at) next++;
      const area = areas[next];
      if (area === undefined) return;
      const until = Math.min(ends[index]!, area.endNumber);
      if (until > area.firstNumber) visit(area, Math.max(at, area.firstNumber), until);
      at = Math.max(at, until);
      if (until <= area.firstNumber) break;
    }
  }
}

function lengthOf(ends: Float64Array, interval: number): number {
  return ends[interval]! - (interval === 0 ? 0 : ends[interval - 1]!);
}

function joinedIntervals({ endsMicroseconds: ends, written }: Recording): MemoryProfile['intervals'] {
  const joined = Math.ceil(ends.length / MOST_INTERVALS);
  const intervals: MemoryProfile['intervals'][number][] = [];
  for (let from = 0; from < ends.length; from += joined) {
    const until = Math.min(ends.length, from + joined);
    const atMicroseconds = from === 0 ? 0 : ends[from - 1]!;
    let dirtyPages = 0;
    for (let interval = from; interval < until; interval++) dirtyPages += written.pages[interval]!;
    intervals.push({ atMicroseconds, lengthMicroseconds: ends[until - 1]! - atMicroseconds, dirtyPages });
  }
  return intervals;
}

interface HeatRow {
  readonly area: Area;
  readonly firstNumber: number;
  readonly endNumber: number;
  readonly counts: number[];
}

function heatOf(recording: Recording, dirty: readonly Area[]): MemoryProfile['heat'] {
  const { endsMicroseconds: ends, written } = recording;
  const joined = Math.ceil(ends.length / HEAT_COLUMNS);
  const columns: number[] = [];
  for (let from = 0; from < ends.length; from += joined) columns.push(from === 0 ? 0 : ends[from - 1]!);
  const rows = rowsOf(dirty, columns.length);
  const decoder = new RangeDecoder();
  for (let interval = 0; interval < ends.length; interval++) {
    const column = Math.floor(interval / joined);
    decoder.read(written, interval);
    eachPart(decoder, rows, ({ counts }, start, end) => {
      counts[column]! += end - start;
    });
  }
  return {
    columns,
    rows: rows.map(({ area, firstNumber, endNumber }) => ({
      label: area.label,
      pid: area.pid,
      startPage: area.startPage + firstNumber - area.firstNumber,
      endPage: area.startPage + endNumber - area.firstNumber,
    })),
    counts: rows.map(({ counts }) => counts),
  };
}

/** Rows for the busiest areas, large ones cut into several; in the order of page numbers. */
function rowsOf(dirty: readonly Area[], columns: number): HeatRow[] {
  const shown = [...dirty]
    .sort((left, right) => right.dirtyPages - left.dirtyPages)
    .slice(0, HEAT_ROWS / 2)
    .sort((left, right) => left.firstNumber - right.firstNumber);
  const pages = shown.reduce((sum, { firstNumber, endNumber }) => sum + endNumber - firstNumber, 0);
  const perRow = Math.max(1, Math.ceil(pages / (HEAT_ROWS - shown.length)));
  return shown.flatMap((area) => {
    const parts = Math.ceil((area.endNumber - area.firstNumber) / perRow);
    const length = Math.ceil((area.endNumber - area.firstNumber) / parts);
    return Array.from({ length: parts }, (_, part) => ({
      area,
      firstNumber: area.firstNumber + part * length,
      endNumber: Math.min(area.endNumber, area.firstNumber + (part + 1) * length),
      counts: new Array<number>(columns).fill(0),
    })).filter(({ firstNumber, endNumber }) => endNumber > firstNumber);
  });
}

/** Busiest first. */
function mappingsOf(dirty: readonly Area[]): MemoryProfile['mappings'] {
  return [...dirty]
    .sort((left, right) => right.dirtyPages - left.dirtyPages)
    .map(({ label, pid, startPage, firstNumber, endNumber, dirtyPages }) => ({
      label,
      pid,
      startPage,
      endPage: startPage + endNumber - firstNumber,
      dirtyPages,
    }));
}
