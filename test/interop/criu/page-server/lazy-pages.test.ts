import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PAGE_SIZE, Random } from '../../../../src/core/index.ts';
import { LazyPages } from '../../../../src/interop/criu/page-server/lazy-pages.ts';
import {
  dump,
  type Memory,
  mutate,
  openStore,
  type TargetMemory,
  temporaryDirectory,
} from '../../../store/harness.ts';

/** Pages that exist from `startPage` on. */
function heldFrom(memory: Memory, startPage: number, limit: number): number {
  let count = 0;
  while (count < limit && memory.has(startPage + count)) count++;
  return count;
}

async function contentOf(pages: LazyPages, pid: number, startPage: number, pageCount: number) {
  const pieces: Uint8Array[] = [];
  for await (const bytes of pages.read(pid, { startPage, endPage: startPage + pageCount })) {
    pieces.push(bytes.slice());
  }
  return Buffer.concat(pieces);
}

describe('pages read lazily', () => {
  it('are those of the checkpoint, wherever one begins and whatever they are stored as', async () => {
    const seeds = fc.record({ seed: fc.nat(), checkpoints: fc.integer({ min: 1, max: 4 }) });
    await fc.assert(
      fc.asyncProperty(seeds, async ({ seed, checkpoints }) => {
        using directory = temporaryDirectory();
        const store = await openStore(directory.path);
        const random = new Random(seed);
        const target: TargetMemory = new Map([[7, new Map()]]);
        let parent: number | null = null;
        for (let count = 0; count < checkpoints; count++) {
          mutate(target, random, 60);
          parent = (await dump(store, target, { parent })).number;
        }
        const pages = new LazyPages(await store.openCheckpoint(parent ?? 1));
        for (const [pid, memory] of target) {
          for (const page of [...memory.keys()].slice(0, 30)) {
            const limit = 1 + random.nextBelow(40);
            if (random.nextBelow(2) === 0) pages.prefetch(pid, { startPage: page, endPage: page + limit });
            const pageCount = await pages.countFrom(pid, page, limit);
            expect(pageCount).toBe(heldFrom(memory, page, limit));
            const wanted = Array.from(
              { length: pageCount },
              (_, at) => memory.get(page + at) ?? new Uint8Array(PAGE_SIZE),
            );
            expect(Buffer.compare(await contentOf(pages, pid, page, pageCount), Buffer.concat(wanted))).toBe(
              0,
            );
          }
        }
        await store.close();
      }),
      { numRuns: 12 },
    );
  });

  it('are none where no page is, and across windows of the index where some are', async () => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    const memory: Memory = new Map(Array.from({ length: 40 }, (_, at) => [8192 * 5 - 20 + at, null]));
    const { number } = await dump(store, new Map([[7, memory]]));
    const pages = new LazyPages(await store.openCheckpoint(number));
    expect(await pages.countFrom(7, 8192 * 5 - 21, 100)).toBe(0);
    expect(await pages.countFrom(7, 8192 * 5 - 20, 100)).toBe(40);
    expect(await pages.countFrom(7, 8192 * 5 - 20, 33)).toBe(33);
    expect(await pages.countFrom(7, 8192 * 5 + 20, 100)).toBe(0);
    expect(await contentOf(pages, 7, 8192 * 5 - 20, 40)).toEqual(Buffer.alloc(40 * PAGE_SIZE));
    expect(await pages.countFrom(8, 8192 * 5, 1)).toBe(0);
    await store.close();
  });
});
