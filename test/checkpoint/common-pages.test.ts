import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { commonPages } from '../../src/checkpoint/common-pages.ts';
import { dumpTarget, readStore } from '../../src/checkpoint/index.ts';
import type { CheckpointReader } from '../../src/store/index.ts';
import { SMALL_WORKLOAD } from './workload.ts';

const root = mkdtempSync(join(tmpdir(), 'ckpt-common-test-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** What each page of a process holds, in full. */
async function contents(reader: CheckpointReader, pid: number): Promise<Map<number, string>> {
  const pages = new Map<number, string>();
  for await (const { startPage, pageCount, bytes } of reader.pages(pid)) {
    for (let index = 0; index < pageCount; index++) {
      const page = bytes?.subarray(index * 4096, (index + 1) * 4096);
      pages.set(startPage + index, page === undefined ? '' : Buffer.from(page).toString('base64'));
    }
  }
  return pages;
}

it('names the pages that hold the same in two checkpoints, and no others', async () => {
  const workload = join(root, 'small.yaml');
  writeFileSync(workload, SMALL_WORKLOAD);
  const storeDirectory = join(root, 'store');
  await dumpTarget({
    target: `sim:${workload}`,
    storeDirectory,
    incremental: false,
    waitMicroseconds: 2000,
    everyMicroseconds: 6000,
    count: 4,
    workers: 0,
  });
  await readStore(
    storeDirectory,
    async (store) => {
      const [first, second, last] = await Promise.all(
        [1, 2, 4].map((number) => store.openCheckpoint(number)),
      );
      for (const [left, right] of [
        [first!, last!],
        [last!, first!],
        [first!, second!],
        [last!, last!],
      ] as const) {
        const { pid } = left.manifest.processes[0]!;
        const common = await commonPages(await left.index(pid), await right.index(pid));
        const [ours, theirs] = [await contents(left, pid), await contents(right, pid)];
        const expected = [...ours].filter(([page, held]) => theirs.get(page) === held).map(([page]) => page);
        const named = [...common].flatMap(({ startPage, endPage }) =>
          Array.from({ length: endPage - startPage }, (_, index) => startPage + index),
        );
        expect(named).toEqual(expected);
        expect(named.length).toBeGreaterThan(0);
        expect(named.length < ours.size).toBe(left !== right);
      }
    },
    0,
  );
});
