import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IntegrityError, PageRangeList } from '../../../src/core/index.ts';
import { planEntries } from '../../../src/interop/criu/export-entries.ts';
import { encodePagemap } from '../../../src/interop/criu/export-pagemap.ts';
import type { ListedRuns } from '../../../src/interop/criu/listing.ts';

const PARENT = 1;
const LAZY = 2;
const PRESENT = 4;

type Entry = readonly [startPage: number, pageCount: number, flags: number];

const listOf = (entries: readonly Entry[]): ListedRuns => ({
  startPages: Float64Array.from(entries, ([startPage]) => startPage),
  pageCounts: Float64Array.from(entries, ([, pageCount]) => pageCount),
  flags: Uint8Array.from(entries, ([, , flags]) => flags),
});

const entriesOf = ({ startPages, pageCounts, flags }: ListedRuns): Entry[] =>
  Array.from(flags, (flag, index) => [startPages[index]!, pageCounts[index]!, flag]);

/** The flags of every page, one by one. */
function pagesOf(entries: readonly Entry[]): Map<number, number> {
  const pages = new Map<number, number>();
  for (const [startPage, pageCount, flags] of entries) {
    for (let page = startPage; page < startPage + pageCount; page++) pages.set(page, flags);
  }
  return pages;
}

const arbitraryEntries = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 1, max: 9 }), fc.constantFrom(1, 4, 6)), {
    maxLength: 30,
  })
  .map((steps) => {
    let page = 0x400;
    return steps.map(([gap, pageCount, flags]): Entry => {
      const startPage = page + gap;
      page = startPage + pageCount;
      return [startPage, pageCount, flags];
    });
  });

const arbitraryRanges = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 1, max: 20 })), { maxLength: 10 })
  .map((steps) => {
    const ranges = new PageRangeList();
    let page = 0x3f0;
    for (const [gap, pageCount] of steps) {
      ranges.append(page + gap, page + gap + pageCount);
      page += gap + pageCount;
    }
    return ranges;
  });

describe('planEntries()', () => {
  it('gives every page the flags that it should have, and counts them', () => {
    fc.assert(
      fc.property(
        arbitraryEntries,
        arbitraryRanges,
        fc.constantFrom('chain' as const, 'flat' as const, 'lazy' as const),
        (imported, deferrable, treatment) => {
          const plan = planEntries(listOf(imported), treatment, deferrable, 'a memory');
          const expected = new Map(
            [...pagesOf(imported)].map(([page, flags]): [number, number] => {
              if (treatment === 'chain') return [page, flags];
              const canWait = deferrable.has(page);
              if (treatment === 'lazy') return [page, canWait ? LAZY : PRESENT];
              return [page, flags === PARENT ? (canWait ? PRESENT | LAZY : PRESENT) : flags];
            }),
          );
          expect(pagesOf(entriesOf(plan.entries))).toEqual(expected);
          const having = (flag: number) => [...expected].filter(([, flags]) => (flags & flag) !== 0);
          const stored = [...plan.stored].flatMap(({ startPage, endPage }) =>
            Array.from({ length: endPage - startPage }, (_, index) => startPage + index),
          );
          expect(stored).toEqual(having(PRESENT).map(([page]) => page));
          expect(plan.parentPages).toBe(having(PARENT).length);
          expect(plan.lazyPages).toBe([...expected].filter(([, flags]) => flags === LAZY).length);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('joins neighbours with the same flags', () => {
    const plan = planEntries(
      listOf([
        [10, 2, PARENT],
        [12, 3, PRESENT],
        [15, 1, PRESENT | LAZY],
        [17, 1, PRESENT | LAZY],
      ]),
      'flat',
      new PageRangeList(),
      'a memory',
    );
    expect(entriesOf(plan.entries)).toEqual([
      [10, 5, PRESENT],
      [15, 1, PRESENT | LAZY],
      [17, 1, PRESENT | LAZY],
    ]);
  });

  it.each(['chain', 'flat', 'lazy'] as const)(
    'refuses pages that are on a page server only (%s)',
    (treatment) => {
      const plan = () =>
        planEntries(listOf([[0x7f00, 1, LAZY]]), treatment, new PageRangeList(), 'process 7');
      expect(plan).toThrow(IntegrityError);
      expect(plan).toThrow(/process 7 has no content for 0x7f00000/);
    },
  );
});

describe('encodePagemap()', () => {
  const hex = (entries: readonly Entry[], version?: '3.17' | '4.2') =>
    Buffer.concat(
      [...encodePagemap(1, listOf(entries), version)].map((piece) => Buffer.from(piece)),
    ).toString('hex');
  /** Both magics and a head with pages_id 1. */
  const HEAD = '1943565425400856020000000801';

  it('writes what CRIU 3.17 writes', () => {
    expect(hex([[0x400, 3, 6]], '3.17')).toBe(`${HEAD}09000000088080800210032006`);
  });

  it('writes what CRIU 4.2 writes', () => {
    expect(hex([[0x400, 3, 6]], '4.2')).toBe(`${HEAD}0b0000000880808002100020062803`);
  });

  it('writes what both can read', () => {
    expect(hex([[0x7ffd00000, 2, 1]])).toBe(`${HEAD}0e0000000880808080d0ff1f100220012802`);
  });

  it('splits entries of more pages than the older field can say', () => {
    const first = '0a000000080010ffffffff0f2004';
    const second = '0c0000000880e0ffffffff0310062004';
    expect(hex([[0, 2 ** 32 + 5, PRESENT]], '3.17')).toBe(`${HEAD}${first}${second}`);
  });

  it('hands over many entries in pieces', () => {
    const many = Array.from({ length: 20_000 }, (_, index): Entry => [index * 2, 1, PRESENT]);
    const pieces = [...encodePagemap(1, listOf(many), '3.17')].map((piece) => piece.length);
    expect(pieces.length).toBeGreaterThan(3);
    expect(Math.max(...pieces)).toBeLessThanOrEqual(64 * 1024);
  });
});
