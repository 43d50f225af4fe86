import { setImmediate as nextTurn } from 'node:timers/promises';
import { PAGE_SIZE, type PageRangeList } from '../../core/index.ts';
import type { ProcessView } from '../../target/index.ts';

/** Pages of one read. */
const READ_PAGES = 256;

/**
 * Reads pages of a running process and shows each of them once; pages that cannot be read are left out. Signals are
 * looked at in between.
 * @throws the signal's reason, TargetError if the process is gone
 */
export async function readEachPage(
  process: ProcessView,
  pages: PageRangeList,
  signal: AbortSignal | undefined,
  visit: (page: number, content: Uint8Array) => void,
): Promise<void> {
  const buffer = new Uint8Array(READ_PAGES * PAGE_SIZE);
  let sinceTurn = 0;
  for (const { startPage, endPage } of pages) {
    for (let page = startPage; page < endPage; ) {
      const wanted = Math.min(READ_PAGES, endPage - page);
      const found = process.readMemory(page, wanted, buffer);
      for (let index = 0; index < found; index++) {
        visit(page + index, buffer.subarray(index * PAGE_SIZE, (index + 1) * PAGE_SIZE));
      }
      page += Math.max(1, found);
      sinceTurn += Math.max(1, found);
      if (sinceTurn < READ_PAGES * 4) continue;
      sinceTurn = 0;
      await nextTurn();
      signal?.throwIfAborted();
    }
  }
}
