import { UFFD_FEATURE } from '../abi.ts';
import type { AddressSpace } from '../address-space.ts';
import type { Vma } from '../vma/vma.ts';
import { PTE, TABLE_ENTRIES } from './entry.ts';
import type { LeafTable } from './tables.ts';
import { splitHugeEntry } from './unmap.ts';

const GIGA_PAGES = TABLE_ENTRIES * 512;

/**
 * move_page_tables: moves the entries of `pageCount` pages from `fromPage` (in `from`) to `toPage` (in `to`), by whole
 * tables where both ends are aligned. Entries moved one by one become soft-dirty; tables moved whole are not touched,
 * so what is in them does not.
 */
export function movePageTables(
  space: AddressSpace,
  from: Vma,
  fromPage: number,
  to: Vma,
  toPage: number,
  pageCount: number,
): void {
  const end = fromPage + pageCount;
  const losesUffd = dropsRegistration(from);
  let source = fromPage;
  let target = toPage;
  if (space.machine.features.mremapRealigns && pageCount >= TABLE_ENTRIES - (source % TABLE_ENTRIES)) {
    const lead = realignBy(space, from, source, to, target);
    source -= lead;
    target -= lead;
  }
  while (source < end) {
    const giga = extent(GIGA_PAGES, source, end, target);
    if (giga === GIGA_PAGES && !losesUffd) {
      const moved = space.tables.moveDirectory(source / TABLE_ENTRIES, target / TABLE_ENTRIES);
      if (moved) {
        source += giga;
        target += giga;
        continue;
      }
    }
    const step = extent(TABLE_ENTRIES, source, end, target);
    moveBlock(space, from, source, target, step, losesUffd);
    source += step;
    target += step;
  }
}

/** Whether a registered mapping loses userfaultfd by moving, because its owner is not told of moves. */
export function dropsRegistration(vma: Vma): boolean {
  return vma.uffd !== null && (vma.uffd.features & UFFD_FEATURE.eventRemap) === 0;
}

/** get_extent: pages up to the next boundary of `size` at either end. */
function extent(size: number, source: number, end: number, target: number): number {
  return Math.min(size - (source % size), size - (target % size), end - source);
}

/** try_realign_addr: how far both ends can be moved down to a 2 MiB boundary without touching other memory. */
function realignBy(space: AddressSpace, from: Vma, source: number, to: Vma, target: number): number {
  const lead = source % TABLE_ENTRIES;
  if (lead === 0 || target % TABLE_ENTRIES !== lead) return 0;
  if (from.start !== source || to.start !== target) return 0;
  if (space.vmas.intersects(source - lead, source) || space.vmas.intersects(target - lead, target)) return 0;
  return lead;
}

function moveBlock(
  space: AddressSpace,
  vma: Vma,
  source: number,
  target: number,
  step: number,
  losesUffd: boolean,
): void {
  const { tables } = space;
  const block = Math.floor(source / TABLE_ENTRIES);
  const targetBlock = Math.floor(target / TABLE_ENTRIES);
  let found = tables.find(block);
  if (found === undefined) return;
  const whole = step === TABLE_ENTRIES;
  if (found.huge) {
    if (whole && tables.find(targetBlock) === undefined) {
      tables.detach(block);
      if (found.flags & PTE.present) found.flags |= PTE.soft;
      if (losesUffd) found.flags &= ~PTE.uffd;
      tables.attach(targetBlock, found);
      return;
    }
    splitHugeEntry(space, vma, block);
    found = tables.find(block);
    if (found === undefined || found.huge) return;
  } else if (whole && !losesUffd && tables.find(targetBlock) === undefined) {
    tables.attach(targetBlock, tables.detach(block));
    return;
  }
  const table = tables.makeTable(targetBlock);
  if (table !== undefined)
    moveEntries(found, source % TABLE_ENTRIES, table, target % TABLE_ENTRIES, step, losesUffd);
}

/** move_ptes. */
function moveEntries(
  from: LeafTable,
  fromIndex: number,
  to: LeafTable,
  toIndex: number,
  count: number,
  losesUffd: boolean,
): void {
  for (let offset = 0; offset < count; offset++) {
    let flags = from.flags[fromIndex + offset]!;
    if (flags === 0) continue;
    const value = from.values[fromIndex + offset]!;
    from.clear(fromIndex + offset);
    if (losesUffd) {
      if (flags & PTE.marker && flags & PTE.uffd) continue;
      flags &= ~PTE.uffd;
    }
    to.set(toIndex + offset, flags | PTE.soft, value);
  }
}
