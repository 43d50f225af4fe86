import type { MappingDecision, ProcessView } from '../target/index.ts';

/** Pages under one page table: what mremap can move without touching a single entry. */
export const BLOCK_PAGES = 512;
/** Pages whose words are read at once: 256 KiB of pagemap, still inside a processor's cache. */
const BATCH_PAGES = 64 * BLOCK_PAGES;

/** The part of one mapping inside one block. */
export interface Piece {
  readonly decision: MappingDecision;
  readonly startPage: number;
  readonly endPage: number;
}

/** One 2 MiB block with its pagemap words and the pieces of mappings in it, in address order. */
export interface Block {
  /** Number of the block: page / 512. */
  readonly number: number;
  readonly startPage: number;
  /** Words of the batch that is being looked at; valid during the visit only. */
  readonly words: Uint32Array;
  /** The same memory as signed halves, for the inner loops. */
  readonly signedWords: Int32Array;
  /** Where the word of `startPage` is in `words`, counted in words of 64 bits. */
  readonly wordOffset: number;
  readonly pieces: readonly Piece[];
}

/**
 * Reads pagemap for mappings in address order and visits every 2 MiB block that they touch, once each.
 * @returns pages of the mappings that were looked at
 */
export function scanBlocks(
  process: ProcessView,
  decisions: readonly MappingDecision[],
  visit: (block: Block) => void,
): number {
  const words = new Uint32Array(BATCH_PAGES * 2);
  const signedWords = new Int32Array(words.buffer);
  let scannedPages = 0;
  let first = 0;
  let nextPage = 0;
  while (first < decisions.length) {
    const startPage = blockStart(Math.max(nextPage, decisions[first]!.vma.startPage));
    const endPage = batchEnd(decisions, first, startPage);
    readWords(process, startPage, endPage - startPage, words);
    for (let page = startPage; page < endPage; page += BLOCK_PAGES) {
      const pieces = piecesOf(decisions, first, page);
      for (const piece of pieces) scannedPages += piece.endPage - piece.startPage;
      visit({
        number: page / BLOCK_PAGES,
        startPage: page,
        words,
        signedWords,
        wordOffset: page - startPage,
        pieces,
      });
      while (first < decisions.length && decisions[first]!.vma.endPage <= page + BLOCK_PAGES) first++;
    }
    nextPage = endPage;
  }
  return scannedPages;
}

function blockStart(page: number): number {
  return page - (page % BLOCK_PAGES);
}

/** End of a batch that begins at `startPage`: no block in it is free of mappings. */
function batchEnd(decisions: readonly MappingDecision[], first: number, startPage: number): number {
  const limit = startPage + BATCH_PAGES;
  let endPage = startPage;
  for (let index = first; index < decisions.length; index++) {
    const { vma } = decisions[index]!;
    if (endPage > startPage && blockStart(vma.startPage) > endPage) break;
    endPage = Math.max(endPage, Math.min(limit, blockStart(vma.endPage + BLOCK_PAGES - 1)));
    if (vma.endPage >= limit) break;
  }
  return endPage;
}

function readWords(process: ProcessView, startPage: number, pageCount: number, words: Uint32Array): void {
  let done = 0;
  while (done < pageCount) {
    const count = process.readPagemap(startPage + done, pageCount - done, words.subarray(done * 2));
    if (count === 0) break;
    done += count;
  }
  // The last block of the address space has fewer words than pages.
  words.fill(0, done * 2, pageCount * 2);
}

function piecesOf(decisions: readonly MappingDecision[], first: number, blockPage: number): Piece[] {
  const pieces: Piece[] = [];
  for (let index = first; index < decisions.length; index++) {
    const decision = decisions[index]!;
    if (decision.vma.startPage >= blockPage + BLOCK_PAGES) break;
    pieces.push({
      decision,
      startPage: Math.max(decision.vma.startPage, blockPage),
      endPage: Math.min(decision.vma.endPage, blockPage + BLOCK_PAGES),
    });
  }
  return pieces;
}
