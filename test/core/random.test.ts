import { describe, expect, it } from 'vitest';
import { Random } from '../../src/core/index.ts';

describe('Random', () => {
  it('goes on to the same numbers after save and restore', () => {
    const random = new Random(42);
    for (let draw = 0; draw < 100; draw++) random.nextUint32();
    const twin = Random.restore(random.save());
    for (let draw = 0; draw < 100; draw++) expect(twin.nextUint32()).toBe(random.nextUint32());
  });

  it('gives unrelated streams for neighbouring seeds', () => {
    const firsts = new Set(Array.from({ length: 1000 }, (_, seed) => new Random(seed).nextUint32()));
    expect(firsts.size).toBeGreaterThan(995);
  });

  it('is uniform over small and large limits', () => {
    const random = new Random(7);
    const counts = new Array<number>(10).fill(0);
    for (let draw = 0; draw < 100_000; draw++) counts[random.nextBelow(10)]!++;
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500);
    const large = Array.from({ length: 2000 }, () => random.nextBelow(2 ** 50) / 2 ** 50);
    expect(large.every((fraction) => fraction >= 0 && fraction < 1)).toBe(true);
    expect(Math.abs(large.reduce((sum, x) => sum + x, 0) / large.length - 0.5)).toBeLessThan(0.03);
  });
});
