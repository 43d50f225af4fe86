import type { AddressSpace } from '../address-space.ts';
import { handleFault } from '../fault/handle.ts';
import { FAULT } from '../fault/mode.ts';
import { FRAME } from '../memory/frames.ts';
import { PTE, TABLE_ENTRIES } from '../pagetable/entry.ts';
import type { KernelFeatures } from '../version.ts';
import type { Vma } from '../vma/vma.ts';

/** A KSM page, or a zero page that KSM put in (6.6 marks those dirty). */
function isMerged(features: KernelFeatures, frameFlags: number, entry: number): boolean {
  if (frameFlags & FRAME.ksm) return true;
  return features.ksmZeroDirty && (entry & (PTE.special | PTE.dirty)) === (PTE.special | PTE.dirty);
}

/**
 * break_ksm: the mapping gets a private copy of a KSM page. Up to 6.1 by pretending a store, which makes it soft-dirty;
 * later by unsharing, which does not.
 */
export function breakMerge(space: AddressSpace, vma: Vma, page: number): void {
  handleFault(space, vma, page, space.machine.features.ksmUnshares ? FAULT.unshare : FAULT.write);
}

/** unmerge_ksm_pages: undoes the merging of every KSM page of the range. */
export function unmergeRange(space: AddressSpace, vma: Vma, start: number, end: number): void {
  if (vma.anonVma === null) return;
  const { frames, features } = space.machine;
  space.tables.forEachBlock(
    Math.floor(start / TABLE_ENTRIES),
    Math.ceil(end / TABLE_ENTRIES),
    (block, found) => {
      if (found.huge) return;
      for (let index = 0; index < TABLE_ENTRIES; index++) {
        const page = block * TABLE_ENTRIES + index;
        if (page < start || page >= end || !(found.flags[index]! & PTE.present)) continue;
        if (isMerged(features, frames.flags[found.values[index]!]!, found.flags[index]!)) {
          breakMerge(space, vma, page);
        }
      }
    },
  );
}
