import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { thinned } from '../../src/core/index.ts';

describe('thinned', () => {
  it('keeps both ends and both extremes, in their order, within the limit', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer(), { maxLength: 300 }),
        fc.integer({ min: 4, max: 60 }),
        (values, most) => {
          const kept = thinned([...values.entries()], most, ([, value]) => value);
          expect(kept.length).toBeLessThanOrEqual(Math.max(most, 0));
          const places = kept.map(([place]) => place);
          expect(places).toEqual([...places].sort((left, right) => left - right));
          if (values.length === 0) return;
          expect([places[0], places.at(-1)]).toEqual([0, values.length - 1]);
          const numbers = kept.map(([, value]) => value);
          expect([Math.min(...numbers), Math.max(...numbers)]).toEqual([
            Math.min(...values),
            Math.max(...values),
          ]);
        },
      ),
    );
  });
});
