import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PageRangeList } from '../../src/core/index.ts';
import { WorkingSetWindows, type WrittenPages } from '../../src/migration/index.ts';

interface Interval {
  readonly microseconds: number;
  readonly processes: readonly (readonly [pid: number, pages: readonly number[]])[];
}

/** Few enough addresses that windows have pages in common, on both sides of a block's end, and far apart ones. */
const page = fc.oneof(
  fc.integer({ min: 0, max: 70 }),
  fc.integer({ min: 32_700, max: 32_800 }),
  fc.integer({ min: 2 ** 34, max: 2 ** 34 + 40_000 }),
);
const interval: fc.Arbitrary<Interval> = fc.record({
  microseconds: fc.integer({ min: 1, max: 1_000_000 }),
  processes: fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.array(page, { maxLength: 40 })), {
    maxLength: 3,
    selector: ([pid]) => pid,
  }),
});

const listOf = (pages: readonly number[]) =>
  PageRangeList.of(
    ...[...new Set(pages)]
      .sort((left, right) => left - right)
      .map((startPage) => ({ startPage, endPage: startPage + 1 })),
  );

const writtenIn = ({ processes }: Interval): WrittenPages[] =>
  processes.map(([pid, pages]) => [pid, listOf(pages)]);

/** The same with sets of everything, kept for ever. */
function naive(intervals: readonly Interval[]) {
  const windows = [];
  for (let length = 1; length <= intervals.length; length *= 2) {
    const counts: number[] = [];
    let microseconds = 0;
    for (let from = 0; from + length <= intervals.length; from += length) {
      const window = intervals.slice(from, from + length);
      const pages = window.flatMap(({ processes }) =>
        processes.flatMap(([pid, list]) => list.map((page) => `${pid} ${page}`)),
      );
      counts.push(new Set(pages).size);
      microseconds += window.reduce((sum, { microseconds }) => sum + microseconds, 0);
    }
    windows.push({
      intervals: length,
      microseconds: Math.round(microseconds / counts.length),
      windows: counts.length,
      meanPages: counts.reduce((sum, count) => sum + count, 0) / counts.length,
      leastPages: Math.min(...counts),
      mostPages: Math.max(...counts),
    });
  }
  return windows;
}

describe('working set windows', () => {
  it('count the distinct pages of each window, as sets of everything would', () => {
    fc.assert(
      fc.property(fc.array(interval, { maxLength: 20 }), (intervals) => {
        const windows = new WorkingSetWindows();
        for (const one of intervals) windows.add(one.microseconds, writtenIn(one));
        expect(windows.windows()).toEqual(naive(intervals));
      }),
    );
  });

  it('count whole blocks and ranges over their ends', () => {
    const windows = new WorkingSetWindows();
    windows.add(1, [[1, PageRangeList.of({ startPage: 5, endPage: 100_003 })]]);
    windows.add(1, [[1, PageRangeList.of({ startPage: 100_000, endPage: 100_064 })]]);
    expect(windows.windows().map(({ meanPages }) => meanPages)).toEqual([(99_998 + 64) / 2, 99_998 + 61]);
  });

  it('know nothing before the first interval', () => {
    expect(new WorkingSetWindows().windows()).toEqual([]);
  });

  it('go on doubling for as long as it takes', () => {
    const windows = new WorkingSetWindows();
    const lists = [0, 1].map((odd) => listOf(Array.from({ length: 1000 }, (_, index) => index * 194 + odd)));
    for (let index = 0; index < 1030; index++) windows.add(100_000, [[1, lists[index % 2]!]]);
    expect(windows.windows().map(({ intervals }) => intervals)).toEqual(
      Array.from({ length: 11 }, (_, level) => 2 ** level),
    );
    expect(windows.windows().at(-1)).toMatchObject({
      windows: 1,
      leastPages: 2000,
      microseconds: 102_400_000,
    });
  });
});
