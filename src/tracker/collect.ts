import { formatPageAddress, PageRangeList } from '../core/index.ts';
import { decideMapping, type MappingDecision, type ProcessView, type Vma } from '../target/index.ts';
import { type Block, type Piece, scanBlocks } from './block-scan.ts';
import type { ChangesBuilder } from './changes-builder.ts';
import { classifyWords, existingWords, PAGE_STATE } from './classify.ts';

/** What decides whether a clear soft-dirty bit is believed; without it everything that exists is suspect. */
export interface Trust {
  /** Called once for each block, in address order. */
  block(block: Block): boolean;
  /** Called for each piece of a believed block. */
  piece(piece: Piece): boolean;
}

/** Whether a mapping holds memory of this process alone. */
export function isPrivate({ rule }: MappingDecision): boolean {
  return rule === 'existing' || rule === 'copied';
}

/** Looks at every page of the selected mappings and hands its verdicts to `changes`. */
export function collectPages(
  process: ProcessView,
  vmas: readonly Vma[],
  trust: Trust | undefined,
  changes: ChangesBuilder,
): number {
  const decisions = vmas.map(decideMapping).filter(({ rule }) => rule !== 'none');
  const objectPages = new Map<MappingDecision, PageRangeList>();
  for (const decision of decisions) {
    if (decision.rule === 'object') objectPages.set(decision, pagesOfObject(process, decision, changes));
  }
  const zeroFrame = process.zeroFrame ?? -1;
  return scanBlocks(process, decisions, (block) => {
    const blockTrusted = trust?.block(block) ?? false;
    for (const piece of block.pieces) {
      const { rule } = piece.decision;
      if (rule === 'every') changes.suspect(piece.startPage, piece.endPage);
      else if (rule === 'object') collectObject(block, piece, objectPages.get(piece.decision)!, changes);
      else if (rule === 'untracked') changes.suspectAll(existingPages(block, piece));
      else collectPrivate(block, piece, blockTrusted && trust!.piece(piece), zeroFrame, changes);
    }
  });
}

/** Private memory: where the tracker's bit can be believed, it is. */
function collectPrivate(
  block: Block,
  piece: Piece,
  trusted: boolean,
  zeroFrame: number,
  changes: ChangesBuilder,
): void {
  const shift = block.startPage - block.wordOffset;
  const reading = { copiedOnly: piece.decision.rule === 'copied', trusted, zeroFrame };
  classifyWords(
    block.signedWords,
    piece.startPage - shift,
    piece.endPage - shift,
    reading,
    (state, from, to) => {
      if (state === PAGE_STATE.clean) changes.clean(from + shift, to + shift);
      else changes.suspect(from + shift, to + shift);
    },
  );
}

/** Shared memory: bit 55 belongs to this page table alone, and a page may be dropped from it, so it proves nothing. */
function collectObject(block: Block, piece: Piece, populated: PageRangeList, changes: ChangesBuilder): void {
  const mapped = existingPages(block, piece);
  changes.suspectAll(mapped.union(populated.within(piece.startPage, piece.endPage)));
}

function existingPages(block: Block, piece: Piece): PageRangeList {
  const pages = new PageRangeList();
  const shift = block.startPage - block.wordOffset;
  existingWords(block.signedWords, piece.startPage - shift, piece.endPage - shift, (from, to) =>
    pages.append(from + shift, to + shift),
  );
  return pages;
}

/** Pages that the object behind a shared mapping holds, mapped by this process or not. */
function pagesOfObject(
  process: ProcessView,
  decision: MappingDecision,
  changes: ChangesBuilder,
): PageRangeList {
  const populated = process.populatedPages?.(decision.vma);
  if (populated !== undefined) return PageRangeList.of(...populated);
  const { startPage, endPage } = decision.vma;
  changes.doubt(
    `shared memory ${formatPageAddress(startPage)}-${formatPageAddress(endPage)}: pages that only other processes ` +
      'have used cannot be seen without CAP_CHECKPOINT_RESTORE (run as root)',
  );
  return new PageRangeList();
}
