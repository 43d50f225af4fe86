import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatPageAddress, PageRangeList, parsePageAddress } from '../../src/core/index.ts';

const pages = fc
  .uniqueArray(fc.nat({ max: 300 }), { maxLength: 200 })
  .map((list) => list.sort((a, b) => a - b));

function listOf(sorted: readonly number[]): PageRangeList {
  const list = new PageRangeList();
  for (const page of sorted) list.append(page, page + 1);
  return list;
}

const expand = (list: PageRangeList) =>
  [...list].flatMap(({ startPage, endPage }) =>
    Array.from({ length: endPage - startPage }, (_, i) => startPage + i),
  );

describe('PageRangeList', () => {
  it('holds exactly the pages appended, in the fewest ranges', () => {
    fc.assert(
      fc.property(pages, (sorted) => {
        const list = listOf(sorted);
        expect(expand(list)).toEqual(sorted);
        expect(list.pageCount).toBe(sorted.length);
        const gaps = sorted.filter((page, index) => index === 0 || sorted[index - 1] !== page - 1).length;
        expect(list.rangeCount).toBe(gaps);
      }),
    );
  });

  it('answers has() and within() as a set would', () => {
    fc.assert(
      fc.property(pages, fc.nat({ max: 310 }), fc.nat({ max: 310 }), (sorted, one, other) => {
        const list = listOf(sorted);
        const [start, end] = one < other ? [one, other] : [other, one];
        expect(list.has(one)).toBe(sorted.includes(one));
        expect(expand(list.within(start, end))).toEqual(sorted.filter((page) => page >= start && page < end));
      }),
    );
  });

  it('unites two lists', () => {
    fc.assert(
      fc.property(pages, pages, (left, right) => {
        const expected = [...new Set([...left, ...right])].sort((a, b) => a - b);
        expect(expand(listOf(left).union(listOf(right)))).toEqual(expected);
      }),
    );
  });

  it('intersects two lists, and takes one from the other', () => {
    fc.assert(
      fc.property(pages, pages, (left, right) => {
        const others = new Set(right);
        const common = listOf(left).intersection(listOf(right));
        expect(expand(common)).toEqual(left.filter((page) => others.has(page)));
        const rest = listOf(left).difference(listOf(right));
        expect(expand(rest)).toEqual(left.filter((page) => !others.has(page)));
        expect(common.pageCount + rest.pageCount).toBe(left.length);
      }),
    );
  });

  it('refuses ranges out of order', () => {
    const list = PageRangeList.of({ startPage: 10, endPage: 20 });
    expect(() => list.append(19, 21)).toThrow(RangeError);
  });
});

describe('page addresses', () => {
  it('print and parse exactly up to the top of 64-bit space', () => {
    for (const page of [0, 1, 0x400, 0x7ffffffff, 0xffffffffff600, 2 ** 52 - 1]) {
      expect(parsePageAddress(formatPageAddress(page))).toBe(page);
    }
    expect(formatPageAddress(0x7f12a)).toBe('0x7f12a000');
  });

  it('refuse what is not a page-aligned address', () => {
    for (const text of ['', '0x', '0x1001', 'zz', '0x12345678901234567']) {
      expect(parsePageAddress(text)).toBeUndefined();
    }
  });
});
