import { freshEntry } from '../address-space.ts';
import type { Machine } from '../machine.ts';
import { FRAME } from '../memory/frames.ts';
import { cachePage } from '../memory/page-cache.ts';
import { PTE, TABLE_ENTRIES } from '../pagetable/entry.ts';

/** swapoff(2): brings every swapped page back; soft-dirty is carried over (unuse_pte). */
export function swapOff(machine: Machine): number {
  const { swap, frames } = machine;
  if (!swap.enabled) return -22;
  swap.enabled = false;
  for (const space of machine.spaces) {
    for (const vma of space.vmas.items) {
      const first = Math.floor(vma.start / TABLE_ENTRIES);
      const last = Math.ceil(vma.end / TABLE_ENTRIES);
      space.tables.forEachBlock(first, last, (block, found) => {
        if (found.huge) return;
        for (let index = 0; index < TABLE_ENTRIES; index++) {
          const page = block * TABLE_ENTRIES + index;
          const entry = found.flags[index]!;
          if (!(entry & PTE.swap) || page < vma.start || page >= vma.end) continue;
          const slot = found.values[index]!;
          const frame = swap.frames[slot]!;
          if (!(frames.flags[frame]! & FRAME.swapCache)) {
            frames.flags[frame] = FRAME.anonymous | FRAME.swapBacked | FRAME.swapCache;
            swap.slotOfFrame.set(frame, slot);
          }
          if (entry & PTE.swapExclusive) frames.flags[frame]! |= FRAME.exclusive;
          swap.users[slot]!--;
          machine.mapFrame(frame);
          const fresh = freshEntry(vma) & ~(PTE.accessed | PTE.write);
          found.set(index, fresh | (entry & (PTE.soft | PTE.uffd)), frame);
        }
      });
    }
  }
  for (const node of machine.nodes.values()) {
    for (const index of [...node.swapped.keys()]) cachePage(machine, node, index);
  }
  for (const frame of [...swap.slotOfFrame.keys()]) machine.leaveSwapCache(frame);
  return 0;
}

/** swapon(2). */
export function swapOn(machine: Machine): number {
  if (machine.swap.enabled) return -16;
  machine.swap.enabled = true;
  return 0;
}
