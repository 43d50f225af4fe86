import type { AddressSpace } from '../address-space.ts';
import { dissolve } from '../fault/huge.ts';
import { FRAME, HUGE_FRAMES } from '../memory/frames.ts';
import { evictFilePage, splitCachedHuge, swapOutFilePage } from '../memory/page-cache.ts';
import { PTE, TABLE_ENTRIES } from '../pagetable/entry.ts';
import type { LeafTable } from '../pagetable/tables.ts';
import { leaveMarker, splitHugeEntry } from '../pagetable/unmap.ts';
import type { Vma } from '../vma/vma.ts';

/** madvise_pageout: reclaims the pages of [start, end) that nobody else maps, at once. */
export function pageOut(space: AddressSpace, vma: Vma, start: number, end: number): void {
  const { tables, machine } = space;
  tables.forEachBlock(Math.floor(start / TABLE_ENTRIES), Math.ceil(end / TABLE_ENTRIES), (block, found) => {
    const from = Math.max(start, block * TABLE_ENTRIES) - block * TABLE_ENTRIES;
    const to = Math.min(end, (block + 1) * TABLE_ENTRIES) - block * TABLE_ENTRIES;
    let table = found;
    if (table.huge) {
      if (table.flags & PTE.special || machine.frames.mappings(table.frame) !== 1) return;
      const head = table.frame;
      const anonymous = (machine.frames.flags[head]! & FRAME.anonymous) !== 0;
      if (!machine.swap.enabled && from === 0 && to === TABLE_ENTRIES && pinned(space, head)) return;
      splitHugeEntry(space, vma, block);
      if (anonymous) dissolve(space, head);
      else splitCachedHuge(machine, vma.file!.node, head);
      const split = tables.find(block);
      if (split === undefined || split.huge) {
        reclaimUnmappedFile(space, vma, block * TABLE_ENTRIES + from, block * TABLE_ENTRIES + to);
        return;
      }
      table = split;
    }
    for (let index = from; index < to; index++) {
      if (table.flags[index]! & PTE.present)
        reclaimEntry(space, vma, table, index, block * TABLE_ENTRIES + index);
    }
  });
}

function pinned(space: AddressSpace, head: number): boolean {
  for (let frame = head; frame < head + HUGE_FRAMES; frame++) {
    if (space.machine.frames.references[frame] !== 0) return true;
  }
  return false;
}

/** The pages of a huge file page that has just been split: no entry maps them any more. */
function reclaimUnmappedFile(space: AddressSpace, vma: Vma, start: number, end: number): void {
  for (let page = start; page < end; page++) {
    swapOutFilePage(space.machine, vma.file!.node, vma.offsetOf(page));
  }
}

/** shrink_folio_list for the page behind one entry. */
function reclaimEntry(space: AddressSpace, vma: Vma, table: LeafTable, index: number, page: number): void {
  const { machine } = space;
  const { frames } = machine;
  const entry = table.flags[index]!;
  if (entry & PTE.special) return;
  const frame = table.values[index]!;
  if (frames.flags[frame]! & FRAME.compound) {
    if (frames.mappings(frame) !== 1 || !dissolve(space, frame - (frame % HUGE_FRAMES))) return;
  }
  if (frames.mapCount[frame] !== 1) return;
  table.setFlags(index, entry & ~PTE.accessed);
  if (frames.references[frame] !== 0) return;
  if (frames.flags[frame]! & FRAME.anonymous) reclaimPrivate(space, table, index, frame);
  else reclaimCached(space, vma, table, index, frame, page);
}

function reclaimPrivate(space: AddressSpace, table: LeafTable, index: number, frame: number): void {
  const { machine } = space;
  const { frames, swap } = machine;
  const entry = table.flags[index]!;
  if (!(frames.flags[frame]! & FRAME.swapBacked)) {
    // After MADV_FREE: dropped unless it was stored to since.
    if (entry & PTE.dirty || frames.flags[frame]! & FRAME.dirty)
      frames.flags[frame]! |= FRAME.swapBacked | FRAME.dirty;
    else {
      table.clear(index);
      machine.unmapFrame(frame);
    }
    return;
  }
  const known = swap.slotOfFrame.get(frame);
  if (known === undefined && !swap.enabled) return;
  const slot = known ?? swap.allocate(frame);
  swap.users[slot]!++;
  const kept = entry & (PTE.soft | PTE.uffd);
  const exclusive = frames.flags[frame]! & FRAME.exclusive ? PTE.swapExclusive : 0;
  table.set(index, PTE.swap | kept | exclusive, slot);
  frames.mapCount[frame] = 0;
  swap.slotOfFrame.delete(frame);
  frames.flags[frame] = FRAME.storage;
}

function reclaimCached(
  space: AddressSpace,
  vma: Vma,
  table: LeafTable,
  index: number,
  frame: number,
  page: number,
): void {
  const { machine } = space;
  const { frames } = machine;
  if (vma.file === null) return;
  const { node } = vma.file;
  if (node.swappable && !machine.swap.enabled && !node.pages.has(vma.offsetOf(page))) return;
  const entry = table.flags[index]!;
  table.clear(index);
  leaveMarker(vma, table, index, entry);
  if (entry & PTE.dirty) frames.flags[frame]! |= FRAME.dirty;
  machine.unmapFrame(frame);
  if (node.swappable) swapOutFilePage(machine, node, vma.offsetOf(page));
  else evictFilePage(machine, node, vma.offsetOf(page));
}
