import { describe, expect, it } from 'vitest';
import { Random } from '../../../src/core/index.ts';
import {
  HeatCounter,
  heatOf,
  isNeverWritten,
  meanWrites,
  moreWritesThresholds,
  ONCE_WRITTEN,
  rateOf,
} from '../../../src/migration/recording/page-heat.ts';

/** Mean writes in an interval with at least one, by Poisson. */
const truncatedMean = (rate: number) => rate / (1 - Math.exp(-rate));

/** Lets each of 400 pages be written by chance, so often in an interval, and tells the mean of their heats. */
function meanOfPages(rate: number, lengths: readonly number[], activeUntil = lengths.length): number {
  const random = new Random(Math.round(rate * 1000));
  const counter = new HeatCounter(100);
  for (const [interval, length] of lengths.entries()) {
    counter.begin(length);
    for (let page = 0; page < 400; page++) {
      const isWritten = random.nextFraction() < 1 - Math.exp((-rate * length) / 100);
      if (isWritten && interval < activeUntil) counter.add(page, page + 1);
    }
  }
  const { heat } = counter.build(400);
  return heat.reduce((sum, each) => sum + meanWrites(each), 0) / 400;
}

const steady = new Array<number>(200).fill(100);

describe('the heat of pages', () => {
  it.each([0.3, 0.7, 1.5, 3])('tells a rate of %d writes per interval', (rate) => {
    expect(meanOfPages(rate, steady) / truncatedMean(rate)).toBeGreaterThan(0.88);
    expect(meanOfPages(rate, steady) / truncatedMean(rate)).toBeLessThan(1.12);
  });

  it('does not cool down in a phase without writes', () => {
    expect(meanOfPages(1.5, steady, 50) / truncatedMean(1.5)).toBeGreaterThan(0.85);
  });

  it('shows in short intervals where long ones are all alike', () => {
    const probed = steady.flatMap((length, index) => (index % 5 === 0 ? [length, 10] : [length]));
    expect(meanOfPages(12, steady)).toBeLessThan(7);
    expect(meanOfPages(12, probed)).toBeGreaterThan(9.5);
    expect(meanOfPages(12, probed)).toBeLessThan(14.5);
  });

  it('of a page written in one interval only is none', () => {
    const counter = new HeatCounter(100);
    counter.begin(100);
    counter.add(3, 4);
    counter.begin(100);
    counter.add(5000, 9000);
    expect(counter.timesWritten(3)).toBe(1);
    expect(counter.timesWritten(8999)).toBe(1);
    expect(counter.timesWritten(9000)).toBe(0);
    const { heat, hot } = counter.build(10_000);
    expect(hot.every((word) => word === 0)).toBe(true);
    expect([3, 5000, 8999].map((page) => heat[page])).toEqual([ONCE_WRITTEN, ONCE_WRITTEN, ONCE_WRITTEN]);
    expect([0, 4, 4999, 9000].every((page) => isNeverWritten(heat[page]!))).toBe(true);
  });

  it('gives as many writes as it stands for', () => {
    const rows = moreWritesThresholds();
    for (const rate of [0.1, 0.5, 1, 2, 5, 10, 15]) {
      const row = rows[heatOf(rate)]!;
      const mean = 1 + row.reduce((sum, threshold) => sum + threshold / 65536, 0);
      expect(mean / truncatedMean(rate)).toBeGreaterThan(0.96);
      expect(mean / truncatedMean(rate)).toBeLessThan(1.04);
      expect(rateOf(truncatedMean(rate))).toBeCloseTo(rate, 4);
    }
    expect(rows[ONCE_WRITTEN]).toHaveLength(0);
  });
});
