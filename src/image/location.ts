import { MAX_BLOCK_SLOTS } from './limits.ts';

/**
 * Where a page or a page difference lies: a pack, and a *position* in it. The position is `block * 256 + slot`: one
 * 32-bit number, so that index columns and the table of known pages stay small.
 */
export interface Location {
  readonly pack: number;
  readonly position: number;
}

/** The position of a slot in a block. */
export function positionOf(block: number, slot: number): number {
  return block * MAX_BLOCK_SLOTS + slot;
}

/** The block number of a position. */
export function blockOfPosition(position: number): number {
  return Math.floor(position / MAX_BLOCK_SLOTS);
}

/** The slot of a position. */
export function slotOfPosition(position: number): number {
  return position % MAX_BLOCK_SLOTS;
}

/** `pack 000001, block 17, slot 3`. */
export function describeLocation(pack: number, position: number): string {
  return `pack ${formatNumber(pack)}, block ${blockOfPosition(position)}, slot ${slotOfPosition(position)}`;
}

/** Packs and checkpoints are named by six digits or more: `000017`. */
export function formatNumber(number: number): string {
  return String(number).padStart(6, '0');
}
