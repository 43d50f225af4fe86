import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PAGE_SIZE, PageRangeList } from '../../src/core/index.ts';
import { type CoreMapping, coreSegments, planCore } from '../../src/interop/core-layout.ts';
import { mappingsAndPages } from './arbitrary-core.ts';

/** A mapping of 2000 pages from page 0x1000 on. */
function mapping(given: Partial<CoreMapping> = {}): CoreMapping {
  return {
    startPage: 0x1000,
    endPage: 0x1000 + 2000,
    read: true,
    write: false,
    execute: false,
    absent: 'zeros',
    ...given,
  };
}

const range = (startPage: number, endPage: number) => ({ startPage, endPage });

/** Start, pages in memory, pages in the file. */
function segmentsOf(one: CoreMapping, ...present: { startPage: number; endPage: number }[]) {
  return [...coreSegments([one], PageRangeList.of(...present), 0)].map(
    ({ startPage, memoryPages, storedPages }) => [startPage - one.startPage, memoryPages, storedPages],
  );
}

describe('coreSegments()', () => {
  it('keeps small holes of private memory and leaves large ones out', () => {
    expect(segmentsOf(mapping(), range(0x1000 + 3, 0x1000 + 5), range(0x1000 + 200, 0x1000 + 201))).toEqual([
      [0, 2000, 201],
    ]);
    expect(segmentsOf(mapping(), range(0x1000 + 3, 0x1000 + 5), range(0x1000 + 261, 0x1000 + 262))).toEqual([
      [0, 261, 5],
      [261, 1739, 1],
    ]);
    expect(segmentsOf(mapping(), range(0x1000 + 256, 0x1000 + 257))).toEqual([
      [0, 256, 0],
      [256, 1744, 1],
    ]);
    expect(segmentsOf(mapping())).toEqual([[0, 2000, 0]]);
  });

  it('stores of a file mapping exactly the pages that differ from the file, and its headers', () => {
    const file = mapping({ absent: 'file' });
    expect(segmentsOf(file, range(0x1000 + 3, 0x1000 + 5), range(0x1000 + 6, 0x1000 + 7))).toEqual([
      [0, 3, 0],
      [3, 3, 2],
      [6, 1994, 1],
    ]);
    const withHeaders = mapping({ absent: 'file', firstPage: new Uint8Array(PAGE_SIZE) });
    expect(segmentsOf(withHeaders)).toEqual([[0, 2000, 1]]);
    expect(segmentsOf(withHeaders, range(0x1001, 0x1003))).toEqual([[0, 2000, 3]]);
  });

  it('has no segment for pages that nobody has', () => {
    const nowhere = mapping({ absent: 'nowhere' });
    expect(segmentsOf(nowhere)).toEqual([]);
    expect(segmentsOf(nowhere, range(0x1003, 0x1005), range(0x1006, 0x1007))).toEqual([
      [3, 2, 2],
      [6, 1, 1],
    ]);
  });

  it('passes permissions on', () => {
    const flags = (given: Partial<CoreMapping>) =>
      [...coreSegments([mapping(given)], new PageRangeList(), 0)][0]?.flags;
    expect(flags({ read: true, write: false, execute: false })).toBe(4);
    expect(flags({ read: false, write: true, execute: false })).toBe(2);
    expect(flags({ read: false, write: false, execute: true })).toBe(1);
  });

  it('covers every mapping as it should, and gives every page that exists a place of its own', () => {
    fc.assert(
      fc.property(mappingsAndPages, ({ mappings, present }) => {
        const layout = planCore(mappings, present, 1000);
        const segments = [...coreSegments(mappings, present, layout.memoryOffsetBytes)];
        expect(segments).toHaveLength(layout.programHeaders - 1);
        expect(layout.memoryOffsetBytes % PAGE_SIZE).toBe(0);
        expect(layout.memoryOffsetBytes).toBeGreaterThanOrEqual(layout.notesOffsetBytes + 1000);
        let offsetBytes = layout.memoryOffsetBytes;
        let behind = 0;
        const covered = new PageRangeList();
        const stored = new PageRangeList();
        for (const segment of segments) {
          expect(segment.offsetBytes).toBe(offsetBytes);
          expect(segment.startPage).toBeGreaterThanOrEqual(behind);
          expect(segment.storedPages).toBeLessThanOrEqual(segment.memoryPages);
          expect(segment.memoryPages).toBeGreaterThan(0);
          offsetBytes += segment.storedPages * PAGE_SIZE;
          behind = segment.startPage + segment.memoryPages;
          covered.append(segment.startPage, behind);
          stored.append(segment.startPage, segment.startPage + segment.storedPages);
        }
        expect(layout.sizeBytes).toBe(offsetBytes);
        for (const one of mappings) {
          const inside = [...covered.within(one.startPage, one.endPage)];
          const held = [...present.within(one.startPage, one.endPage)];
          expect(inside).toEqual(one.absent === 'nowhere' ? held : [range(one.startPage, one.endPage)]);
          if (one.absent === 'file' && one.firstPage === undefined) {
            expect([...stored.within(one.startPage, one.endPage)]).toEqual(held);
          }
        }
        for (const { startPage, endPage } of present) {
          expect(stored.within(startPage, endPage).pageCount).toBe(endPage - startPage);
        }
      }),
    );
  });
});
