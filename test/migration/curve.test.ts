import { describe, expect, it } from 'vitest';
import { RemainingCurve } from '../../src/migration/curve.ts';

/** So many rounds of one length, each from `peak` down to nothing. */
function sawTeeth(rounds: number, peak: number) {
  const curve = new RemainingCurve();
  const lasts = 100_000;
  for (let round = 0; round < rounds; round++) {
    const begin = round * lasts;
    curve.add(begin, peak);
    for (let at = begin + 1000; at < begin + lasts; at += 1000) {
      if (curve.isDue(at)) curve.add(at, Math.round(peak * (1 - (at - begin) / lasts)));
    }
  }
  return curve.end(rounds * lasts, 0);
}

describe('RemainingCurve', () => {
  it('stays within 500 points, in the order of time, and keeps the peaks of many rounds', () => {
    const points = sawTeeth(60, 1e9);
    expect(points.length).toBeLessThanOrEqual(500);
    const times = points.map(({ atMicroseconds }) => atMicroseconds);
    expect(times).toEqual([...times].sort((left, right) => left - right));
    const peaks = points.filter(({ remainingBytes }) => remainingBytes === 1e9);
    expect(peaks).toHaveLength(60);
    expect(points.at(-1)).toEqual({ atMicroseconds: 6_000_000, remainingBytes: 0 });
  });

  it('keeps the highest points of more rounds than it has points for', () => {
    const points = sawTeeth(2000, 1e9);
    expect(points.length).toBeLessThanOrEqual(500);
    expect(points.filter(({ remainingBytes }) => remainingBytes === 1e9).length).toBeGreaterThan(100);
  });
});
