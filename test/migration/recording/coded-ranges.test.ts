import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RangeCoder, RangeDecoder } from '../../../src/migration/recording/coded-ranges.ts';

const range = fc
  .tuple(
    fc.oneof(fc.nat(500), fc.nat(2 ** 31)),
    fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 40 }), fc.integer({ min: 2 ** 20 - 2, max: 2 ** 22 })),
  )
  .map(([start, pages]) => [start, start + pages] as const);

/** Ranges in order, joined where they touch or overlap. */
function merged(ranges: readonly (readonly [number, number])[]): [number, number][] {
  const sorted = [...ranges].sort(([left], [right]) => left - right);
  const result: [number, number][] = [];
  for (const [start, end] of sorted) {
    const last = result.at(-1);
    if (last !== undefined && start <= last[1]) last[1] = Math.max(last[1], end);
    else result.push([start, end]);
  }
  return result;
}

describe('coded ranges', () => {
  it('come back in order and joined, whatever order they were added in', () => {
    fc.assert(
      fc.property(fc.array(fc.array(range, { maxLength: 30 }), { maxLength: 6 }), (intervals) => {
        const coder = new RangeCoder();
        for (const ranges of intervals) {
          for (const [start, end] of ranges) coder.add(start, end);
          const told: [number, number][] = [];
          coder.finish((start, end) => told.push([start, end]));
          expect(merged(told)).toEqual(merged(ranges));
        }
        const coded = coder.build();
        const decoder = new RangeDecoder();
        for (const [interval, ranges] of intervals.entries()) {
          decoder.read(coded, interval);
          const found: [number, number][] = [];
          for (let index = 0; index < decoder.count; index++) {
            found.push([decoder.starts[index]!, decoder.ends[index]!]);
          }
          const expected = merged(ranges);
          expect(merged(found)).toEqual(expected);
          expect(coded.pages[interval]).toBe(expected.reduce((sum, [start, end]) => sum + end - start, 0));
        }
      }),
      { numRuns: 60 },
    );
  });

  it('of one page each take a byte or two', () => {
    const coder = new RangeCoder();
    for (let page = 0; page < 100_000; page += 50) coder.add(page, page + 1);
    coder.finish(() => {});
    expect(coder.build().bytes.length).toBe(2000);
  });
});
