import { type AddressSpace, protectionBits, writableIfAllowed } from '../address-space.ts';
import type { Machine } from '../machine.ts';
import { FRAME, HUGE_FRAMES, ZERO_FRAME } from '../memory/frames.ts';
import { PTE, SOFTWARE_DIRTY, TABLE_ENTRIES } from '../pagetable/entry.ts';
import { type HugeEntry, LeafTable } from '../pagetable/tables.ts';
import { clearEntry, removeHugeEntry } from '../pagetable/unmap.ts';
import { VM } from '../vma/flags.ts';
import type { Vma } from '../vma/vma.ts';

/**
 * split_huge_page: the huge page itself falls apart into 512 small ones. Every entry that maps it is taken away and put
 * back (as by a migration), or for file pages only taken away.
 * @returns whether it could; not while something besides page tables refers to it.
 */
export function splitHugePage(space: AddressSpace, head: number): boolean {
  const { machine } = space;
  const { frames } = machine;
  const compound = frames.compounds.get(head);
  if (compound === undefined) return false;
  for (let frame = head; frame < head + HUGE_FRAMES; frame++)
    if (frames.references[frame] !== 0) return false;
  const anonymous = (frames.flags[head]! & FRAME.anonymous) !== 0;
  for (const owner of ownersOf(machine, space, compound.total)) {
    forEachEntry(owner, head, (vma, block, found) => {
      if (found.huge) {
        if (anonymous) putBackHuge(owner, vma, block, found);
        else removeHugeEntry(owner, block, found);
      } else if (anonymous) putBackEntries(owner, vma, block, found, head);
      else dropEntries(owner, found, head);
    });
  }
  if (frames.compounds.has(head)) frames.dissolveHuge(head);
  return true;
}

/** The address spaces that may map the page: just this one if it has the only mapping. */
function ownersOf(machine: Machine, space: AddressSpace, mappings: number): readonly AddressSpace[] {
  return mappings === 1 ? [space] : [...machine.spaces];
}

function forEachEntry(
  space: AddressSpace,
  head: number,
  visit: (vma: Vma, block: number, found: LeafTable | HugeEntry) => void,
): void {
  space.tables.forEachBlock(0, 2 ** 26, (block, found) => {
    if (found.huge) {
      if (found.frame !== head) return;
      const vma = space.vmas.lookup(block * TABLE_ENTRIES);
      if (vma !== undefined) visit(vma, block, found);
      return;
    }
    for (let index = 0; index < TABLE_ENTRIES; index++) {
      if (!(found.flags[index]! & PTE.present) || !inside(found.values[index]!, head)) continue;
      const vma = space.vmas.lookup(block * TABLE_ENTRIES + index);
      if (vma !== undefined) visit(vma, block, found);
      return;
    }
  });
}

function inside(frame: number, head: number): boolean {
  return frame >= head && frame < head + HUGE_FRAMES;
}

/** A huge entry becomes a table by way of migration entries. */
function putBackHuge(space: AddressSpace, vma: Vma, block: number, entry: HugeEntry): void {
  const { frames } = space.machine;
  const head = entry.frame;
  const exclusive = (frames.flags[head]! & FRAME.exclusive) !== 0;
  space.tables.detach(block);
  const compound = frames.compounds.get(head)!;
  compound.entire--;
  compound.total += HUGE_FRAMES - 1;
  const table = new LeafTable();
  for (let index = 0; index < HUGE_FRAMES; index++) {
    const frame = head + index;
    frames.mapCount[frame]!++;
    if (exclusive) frames.flags[frame]! |= FRAME.exclusive;
    else frames.flags[frame]! &= ~FRAME.exclusive;
    if (entry.flags & PTE.dirty) frames.flags[frame]! |= FRAME.dirty;
    table.flags[index] = putBack(space, vma, entry.flags);
    table.values[index] = frame;
  }
  table.recountAll();
  space.tables.attach(block, table);
  useZeroPages(space, vma, table, head);
}

function putBackEntries(space: AddressSpace, vma: Vma, block: number, table: LeafTable, head: number): void {
  for (let index = 0; index < TABLE_ENTRIES; index++) {
    const flags = table.flags[index]!;
    if (!(flags & PTE.present) || !inside(table.values[index]!, head)) continue;
    const page = block * TABLE_ENTRIES + index;
    const owner = page >= vma.start && page < vma.end ? vma : space.vmas.lookup(page);
    if (owner !== undefined) table.setFlags(index, putBack(space, owner, flags));
  }
  useZeroPages(space, vma, table, head);
}

/** remove_migration_pte: the entry under the mapping's protection, with what the migration entry remembered. */
function putBack(space: AddressSpace, vma: Vma, old: number): number {
  let flags = PTE.present | protectionBits(vma) | (old & (PTE.soft | PTE.uffd | PTE.accessed | PTE.dirty));
  if (old & PTE.dirty && !space.machine.features.migrationKeepsSoftDirty) flags |= SOFTWARE_DIRTY;
  if (old & PTE.write) return writableIfAllowed(flags, vma);
  return flags & ~(flags & PTE.uffd ? PTE.write : 0);
}

/** try_to_map_unused_to_zeropage: pages full of zeros are given back and the zero page mapped instead (6.12). */
function useZeroPages(space: AddressSpace, vma: Vma, table: LeafTable, head: number): void {
  const { machine } = space;
  if (!machine.features.splitMapsZeroPages || vma.has(VM.locked)) return;
  for (let index = 0; index < TABLE_ENTRIES; index++) {
    const flags = table.flags[index]!;
    const frame = table.values[index]!;
    if (!(flags & PTE.present) || !inside(frame, head) || !machine.frames.sameContents(frame, ZERO_FRAME))
      continue;
    table.set(
      index,
      PTE.present | PTE.special | (protectionBits(vma) & ~PTE.write) | (flags & (PTE.soft | PTE.uffd)),
      ZERO_FRAME,
    );
    machine.unmapFrame(frame);
  }
}

function dropEntries(space: AddressSpace, table: LeafTable, head: number): void {
  for (let index = 0; index < TABLE_ENTRIES; index++) {
    if (table.flags[index]! & PTE.present && inside(table.values[index]!, head))
      clearEntry(space, table, index);
  }
}

/**
 * How many entries from `index` on (before `end`) map consecutive frames of one huge page: 512 if all of it is there.
 */
export function batchLength(table: LeafTable, index: number, end: number): number {
  const first = table.values[index]!;
  const stop = Math.min(end, index + HUGE_FRAMES - (first % HUGE_FRAMES));
  let length = 1;
  while (
    index + length < stop &&
    table.flags[index + length]! & PTE.present &&
    table.values[index + length] === first + length
  ) {
    length++;
  }
  return length;
}
