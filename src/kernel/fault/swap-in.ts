import { type AddressSpace, freshEntry, writableIfAllowed } from '../address-space.ts';
import { FRAME } from '../memory/frames.ts';
import { PTE, SOFTWARE_DIRTY } from '../pagetable/entry.ts';
import type { LeafTable } from '../pagetable/tables.ts';
import { VM, VM_LOCKED_ANY } from '../vma/flags.ts';
import type { Vma } from '../vma/vma.ts';
import { FAULT, type FaultMode } from './mode.ts';
import { writeProtectFault } from './write-protect.ts';

/** do_swap_page: a swapped page is touched. Soft-dirty of the entry goes into the new one; a load does not set it. */
export function swapInFault(
  space: AddressSpace,
  vma: Vma,
  table: LeafTable,
  index: number,
  mode: FaultMode,
): number {
  const { machine } = space;
  const { frames, swap } = machine;
  const entry = table.flags[index]!;
  const slot = table.values[index]!;
  const frame = swap.frames[slot]!;
  const inCache = (frames.flags[frame]! & FRAME.swapCache) !== 0;
  let exclusive = (entry & PTE.swapExclusive) !== 0;
  if (!inCache && swap.users[slot] === 1) {
    // The only user reads the slot: the page skips the swap cache and the slot is free at once.
    swap.users[slot] = 0;
    swap.slotOfFrame.delete(frame);
    swap.releaseSlot(slot);
    frames.flags[frame] = FRAME.anonymous | FRAME.swapBacked | FRAME.dirty;
    exclusive = true;
  } else {
    if (!inCache) {
      frames.flags[frame] = FRAME.anonymous | FRAME.swapBacked | FRAME.swapCache;
      swap.slotOfFrame.set(frame, slot);
    }
    swap.users[slot]!--;
    if (mayLeaveCache(space, vma, frame, mode)) machine.leaveSwapCache(frame);
  }
  const alone = exclusive || frames.referenceCount(frame) === 0;
  let flags = freshEntry(vma) | (entry & (PTE.soft | PTE.uffd));
  let rest: FaultMode = mode;
  if (alone && !(frames.flags[frame]! & FRAME.ksm)) {
    frames.flags[frame]! |= FRAME.exclusive;
    if (machine.features.swapInWritable) {
      if (vma.has(VM.write) && !(flags & PTE.uffd && vma.has(VM.uffdWp)) && !needsNotice(space, vma, flags)) {
        flags |= PTE.write;
        if (mode === FAULT.write) {
          flags |= SOFTWARE_DIRTY;
          rest = FAULT.read;
        }
      }
    } else if (mode === FAULT.write) {
      flags = writableIfAllowed(flags | SOFTWARE_DIRTY, vma);
      rest = FAULT.read;
    }
  }
  if (flags & PTE.uffd) flags &= ~PTE.write;
  machine.mapFrame(frame);
  table.set(index, flags, frame);
  machine.ledger.fault('swapIn');
  if (rest === FAULT.write) return writeProtectFault(space, vma, table, index, FAULT.write);
  return 0;
}

function needsNotice(space: AddressSpace, vma: Vma, flags: number): boolean {
  return space.tracks(vma) && !(flags & PTE.soft);
}

/** should_try_to_free_swap. */
function mayLeaveCache(space: AddressSpace, vma: Vma, frame: number, mode: FaultMode): boolean {
  const { frames } = space.machine;
  if (vma.flags & VM_LOCKED_ANY) return true;
  return mode === FAULT.write && !(frames.flags[frame]! & FRAME.ksm) && frames.mapCount[frame] === 0;
}
