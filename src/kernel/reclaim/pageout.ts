import type { AddressSpace } from '../address-space.ts';
import { FRAME, HUGE_FRAMES } from '../memory/frames.ts';
import { evictFilePage, splitCachedHuge, swapOutFilePage } from '../memory/page-cache.ts';
import { PTE, TABLE_ENTRIES } from '../pagetable/entry.ts';
import type { HugeEntry, LeafTable } from '../pagetable/tables.ts';
import { leaveMarker, splitHugeEntry } from '../pagetable/unmap.ts';
import { batchLength, splitHugePage } from '../thp/split.ts';
import type { Vma } from '../vma/vma.ts';

/** madvise_pageout: reclaims the pages of [start, end) that nobody else maps, at once. */
export function pageOut(space: AddressSpace, vma: Vma, start: number, end: number): void {
  const { tables } = space;
  tables.forEachBlock(Math.floor(start / TABLE_ENTRIES), Math.ceil(end / TABLE_ENTRIES), (block, found) => {
    const base = block * TABLE_ENTRIES;
    const from = Math.max(start, base) - base;
    const to = Math.min(end, base + TABLE_ENTRIES) - base;
    const whole = from === 0 && to === TABLE_ENTRIES;
    if (found.huge && !openHuge(space, vma, block, found, whole)) return;
    const table = tables.find(block);
    if (table === undefined || table.huge) {
      // A file page that was split while only a part of it was meant has no entries left to go through.
      if (whole) reclaimUnmappedFile(space, vma, base, base + to);
      return;
    }
    for (let index = from; index < to; index++) {
      const result = splitForReclaim(space, table, index, to, false);
      if (result === 'stop') return;
      if (result === 'ready' && table.flags[index]! & PTE.present)
        reclaimEntry(space, vma, table, index, base + index);
    }
  });
}

/**
 * Makes the pages behind a huge entry reclaimable one by one; false if they stay. A huge page that goes whole is swapped
 * as one, so that only its entry is split; otherwise the page falls apart first.
 */
function openHuge(space: AddressSpace, vma: Vma, block: number, entry: HugeEntry, whole: boolean): boolean {
  const { machine } = space;
  const { frames } = machine;
  const head = entry.frame;
  if (entry.flags & PTE.special || frames.mappings(head) !== 1) return false;
  const anonymous = (frames.flags[head]! & FRAME.anonymous) !== 0;
  if (!anonymous) {
    splitHugePage(space, head);
    if (frames.compounds.has(head)) splitCachedHuge(machine, vma.file!.node, head);
    return true;
  }
  for (let frame = head; frame < head + HUGE_FRAMES; frame++)
    if (frames.references[frame] !== 0) return false;
  if (!whole || !machine.swap.enabled) {
    splitHugePage(space, head);
    return !whole || machine.swap.enabled;
  }
  splitHugeEntry(space, vma, block);
  frames.dissolveHuge(head);
  return true;
}

/** The pages of a huge file page that has just been split: no entry maps them any more. */
function reclaimUnmappedFile(space: AddressSpace, vma: Vma, start: number, end: number): void {
  for (let page = start; page < end; page++) {
    swapOutFilePage(space.machine, vma.file!.node, vma.offsetOf(page));
  }
}

/** What becomes of an entry that maps a part of a huge page when it is to be reclaimed or freed. */
export type SplitResult = 'ready' | 'skip' | 'stop';

/**
 * Before an entry of a huge page is reclaimed or freed, the huge page falls apart, unless (from 6.10) all of it is meant.
 * Shared pages are left alone; which ones count as shared differs: `byFirst` asks the first page of the huge page.
 */
export function splitForReclaim(
  space: AddressSpace,
  table: LeafTable,
  index: number,
  end: number,
  byFirst: boolean,
): SplitResult {
  const { frames, features } = space.machine;
  const flags = table.flags[index]!;
  if (!(flags & PTE.present) || flags & PTE.special) return 'ready';
  const frame = table.values[index]!;
  if (!(frames.flags[frame]! & FRAME.compound) || frames.flags[frame]! & FRAME.hugeTlb) return 'ready';
  const head = frame - (frame % HUGE_FRAMES);
  if (!features.largePagesReclaimedWhole) {
    if (frames.mappings(byFirst ? head : frame) !== 1) return 'stop';
    return splitHugePage(space, head) ? 'ready' : 'stop';
  }
  if (batchLength(table, index, end) === HUGE_FRAMES) {
    if (frames.compounds.get(head)!.total !== HUGE_FRAMES) return 'skip';
    if (frames.flags[frame]! & FRAME.anonymous) frames.dissolveHuge(head);
    return 'ready';
  }
  return !likelyShared(space, head) && splitHugePage(space, head) ? 'ready' : 'skip';
}

/** folio_likely_mapped_shared: a guess from the number of mappings and those of the first page. */
function likelyShared(space: AddressSpace, head: number): boolean {
  const { frames } = space.machine;
  const { entire, total } = frames.compounds.get(head)!;
  if (total <= 1) return false;
  return entire > 0 || total > HUGE_FRAMES || frames.mapCount[head]! > 1;
}

/** shrink_folio_list for the page behind one entry. */
function reclaimEntry(space: AddressSpace, vma: Vma, table: LeafTable, index: number, page: number): void {
  const { machine } = space;
  const { frames } = machine;
  const entry = table.flags[index]!;
  if (entry & PTE.special) return;
  const frame = table.values[index]!;
  if (frames.flags[frame]! & FRAME.compound || frames.mapCount[frame] !== 1) return;
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
    if (entry & PTE.dirty || frames.flags[frame]! & FRAME.dirty) {
      frames.flags[frame]! |= FRAME.swapBacked | FRAME.dirty;
    } else {
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
  const entry = table.flags[index]!;
  table.clear(index);
  leaveMarker(vma, table, index, entry);
  if (entry & PTE.dirty) frames.flags[frame]! |= FRAME.dirty;
  machine.unmapFrame(frame);
  if (node.swappable) swapOutFilePage(machine, node, vma.offsetOf(page));
  else evictFilePage(machine, node, vma.offsetOf(page));
}
