import { PageRangeList, Random } from '../../../src/core/index.ts';
import type { Recording, TraceHeader, TraceStep } from '../../../src/migration/index.ts';
import { RecordingBuilder } from '../../../src/migration/recording/builder.ts';

export const PID = 7;
/** Page of the address space at which the memory of these recordings begins, and number 0. */
export const BASE = 512 * 1000;

export const HEADER: TraceHeader = {
  target: 'sim:made-up',
  kind: 'simulated',
  tracker: 'soft-dirty',
  pageSize: 4096,
  intervalMicroseconds: 100_000,
  clock: 'virtual',
};

/** A list of page numbers from 0, as addresses. */
export function pagesOf(numbers: Iterable<number>): PageRangeList {
  const pages = new PageRangeList();
  for (const number of [...new Set(numbers)].sort((left, right) => left - right)) {
    pages.append(BASE + number, BASE + number + 1);
  }
  return pages;
}

export interface MadeUpInterval {
  readonly written?: Iterable<number>;
  readonly gone?: Iterable<number>;
  /** 100 ms. */
  readonly microseconds?: number;
}

/** The steps of a recording of one process with pages 0..residentPages-1, the first `zeroPages` of them of zeros. */
export function madeUpSteps(
  residentPages: number,
  intervals: readonly MadeUpInterval[],
  zeroPages = 0,
): TraceStep[] {
  const resident = PageRangeList.of({ startPage: BASE, endPage: BASE + residentPages });
  const zero = PageRangeList.of({ startPage: BASE, endPage: BASE + zeroPages });
  const none = new PageRangeList();
  const empty = { pid: PID, unmapped: [], mapped: [], resident: none, zero: none, written: none, gone: none };
  const mapping = {
    ...{
      startPage: BASE,
      endPage: BASE + residentPages,
      read: true,
      write: true,
      execute: false,
      shared: false,
    },
    ...{ offsetPages: 0, deviceMajor: 0, deviceMinor: 0, inode: 0, pathname: '[heap]' },
  };
  const started = [{ pid: PID, parentPid: 0, name: 'made-up' }];
  const first = { ...empty, mapped: [mapping], resident, zero, samples: [] };
  const steps: TraceStep[] = [
    { atMicroseconds: 0, frozenMicroseconds: 0, started, ended: [], processes: [first] },
  ];
  let at = 0;
  for (const { written = [], gone = [], microseconds = 100_000 } of intervals) {
    at += microseconds;
    const process = { ...empty, written: pagesOf(written), gone: pagesOf(gone), samples: [] };
    steps.push({ atMicroseconds: at, frozenMicroseconds: 0, started: [], ended: [], processes: [process] });
  }
  return steps;
}

export function madeUpRecording(
  residentPages: number,
  intervals: readonly MadeUpInterval[],
  zeroPages = 0,
): Recording {
  const builder = new RecordingBuilder(HEADER);
  for (const step of madeUpSteps(residentPages, intervals, zeroPages)) builder.add(step);
  return builder.build();
}

/** Writes of a Poisson process over pages with rates of their own, as a recording shows them. */
export function poissonIntervals(
  writesPerInterval: readonly number[],
  intervals: number,
  seed = 1,
): MadeUpInterval[] {
  const random = new Random(seed);
  return Array.from({ length: intervals }, () => ({
    written: [...writesPerInterval.keys()].filter(
      (page) => random.nextFraction() < 1 - Math.exp(-writesPerInterval[page]!),
    ),
  }));
}
