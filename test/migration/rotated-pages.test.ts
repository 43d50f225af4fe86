import fc from 'fast-check';
import { expect, it } from 'vitest';
import { RotatedPages } from '../../src/migration/policies/rotated-pages.ts';

it('puts pages with the same remainder modulo 1024 behind one another, whatever the size of memory', () => {
  const pageCount = fc.integer({ min: 1, max: 200_000 });
  fc.assert(
    fc.property(pageCount, fc.array(fc.nat({ max: 199_999 }), { maxLength: 50 }), (count, numbers) => {
      const numbered = [...new Set(numbers.filter((page) => page < count))];
      const rotated = new RotatedPages(count);
      for (const page of numbered) rotated.add(page >>> 5, 1 << (page & 31));
      const column = 2 ** Math.max(1, Math.ceil(Math.log2(Math.max(2, count))) - 10);
      const places: number[] = [];
      for (let word = rotated.nextWord(0); word >= 0; word = rotated.nextWord(word + 1)) {
        for (let bit = 0; bit < 32; bit++) if ((rotated.word(word) >>> bit) & 1) places.push(word * 32 + bit);
      }
      const pages = places.map((place) => (place % column) * 1024 + Math.floor(place / column));
      const order = [...numbered].sort((left, right) => (left % 1024) - (right % 1024) || left - right);
      expect(pages).toEqual(order);
    }),
  );
});
