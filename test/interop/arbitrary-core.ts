import fc from 'fast-check';
import { PAGE_SIZE, PageRangeList } from '../../src/core/index.ts';
import type { AbsentPages, CoreMapping } from '../../src/interop/core-layout.ts';

/** Mappings in address order, and which of their pages a checkpoint has. */
export interface ArbitraryCore {
  readonly mappings: readonly CoreMapping[];
  readonly present: PageRangeList;
}

const oneMapping = fc.record({
  gapPages: fc.oneof(fc.constant(0), fc.nat({ max: 2 ** 34 })),
  permissions: fc.nat({ max: 7 }),
  absent: fc.constantFrom<AbsentPages>('zeros', 'file', 'nowhere'),
  hasFirstPage: fc.boolean(),
  /** Pages that are not there and pages that are, in turn. */
  runs: fc.array(
    fc.tuple(fc.oneof(fc.nat({ max: 4 }), fc.nat({ max: 600 })), fc.integer({ min: 1, max: 5 })),
    { maxLength: 6 },
  ),
  tailPages: fc.nat({ max: 300 }),
});

/** Random mappings of all sorts. */
export const mappingsAndPages: fc.Arbitrary<ArbitraryCore> = fc
  .array(oneMapping, { maxLength: 6 })
  .map((parts) => {
    const mappings: CoreMapping[] = [];
    const present = new PageRangeList();
    let page = 1;
    for (const { gapPages, permissions, absent, hasFirstPage, runs, tailPages } of parts) {
      page += gapPages;
      const startPage = page;
      for (const [absentPages, presentPages] of runs) {
        page += absentPages;
        present.append(page, page + presentPages);
        page += presentPages;
      }
      page += tailPages;
      if (page === startPage) page++;
      const needsFirstPage = hasFirstPage && absent === 'file' && !present.has(startPage);
      mappings.push({
        startPage,
        endPage: page,
        read: (permissions & 4) !== 0,
        write: (permissions & 2) !== 0,
        execute: (permissions & 1) !== 0,
        absent,
        ...(needsFirstPage ? { firstPage: new Uint8Array(PAGE_SIZE).fill(0x7f) } : {}),
      });
    }
    return { mappings, present };
  });
