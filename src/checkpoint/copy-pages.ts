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
  let chunk = emptyChunk(source);
  for (let index = 0; index < ranges.rangeCount; index++) {
    const endPage = ranges.endPage(index);
    for (let page = ranges.startPage(index); page < endPage; page++) {
      chunk.pages[chunk.pageCount++] = page;
      if (chunk.pageCount < SPOOL_CHUNK_PAGES) continue;
      readInto(source, chunk);
      yield chunk;
      chunk = emptyChunk(source);
    }
  }
  readInto(source, chunk);
  yield chunk;
}

function emptyChunk(source: CopySource): PageChunk {
  const chunk = source.takeChunk();
  chunk.processIndex = source.processIndex;
  return chunk;
}

/** Reads the pages that a chunk lists; those that cannot be read are reported and taken out. */
function readInto({ view, onUnreadable }: CopySource, chunk: PageChunk): void {
  for (let at = 0; at < chunk.pageCount; ) {
    const wanted = view.readPages === undefined ? adjacentPages(chunk, at) : chunk.pageCount - at;
    const into = chunk.bytes.subarray(at * PAGE_SIZE, (at + wanted) * PAGE_SIZE);
    const read =
      view.readPages?.(chunk.pages, at, wanted, into) ?? view.readMemory(chunk.pages[at]!, wanted, into);
    at += read;
    if (read === wanted) continue;
    onUnreadable(chunk.pages[at]!, chunk.pages[at]! + 1);
    chunk.pages.copyWithin(at, at + 1, chunk.pageCount);
    chunk.pageCount--;
  }
}

/** How many pages of a chunk from `at` on are adjacent. */
function adjacentPages({ pages, pageCount }: PageChunk, at: number): number {
  let end = at + 1;
  while (end < pageCount && pages[end] === pages[end - 1]! + 1) end++;
  return end - at;
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
