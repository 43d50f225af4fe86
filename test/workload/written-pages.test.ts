import fc from 'fast-check';
import { expect, it } from 'vitest';
import { WrittenPages } from '../../src/workload/written-pages.ts';

it('WrittenPages counts each page of each process once', () => {
  const page = fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 2 ** 35 }));
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 3 }), page)), (stores) => {
      const written = new WrittenPages();
      for (const [pid, at] of stores) written.store(pid, at);
      for (const pid of [1, 2, 3]) {
        const pages = stores.filter(([who]) => who === pid).map(([, at]) => at);
        expect(written.countOf(pid)).toBe(new Set(pages).size);
      }
    }),
  );
});
