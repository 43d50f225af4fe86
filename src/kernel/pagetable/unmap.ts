import { type AddressSpace, freshEntry, protectionBits } from '../address-space.ts';
import { FRAME, HUGE_FRAMES, ZERO_FRAME } from '../memory/frames.ts';
import { VM } from '../vma/flags.ts';
import type { Vma } from '../vma/vma.ts';
import { PTE, SOFTWARE_DIRTY, TABLE_ENTRIES } from './entry.ts';
import { type HugeEntry, LeafTable } from './tables.ts';

/** How zap_page_range treats special cases. */
export interface ZapOptions {
  /** Also private copies in a file mapping (not for hole punching). */
  readonly privateCopies: boolean;
  /** Also userfaultfd and guard markers, because the mapping goes away. */
  readonly markers: boolean;
}

const ZAP_ALL: ZapOptions = { privateCopies: true, markers: true };

/** Empties the entries of [start, end), which lies in `vma` (zap_page_range). */
export function zapRange(
  space: AddressSpace,
  vma: Vma,
  start: number,
  end: number,
  options: ZapOptions = ZAP_ALL,
): void {
  const first = Math.floor(start / TABLE_ENTRIES);
  const last = Math.ceil(end / TABLE_ENTRIES);
  space.tables.forEachBlock(first, last, (block, found) => {
    const from = Math.max(start, block * TABLE_ENTRIES) - block * TABLE_ENTRIES;
    const to = Math.min(end, (block + 1) * TABLE_ENTRIES) - block * TABLE_ENTRIES;
    let table = found;
    if (table.huge) {
      if (from === 0 && to === TABLE_ENTRIES) {
        removeHugeEntry(space, block, table);
        return;
      }
      splitHugeEntry(space, vma, block);
      const split = space.tables.find(block);
      if (split === undefined || split.huge) return;
      table = split;
    }
    zapTable(space, vma, table, from, to, options);
  });
}

function zapTable(
  space: AddressSpace,
  vma: Vma,
  table: LeafTable,
  from: number,
  to: number,
  options: ZapOptions,
): void {
  const { frames } = space.machine;
  for (let index = from; index < to; index++) {
    const flags = table.flags[index]!;
    if (flags === 0) continue;
    if (flags & PTE.present) {
      const frame = table.values[index]!;
      if (!options.privateCopies && frames.flags[frame]! & FRAME.anonymous) continue;
      clearEntry(space, table, index);
      if (!options.markers) leaveMarker(vma, table, index, flags);
    } else if (flags & PTE.marker) {
      const keepGuard = (flags & PTE.guard) !== 0 && !options.markers;
      const keepUffd = (flags & PTE.uffd) !== 0 && !options.markers && !vma.anonymous;
      if (!keepGuard && !keepUffd) table.clear(index);
    } else {
      if (!options.privateCopies) continue;
      clearEntry(space, table, index);
      if (!options.markers) leaveMarker(vma, table, index, flags);
    }
  }
}

/** pte_install_uffd_wp_if_needed: file memory remembers write protection when its page goes. */
export function leaveMarker(vma: Vma, table: LeafTable, index: number, flags: number): void {
  if (!vma.anonymous && vma.has(VM.uffdWp) && flags & PTE.uffd) table.set(index, PTE.marker | PTE.uffd, 0);
}

/** Empties one entry and lets go of what it held. */
export function clearEntry(space: AddressSpace, table: LeafTable, index: number): void {
  const flags = table.flags[index]!;
  const value = table.values[index]!;
  table.clear(index);
  const { machine } = space;
  if (flags & PTE.present) {
    if (flags & PTE.special) return;
    if (flags & PTE.dirty && machine.frames.flags[value]! & FRAME.cached) {
      machine.frames.flags[value]! |= FRAME.dirty;
    }
    machine.unmapFrame(value);
  } else if (flags & PTE.swap) machine.freeSwapUser(value);
}

/** Empties a whole huge entry. */
export function removeHugeEntry(space: AddressSpace, block: number, entry: HugeEntry): void {
  space.tables.detach(block);
  const { machine } = space;
  const { frames } = machine;
  if (entry.flags & PTE.special) return;
  if (entry.flags & PTE.dirty && frames.flags[entry.frame]! & FRAME.cached) {
    frames.flags[entry.frame]! |= FRAME.dirty;
  }
  const compound = frames.compounds.get(entry.frame)!;
  compound.entire--;
  compound.total--;
  machine.releaseHugeIfUnused(entry.frame);
}

/**
 * __split_huge_pmd: replaces a huge entry by a table of 512. A file's huge entry is just dropped, since faults bring
 * its pages back. The huge page itself stays one.
 */
export function splitHugeEntry(space: AddressSpace, vma: Vma, block: number): void {
  const entry = space.tables.find(block);
  if (entry === undefined || !entry.huge) return;
  const { frames } = space.machine;
  if (entry.flags & PTE.special) {
    space.tables.detach(block);
    const table = new LeafTable();
    const flags = PTE.present | PTE.special | PTE.accessed | protectionBits(vma) | (entry.flags & PTE.uffd);
    table.flags.fill(flags & ~(flags & PTE.uffd ? PTE.write : 0));
    table.values.fill(ZERO_FRAME);
    table.recountAll();
    space.tables.attach(block, table);
    return;
  }
  if (!(frames.flags[entry.frame]! & FRAME.anonymous)) {
    removeHugeEntry(space, block, entry);
    return;
  }
  space.tables.detach(block);
  const old = entry.flags;
  let flags = (freshEntry(vma) & ~PTE.accessed) | (old & (PTE.accessed | PTE.soft | PTE.uffd | PTE.write));
  if (old & PTE.dirty && space.machine.features.splitDirtiesEntries) flags |= SOFTWARE_DIRTY;
  if (old & PTE.uffd) flags &= ~PTE.write;
  const exclusive = frames.flags[entry.frame]! & FRAME.exclusive;
  const table = new LeafTable();
  const compound = frames.compounds.get(entry.frame)!;
  compound.entire--;
  compound.total += HUGE_FRAMES - 1;
  for (let index = 0; index < HUGE_FRAMES; index++) {
    table.flags[index] = flags;
    table.values[index] = entry.frame + index;
    frames.mapCount[entry.frame + index]!++;
    if (exclusive) frames.flags[entry.frame + index]! |= FRAME.exclusive;
    else frames.flags[entry.frame + index]! &= ~FRAME.exclusive;
    if (old & PTE.dirty) frames.flags[entry.frame + index]! |= FRAME.dirty;
  }
  table.recountAll();
  space.tables.attach(block, table);
}

/** Splits a huge entry that a border of mappings at `page` would cut (vma_adjust_trans_huge). */
export function splitHugeAt(space: AddressSpace, vma: Vma, page: number): void {
  if (page % TABLE_ENTRIES !== 0) splitHugeEntry(space, vma, Math.floor(page / TABLE_ENTRIES));
}
