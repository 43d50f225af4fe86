import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ScratchFile } from '../../../src/checkpoint/index.ts';
import { PageRangeList } from '../../../src/core/index.ts';
import { createSegment, SEGMENT_PAGES, segmentDigest, windowStartOf } from '../../../src/image/index.ts';
import { DigestLedger, DigestMemory } from '../../../src/migration/send/digest-ledger.ts';

const digestOf = (value: number) => createHash('sha256').update(`${value}`).digest().subarray(0, 16);

/** A page in one of five windows of a process, near the edges of the window or not. */
const page = fc
  .tuple(
    fc.integer({ min: 0, max: 4 }),
    fc.oneof(fc.integer({ min: 0, max: 20 }), fc.constant(SEGMENT_PAGES - 1)),
  )
  .map(([window, offset]) => window * SEGMENT_PAGES + offset);

const step = fc.oneof(
  fc.record({ do: fc.constant('set' as const), pid: fc.integer({ min: 0, max: 1 }), page, value: fc.nat(6) }),
  fc.record({
    do: fc.constant('forget' as const),
    pid: fc.integer({ min: 0, max: 1 }),
    page,
    value: fc.nat(3),
  }),
  fc.record({
    do: fc.constant('digest' as const),
    pid: fc.integer({ min: 0, max: 1 }),
    page,
    value: fc.nat(1),
  }),
);

describe('the digests of what was sent', () => {
  it('are those of a plain map, with one window in memory and the rest in a file', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const scratch = new ScratchFile(tmpdir());
        try {
          const memory = new DigestMemory(scratch, 1);
          const ledgers = [new DigestLedger(memory), new DigestLedger(memory)];
          const plain = [new Map<number, number>(), new Map<number, number>()];
          for (const { do: what, pid, page, value } of steps) {
            const ledger = ledgers[pid]!;
            const known = plain[pid]!;
            if (what === 'set') {
              ledger.set(page, digestOf(value), 0);
              known.set(page, value);
            } else if (what === 'forget') {
              const pages = PageRangeList.of({ startPage: page, endPage: page + value + 1 });
              ledger.forget(pages);
              for (let each = page; each <= page + value; each++) known.delete(each);
            } else expect(ledger.segments(listOf(known))).toEqual(segmentsOf(known));
          }
          for (const [pid, known] of plain.entries()) {
            for (const [page, value] of known) {
              expect(ledgers[pid]!.has(page, digestOf(value), 0)).toBe(true);
              expect(ledgers[pid]!.has(page, digestOf(value + 1), 0)).toBe(false);
            }
            expect(ledgers[pid]!.segments(listOf(known))).toEqual(segmentsOf(known));
          }
        } finally {
          scratch.close();
        }
      }),
      { numRuns: 60 },
    );
  });
});

function listOf(known: ReadonlyMap<number, number>): PageRangeList {
  const list = new PageRangeList();
  for (const each of [...known.keys()].sort((left, right) => left - right)) list.append(each, each + 1);
  return list;
}

function segmentsOf(known: ReadonlyMap<number, number>) {
  const segments = new Map<number, ReturnType<typeof createSegment>>();
  for (const each of [...known.keys()].sort((left, right) => left - right)) {
    const start = windowStartOf(each);
    const segment = segments.get(start) ?? createSegment(start);
    segments.set(start, segment);
    segment.offsets[segment.count] = each - start;
    segment.digests.set(digestOf(known.get(each)!), segment.count * 16);
    segment.count++;
  }
  return [...segments.values()].map((segment) => ({
    startPage: segment.startPage,
    digest: segmentDigest(segment),
  }));
}
