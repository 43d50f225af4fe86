import { PAGE_DIGEST_BYTES, type PageDigests } from '../codec/index.ts';
import { PAGE_SIZE, type PageRangeList } from '../core/index.ts';
import type { ProcessView } from '../target/index.ts';
import type { DigestedChunk } from './digested.ts';
import { type PageChunk, SPOOL_CHUNK_PAGES } from './page-spool.ts';
import type { PreviousPages } from './previous-pages.ts';

/** What one process's pages are copied with. */
export interface CopySource {
  readonly view: ProcessView;
  readonly processIndex: number;
  /** Gives an empty chunk to fill. */
  readonly takeChunk: () => PageChunk;
  /** Told about every page that could not be read. */
  readonly onUnreadable: (startPage: number, endPage: number) => void;
}

/**
 * Reads the pages of `ranges` out of a process, in address order, into chunks. Small ranges share a chunk, large ones
 * are read a chunk at a time; a page that cannot be read is reported and left out.
 * @throws TargetError if the process is gone.
 */
export function* copyPages(source: CopySource, ranges: PageRangeList): Generator<PageChunk> {
  let chunk = source.takeChunk();
  chunk.processIndex = source.processIndex;
  for (let index = 0; index < ranges.rangeCount; index++) {
    const endPage = ranges.endPage(index);
    for (let page = ranges.startPage(index); page < endPage; ) {
      const wanted = Math.min(endPage - page, SPOOL_CHUNK_PAGES - chunk.pageCount);
      const read = readInto(source, chunk, page, wanted);
      page += read;
      if (read < wanted) {
        source.onUnreadable(page, page + 1);
        page++;
      }
      if (chunk.pageCount === SPOOL_CHUNK_PAGES) {
        yield chunk;
        chunk = source.takeChunk();
        chunk.processIndex = source.processIndex;
      }
    }
  }
  yield chunk;
}

function readInto(source: CopySource, chunk: PageChunk, startPage: number, pageCount: number): number {
  const at = chunk.pageCount;
  const into = chunk.bytes.subarray(at * PAGE_SIZE, (at + pageCount) * PAGE_SIZE);
  const read = source.view.readMemory(startPage, pageCount, into);
  for (let page = 0; page < read; page++) chunk.pages[at + page] = startPage + page;
  chunk.pageCount += read;
  return read;
}

/**
 * Removes from a chunk, and from its digests, the pages that are as `previous` has them, and adds these to `same`.
 */
export async function dropUnchanged(
  { chunk, found }: DigestedChunk,
  previous: PreviousPages,
  same: PageRangeList,
): Promise<void> {
  let kept = 0;
  for (let index = 0; index < chunk.pageCount; index++) {
    const page = chunk.pages[index]!;
    if (!previous.covers(page)) await previous.enter(page);
    if (previous.find(page) && previous.hasDigest(found.digests, index)) {
      same.append(page, page + 1);
      continue;
    }
    if (kept !== index) movePage(chunk, found, index, kept);
    kept++;
  }
  chunk.pageCount = kept;
}

function movePage(chunk: PageChunk, found: PageDigests, from: number, to: number): void {
  chunk.bytes.copyWithin(to * PAGE_SIZE, from * PAGE_SIZE, (from + 1) * PAGE_SIZE);
  chunk.pages[to] = chunk.pages[from]!;
  found.digests.copyWithin(to * PAGE_DIGEST_BYTES, from * PAGE_DIGEST_BYTES, (from + 1) * PAGE_DIGEST_BYTES);
  found.zeroFlags[to] = found.zeroFlags[from]!;
}
