import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { differenceAfter, SizeTally, UNKNOWN_SIZE } from '../../../src/migration/recording/page-sizes.ts';

describe('sizes of pages', () => {
  it('are what was measured, and of unknown pages those of all others', () => {
    const measured = new SizeTally();
    measured.compressed(1, 1024);
    measured.compressed(1, 2048);
    measured.compressed(2, 0);
    measured.difference(1, 100);
    measured.difference(1, 300);
    const size = measured.size(UNKNOWN_SIZE);
    expect(size.compressedShare).toBe(0.5);
    expect(measured.sampledPages).toBe(1);
    expect(differenceAfter(size.differenceBytes, 1)).toBe(200);
    expect(new SizeTally().size(size)).toEqual(size);
    expect(new SizeTally().size(UNKNOWN_SIZE)).toEqual(UNKNOWN_SIZE);
  });

  it('grow with the writes, up to the page', () => {
    const sample = fc.tuple(fc.integer({ min: 1, max: 3000 }), fc.nat(4096));
    fc.assert(
      fc.property(fc.array(sample, { minLength: 1, maxLength: 30 }), (samples) => {
        const tally = new SizeTally();
        for (const [writes, bytes] of samples) tally.difference(writes, bytes);
        const { differenceBytes } = tally.size(UNKNOWN_SIZE);
        let before = differenceAfter(differenceBytes, 0);
        expect(before).toBe(0);
        for (const writes of [0.5, 1, 1.5, 2, 3, 5, 8, 100, 1000, 2048, 100_000]) {
          const bytes = differenceAfter(differenceBytes, writes);
          expect(bytes).toBeGreaterThanOrEqual(before);
          expect(bytes).toBeLessThanOrEqual(4096);
          before = bytes;
        }
      }),
    );
  });

  it('follow the samples where writes fall on the same bytes again', () => {
    const tally = new SizeTally();
    for (const writes of [1, 2, 4, 8, 16, 32]) tally.difference(writes, 12);
    const { differenceBytes } = tally.size(UNKNOWN_SIZE);
    expect(differenceAfter(differenceBytes, 3)).toBe(12);
    expect(differenceAfter(differenceBytes, 32)).toBe(12);
  });
});
