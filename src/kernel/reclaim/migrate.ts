import { ERRNO } from '../abi.ts';
import type { AddressSpace } from '../address-space.ts';
import { FRAME, HUGE_FRAMES } from '../memory/frames.ts';
import { PTE, SOFTWARE_DIRTY, TABLE_ENTRIES } from '../pagetable/entry.ts';
import type { HugeEntry, LeafTable } from '../pagetable/tables.ts';

/** Every simulated machine has nodes 0 and 1, as the recorded ones had. */
const MEMORY_NODES = 2;

/** move_pages(2): brings pages to a memory node; how many of them are there afterwards, or -ENODEV. */
export function migratePages(
  space: AddressSpace,
  startPage: number,
  pageCount: number,
  node: number,
): number {
  if (pageCount > 0 && (node < 0 || node >= MEMORY_NODES)) return -ERRNO.ENODEV;
  let there = 0;
  for (let page = startPage; page < startPage + pageCount; page++) {
    if (migrateOne(space, page, node)) there++;
  }
  return there;
}

function migrateOne(space: AddressSpace, page: number, node: number): boolean {
  const { frames } = space.machine;
  const found = space.tables.find(Math.floor(page / TABLE_ENTRIES));
  if (found === undefined) return false;
  const index = page % TABLE_ENTRIES;
  const flags = found.huge ? found.flags : found.flags[index]!;
  if (!(flags & PTE.present) || flags & PTE.special) return false;
  const frame = found.huge ? found.frame + index : found.values[index]!;
  const wanted = node === 0 ? 0 : FRAME.node1;
  if ((frames.flags[frame]! & FRAME.node1) === wanted) return true;
  if (frames.mappings(frame) > 1) return false;
  if (found.huge) return migrateHuge(space, found, wanted);
  if (frames.flags[frame]! & FRAME.compound) return migrateSplitHuge(space, frame, wanted);
  return migrateSmall(space, found, index, wanted);
}

/** try_to_migrate and remove_migration_pte of one small page. */
function migrateSmall(space: AddressSpace, table: LeafTable, index: number, wanted: number): boolean {
  const { frames, features } = space.machine;
  const old = table.values[index]!;
  if (frames.references[old] !== 0) return false;
  const state = frames.flags[old]!;
  const frame = frames.allocate((state & ~FRAME.node1) | wanted);
  frames.copyContents(old, frame);
  frames.mapCount[frame] = 1;
  let flags = table.flags[index]!;
  if (flags & PTE.dirty && !features.migrationKeepsSoftDirty) flags |= SOFTWARE_DIRTY;
  replaceHolder(space, old, frame);
  table.set(index, flags, frame);
  frames.flags[old] = 0;
  frames.release(old);
  return true;
}

/** remove_migration_pmd. */
function migrateHuge(space: AddressSpace, entry: HugeEntry, wanted: number): boolean {
  const { frames } = space.machine;
  const old = entry.frame;
  for (let at = old; at < old + HUGE_FRAMES; at++) if (frames.references[at] !== 0) return false;
  const head = frames.allocateHuge(0);
  for (let at = 0; at < HUGE_FRAMES; at++) {
    frames.flags[head + at] = (frames.flags[old + at]! & ~FRAME.node1) | wanted;
    frames.copyContents(old + at, head + at);
    replaceHolder(space, old + at, head + at);
  }
  frames.compounds.set(head, { entire: 1, total: 1 });
  entry.frame = head;
  if (entry.flags & PTE.dirty) entry.flags |= SOFTWARE_DIRTY;
  frames.releaseHuge(old);
  return true;
}

/** A huge page that only page-table entries map still moves as one. */
function migrateSplitHuge(space: AddressSpace, frame: number, wanted: number): boolean {
  const { frames, features } = space.machine;
  const old = frame - (frame % HUGE_FRAMES);
  const compound = frames.compounds.get(old)!;
  if (compound.entire !== 0) return false;
  for (let at = old; at < old + HUGE_FRAMES; at++) {
    if (frames.references[at] !== 0 || frames.mapCount[at]! > 1) return false;
  }
  const head = frames.allocateHuge(0);
  for (let at = 0; at < HUGE_FRAMES; at++) {
    frames.flags[head + at] = (frames.flags[old + at]! & ~FRAME.node1) | wanted;
    frames.copyContents(old + at, head + at);
    frames.mapCount[head + at] = frames.mapCount[old + at]!;
  }
  frames.compounds.set(head, { entire: 0, total: compound.total });
  for (const other of space.machine.spaces) {
    other.tables.forEachBlock(0, 2 ** 26, (_, found) => {
      if (found.huge) return;
      for (let index = 0; index < TABLE_ENTRIES; index++) {
        const flags = found.flags[index]!;
        const value = found.values[index]!;
        if (!(flags & PTE.present) || value < old || value >= old + HUGE_FRAMES) continue;
        const dirtied = flags & PTE.dirty && !features.migrationKeepsSoftDirty ? SOFTWARE_DIRTY : 0;
        found.set(index, flags | dirtied, head + (value - old));
      }
    });
  }
  frames.releaseHuge(old);
  return true;
}

/** Lets the page cache or the swap cache know the new frame. */
function replaceHolder(space: AddressSpace, old: number, frame: number): void {
  const { frames, swap, nodes } = space.machine;
  const state = frames.flags[old]!;
  if (state & FRAME.swapCache) {
    const slot = swap.slotOfFrame.get(old)!;
    swap.slotOfFrame.delete(old);
    swap.slotOfFrame.set(frame, slot);
    swap.frames[slot] = frame;
  }
  if (!(state & FRAME.cached)) return;
  for (const node of nodes.values()) {
    for (const [index, cached] of node.pages) if (cached === old) node.pages.set(index, frame);
  }
}
