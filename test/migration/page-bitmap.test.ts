import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PageBitmap } from '../../src/migration/index.ts';

const page = fc.integer({ min: 0, max: 300 });

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
      fc.property(fc.array(page), page, page, (pages, start, end) => {
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
      }),
    );
  });
});
