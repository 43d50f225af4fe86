import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bitsOf, lowestBits, PageBitmap } from '../../src/migration/page-bitmap.ts';

const near = fc.integer({ min: 0, max: 300 });
/** So far apart, too, that they lie in other words of each level. */
const page = fc.oneof(
  near,
  fc.nat({ max: 5 }).map((far) => far * 70_000),
);

function bitmapOf(pages: Iterable<number>): PageBitmap {
  const bitmap = new PageBitmap(0);
  for (const number of pages) bitmap.add(number);
  return bitmap;
}

function pagesOf(bitmap: PageBitmap): number[] {
  const pages: number[] = [];
  for (let next = bitmap.next(0); next >= 0; next = bitmap.next(next + 1)) pages.push(next);
  return pages;
}

describe('PageBitmap', () => {
  it('is a set of numbers that knows its size and its order', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), page)), (changes) => {
        const bitmap = new PageBitmap(0);
        const model = new Set<number>();
        for (const [add, number] of changes) {
          if (add) bitmap.add(number);
          else bitmap.remove(number);
          if (add) model.add(number);
          else model.delete(number);
        }
        expect(bitmap.count).toBe(model.size);
        expect(pagesOf(bitmap)).toEqual([...model].sort((left, right) => left - right));
      }),
    );
  });

  it('takes ranges and other sets', () => {
    fc.assert(
      fc.property(fc.array(page), near, near, (pages, start, end) => {
        const bitmap = bitmapOf(pages);
        const model = new Set(pages);
        const other = new PageBitmap(0);
        other.addRange(start, end);
        const ranged = new Set<number>();
        for (let number = start; number < end; number++) ranged.add(number);
        expect(pagesOf(other)).toEqual([...ranged]);
        const fresh = [...ranged].filter((number) => !model.has(number)).length;
        expect(bitmap.absorb(other)).toBe(fresh);
        expect(other.count).toBe(0);
        expect(new Set(pagesOf(bitmap))).toEqual(new Set([...model, ...ranged]));
        expect(bitmap.count).toBe(model.size + fresh);
        bitmap.removeRange(start, end);
        expect(new Set(pagesOf(bitmap))).toEqual(new Set([...model].filter((number) => !ranged.has(number))));
        expect(bitmap.count).toBe(model.size + fresh - ranged.size);
      }),
    );
  });

  it('takes and gives pages by words', () => {
    const change = fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 70 }), fc.integer());
    fc.assert(
      fc.property(fc.array(change), (changes) => {
        const bitmap = new PageBitmap(0);
        const model = new Map<number, number>();
        for (const [add, index, bits] of changes) {
          const before = model.get(index) ?? 0;
          const changed = add ? bits & ~before : bits & before;
          const counted = add ? bitmap.addToWord(index, bits) : bitmap.removeFromWord(index, bits);
          expect(counted).toBe(bitsOf(changed));
          model.set(index, before ^ changed);
        }
        const filled = [...model].filter(([, word]) => word !== 0).map(([index]) => index);
        const found: number[] = [];
        for (let index = bitmap.nextWord(0); index >= 0; index = bitmap.nextWord(index + 1))
          found.push(index);
        expect(found).toEqual(filled.sort((left, right) => left - right));
        for (const [index, word] of model) expect(bitmap.word(index) | 0).toBe(word);
        const words = Uint32Array.from({ length: 80 }, (_, index) => bitmap.word(index));
        expect(pagesOf(PageBitmap.copyOf(words))).toEqual(pagesOf(bitmap));
        expect(PageBitmap.copyOf(words).count).toBe(bitmap.count);
      }),
    );
  });

  it('finds the lowest pages of a word', () => {
    const pagesIn = (word: number) => pagesOf(PageBitmap.copyOf(Uint32Array.of(word)));
    fc.assert(
      fc.property(fc.oneof(fc.integer(), fc.constant(-1)), fc.nat({ max: 32 }), (word, count) => {
        const wanted = Math.min(count, bitsOf(word));
        expect(pagesIn(lowestBits(word, wanted))).toEqual(pagesIn(word).slice(0, wanted));
      }),
    );
  });
});
