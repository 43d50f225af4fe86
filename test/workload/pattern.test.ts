import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Random } from '../../src/core/index.ts';
import type { PatternDefinition } from '../../src/workload/model.ts';
import { createPattern } from '../../src/workload/pattern.ts';
import { Permutation } from '../../src/workload/permutation.ts';
import { ZipfDistribution } from '../../src/workload/zipf.ts';

const PLAIN: PatternDefinition = {
  kind: 'uniform',
  fromPage: 0,
  spanPages: undefined,
  theta: 0.99,
  hotFraction: 0.1,
  hotProbability: 0.9,
  spread: true,
  stridePages: 1,
  writesPerPage: 1,
};

function draw(definition: Partial<PatternDefinition>, span: number, count: number, offset = 0): number[] {
  const pages = new Float64Array(count);
  createPattern({ ...PLAIN, ...definition }, span, 99).draw(pages, count, offset, 0, new Random(1));
  return [...pages];
}

function countsOf(pages: readonly number[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const page of pages) counts.set(page, (counts.get(page) ?? 0) + 1);
  return counts;
}

describe('zipf', () => {
  it.each([0.5, 0.99, 1, 1.2])('has the frequencies of theta %d', (theta) => {
    const count = 10_000;
    const draws = 1_000_000;
    const zipf = new ZipfDistribution(count, theta);
    const random = new Random(3);
    const seen = new Float64Array(count);
    for (let index = 0; index < draws; index++) seen[zipf.draw(random)]!++;
    let total = 0;
    for (let rank = 1; rank <= count; rank++) total += rank ** -theta;
    const share = (from: number, to: number, of: (rank: number) => number) => {
      let sum = 0;
      for (let rank = from; rank < to; rank++) sum += of(rank);
      return sum;
    };
    // Bands narrow enough to see a wrong exponent, wide enough for the draws to settle within four sigma.
    for (const [from, to] of [
      [0, 1],
      [1, 2],
      [2, 10],
      [10, 63],
      [63, 100],
      [100, 1000],
      [1000, 5000],
      [5000, 10_000],
    ] as const) {
      const expected = share(from, to, (rank) => (rank + 1) ** -theta) / total;
      const found = share(from, to, (rank) => seen[rank]!) / draws;
      expect(Math.abs(found - expected)).toBeLessThan(4 * Math.sqrt(expected / draws) + 1e-4);
    }
  });

  it('covers four billion pages in constant memory and stays inside', () => {
    const zipf = new ZipfDistribution(2 ** 32, 0.99);
    const random = new Random(4);
    let largest = 0;
    for (let index = 0; index < 100_000; index++) largest = Math.max(largest, zipf.draw(random));
    expect(largest).toBeGreaterThan(2 ** 31);
    expect(largest).toBeLessThan(2 ** 32);
  });

  it('spreads its hot pages over the region unless told not to', () => {
    const hottest = (spread: boolean) =>
      [...countsOf(draw({ kind: 'zipf', spread }, 10_000, 50_000))]
        .sort((left, right) => right[1] - left[1])
        .slice(0, 8)
        .map(([page]) => page);
    expect(Math.max(...hottest(false))).toBeLessThan(20);
    expect(Math.max(...hottest(true)) - Math.min(...hottest(true))).toBeGreaterThan(2000);
  });
});

describe('Permutation', () => {
  it('visits every place once', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), fc.integer(), (count, seed) => {
        const order = new Permutation(count, seed);
        const places = new Set(Array.from({ length: count }, (_, index) => order.at(index)));
        expect(places.size).toBe(count);
        expect(Math.max(...places)).toBe(count - 1);
      }),
      { numRuns: 50 },
    );
  });

  it.each([2 ** 31, 2 ** 32, 2 ** 28 + 1])('stays inside %d', (count) => {
    const order = new Permutation(count, 5);
    const places = Array.from({ length: 1000 }, (_, index) => order.at(count - 1 - index));
    expect(new Set(places).size).toBe(1000);
    for (const place of places) expect(place >= 0 && place < count).toBe(true);
  });

  it('leaves most places alone when the count grows within a power of two', () => {
    const small = new Permutation(700, 5);
    const large = new Permutation(1000, 5);
    const same = Array.from({ length: 100 }, (_, index) => small.at(index) === large.at(index));
    expect(same.filter(Boolean).length).toBeGreaterThan(50);
  });
});

describe('patterns', () => {
  it('uniform reaches every page about equally often', () => {
    const counts = countsOf(draw({ kind: 'uniform' }, 100, 100_000));
    expect(counts.size).toBe(100);
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(160);
  });

  it('hot-cold gives the hot pages their share', () => {
    const counts = countsOf(draw({ kind: 'hot-cold', spread: false }, 1000, 100_000));
    let hot = 0;
    for (const [page, count] of counts) if (page < 100) hot += count;
    expect(Math.abs(hot - 90_000)).toBeLessThan(500);
    expect(new Set(draw({ kind: 'hot-cold', hotFraction: 1 }, 10, 1000)).size).toBe(10);
  });

  it('sequential goes round, append stays on a page until it is full', () => {
    expect(draw({ kind: 'sequential' }, 3, 7, 10)).toEqual([10, 11, 12, 10, 11, 12, 10]);
    expect(draw({ kind: 'append', writesPerPage: 2 }, 2, 6)).toEqual([0, 0, 1, 1, 0, 0]);
  });

  it('strided visits every page once before any page twice', () => {
    expect(draw({ kind: 'strided', stridePages: 4 }, 10, 10)).toEqual([0, 4, 8, 1, 5, 9, 2, 6, 3, 7]);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 400 }), (span, stride) => {
        const round = draw({ kind: 'strided', stridePages: stride }, span, 2 * span);
        expect(new Set(round.slice(0, span)).size).toBe(span);
        expect(round.slice(span)).toEqual(round.slice(0, span));
      }),
    );
  });

  it('draw the same pages in one piece or in many', () => {
    const kinds = [
      'uniform',
      'zipf',
      'hot-cold',
      'sequential',
      'strided',
      'append',
      'rewrite-in-place',
    ] as const;
    fc.assert(
      fc.property(
        fc.constantFrom(...kinds),
        fc.integer({ min: 1, max: 500 }),
        fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 10 }),
        (kind, span, pieces) => {
          const total = pieces.reduce((sum, piece) => sum + piece, 0);
          const definition = { kind, stridePages: 7, writesPerPage: kind === 'append' ? 3 : 1 };
          const pattern = createPattern({ ...PLAIN, ...definition }, span, 99);
          const random = new Random(1);
          const pages: number[] = [];
          for (const piece of pieces) {
            const part = new Float64Array(piece);
            pattern.draw(part, piece, 0, pages.length, random);
            pages.push(...part);
          }
          expect(pages).toEqual(draw(definition, span, total));
        },
      ),
    );
  });
});
