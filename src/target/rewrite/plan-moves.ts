import type { PageRange } from '../../core/index.ts';
import type { MappingOperation } from './mapping-operations.ts';

/** A special mapping that has to go elsewhere. */
export interface SpecialMove {
  readonly fromPage: number;
  readonly toPage: number;
  readonly pageCount: number;
}

/** Where temporary things are looked for, from the top: page numbers below the 47-bit limit of user space. */
const LOWEST_PAGE = 0x10000;
const HIGHEST_PAGE = 0x7fff00000;
/** Twice the guard gap below a stack. */
const MARGIN_PAGES = 512;

/**
 * Orders moves so that none lands on a mapping that has still to leave. mremap refuses ranges that overlap, so where
 * one lands on the old place of another, or of itself, all go by way of free addresses.
 */
export function planMoves(
  moves: readonly SpecialMove[],
  current: readonly PageRange[],
  wanted: readonly PageRange[],
): MappingOperation[] {
  const collide = moves.some(({ toPage, pageCount }) =>
    moves.some((other) => toPage < other.fromPage + other.pageCount && other.fromPage < toPage + pageCount),
  );
  if (!collide) return moves.map((move) => ({ kind: 'move', ...move }));
  const total = moves.reduce((sum, { pageCount }) => sum + pageCount, 0);
  let place = findGap([current, wanted], total);
  const away: MappingOperation[] = [];
  const back: MappingOperation[] = [];
  for (const { fromPage, toPage, pageCount } of moves) {
    away.push({ kind: 'move', fromPage, toPage: place, pageCount });
    back.push({ kind: 'move', fromPage: place, toPage, pageCount });
    place += pageCount;
  }
  return [...away, ...back];
}

/**
 * The highest free addresses of `pageCount` pages that no layout uses, far from everything: a neighbour would be
 * joined, or stand in the way of a stack. @throws RangeError if there are none
 */
export function findGap(layouts: readonly (readonly PageRange[])[], pageCount: number): number {
  const used = layouts
    .flat()
    .filter(({ startPage }) => startPage < HIGHEST_PAGE)
    .sort((left, right) => right.endPage - left.endPage);
  let ceiling = HIGHEST_PAGE;
  for (const { startPage, endPage } of [...used, { startPage: LOWEST_PAGE, endPage: LOWEST_PAGE }]) {
    if (ceiling - endPage >= pageCount + 2 * MARGIN_PAGES) return ceiling - pageCount - MARGIN_PAGES;
    ceiling = Math.min(ceiling, startPage);
  }
  throw new RangeError('the address space has no gap');
}
