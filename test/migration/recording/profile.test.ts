import { describe, expect, it } from 'vitest';
import { profileOf } from '../../../src/migration/index.ts';
import { BASE, madeUpRecording, PID, poissonIntervals } from './recordings.ts';

const sum = (values: readonly number[]) => values.reduce((total, each) => total + each, 0);

describe('the profile of a recording', () => {
  const rates = Array.from({ length: 4096 }, (_, page) => (page < 512 ? 0.5 : 0.005));
  const recording = madeUpRecording(4096, poissonIntervals(rates, 300));
  const profile = profileOf(recording);

  it('tells every write once, over time and over addresses', () => {
    const written = sum([...recording.written.pages]);
    expect(sum(profile.intervals.map(({ dirtyPages }) => dirtyPages))).toBe(written);
    expect(sum(profile.heat.counts.flat())).toBe(written);
    expect(profile.mappings).toEqual([
      { label: '[heap]', pid: PID, startPage: BASE, endPage: BASE + 4096, dirtyPages: written },
    ]);
    expect(profile.residentPages).toBe(4096);
  });

  it('covers the mapping with rows and the time with columns', () => {
    const { rows, columns, counts } = profile.heat;
    expect(rows.length).toBeLessThanOrEqual(64);
    expect(columns.length).toBeLessThanOrEqual(120);
    expect(counts.map((row) => row.length)).toEqual(rows.map(() => columns.length));
    expect(rows[0]!.startPage).toBe(BASE);
    expect(rows.at(-1)!.endPage).toBe(BASE + 4096);
    for (const [index, row] of rows.slice(1).entries()) expect(row.startPage).toBe(rows[index]!.endPage);
    const hotRows = rows.filter(({ endPage }) => endPage <= BASE + 512).length;
    expect(sum(counts.slice(0, hotRows).flat())).toBeGreaterThan(sum(counts.slice(hotRows).flat()));
  });

  it('tells how the working set grows with the window', () => {
    const { workingSet } = profile;
    expect(workingSet[0]!.windowMicroseconds).toBe(100_000);
    for (const [index, { pages, low, high }] of workingSet.entries()) {
      expect(low).toBeLessThanOrEqual(pages);
      expect(high).toBeGreaterThanOrEqual(pages);
      if (index > 0) expect(pages).toBeGreaterThan(workingSet[index - 1]!.pages);
    }
    const expected = sum(rates.map((rate) => 1 - Math.exp(-rate * 4)));
    expect(workingSet[2]!.pages / expected).toBeGreaterThan(0.95);
    expect(workingSet[2]!.pages / expected).toBeLessThan(1.05);
  });

  it('joins intervals where there are very many, and shows few mappings among many', () => {
    const long = madeUpRecording(
      512,
      Array.from({ length: 1500 }, (_, at) => ({ written: [at % 512] })),
    );
    const { intervals, heat } = profileOf(long);
    expect(intervals.length).toBe(500);
    expect(sum(intervals.map(({ dirtyPages }) => dirtyPages))).toBe(1500);
    expect(sum(intervals.map(({ lengthMicroseconds }) => lengthMicroseconds))).toBe(150e6);
    expect(sum(heat.counts.flat())).toBe(1500);
    expect(profileOf(madeUpRecording(512, [{}])).heat.rows).toEqual([]);
  });
});
