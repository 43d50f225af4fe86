import { UFFD_FEATURE } from '../abi.ts';
import { type AddressSpace, protectionBits } from '../address-space.ts';
import { FRAME } from '../memory/frames.ts';
import { VM } from '../vma/flags.ts';
import type { Vma } from '../vma/vma.ts';
import { PTE, TABLE_ENTRIES } from './entry.ts';
import type { HugeEntry, LeafTable } from './tables.ts';
import { splitHugeEntry } from './unmap.ts';

/** What change_protection is for (MM_CP_*). */
export interface ProtectOptions {
  /** Restore write permission where no fault is needed. */
  readonly upgrade?: boolean;
  /** userfaultfd: protect or resolve. */
  readonly uffd?: 'protect' | 'resolve';
}

const PROTECTION = PTE.write | PTE.noAccess;

/** change_protection: gives the entries of [start, end) the protection of the mapping. */
export function changeProtection(
  space: AddressSpace,
  vma: Vma,
  start: number,
  end: number,
  options: ProtectOptions,
): void {
  const first = Math.floor(start / TABLE_ENTRIES);
  const last = Math.ceil(end / TABLE_ENTRIES);
  const visit = (block: number) => {
    const from = Math.max(start, block * TABLE_ENTRIES) - block * TABLE_ENTRIES;
    const to = Math.min(end, (block + 1) * TABLE_ENTRIES) - block * TABLE_ENTRIES;
    let found = space.tables.find(block);
    if (found?.huge && !vma.hugeTlb) {
      const protectsFile = options.uffd === 'protect' && !vma.anonymous;
      if (from === 0 && to === TABLE_ENTRIES && !protectsFile) {
        changeHuge(space, vma, found, options);
        return;
      }
      splitHugeEntry(space, vma, block);
      found = space.tables.find(block);
    }
    if (found?.huge) {
      changeHuge(space, vma, found, options);
      return;
    }
    const table = found ?? (options.uffd === 'protect' ? space.tables.makeTable(block) : undefined);
    if (table !== undefined) changeTable(space, vma, table, from, to, options);
  };
  if (options.uffd === 'protect' && usesMarkers(vma)) {
    for (let block = first; block < last; block++) visit(block);
  } else space.tables.forEachBlock(first, last, visit);
}

/** userfaultfd_wp_use_markers: empty slots of this mapping are write-protected by markers. */
export function usesMarkers(vma: Vma): boolean {
  if (!vma.has(VM.uffdWp) || vma.uffd === null) return false;
  const unpopulated = UFFD_FEATURE.writeProtectUnpopulated | UFFD_FEATURE.writeProtectAsync;
  return !vma.anonymous || (vma.uffd.features & unpopulated) !== 0;
}

/** change_huge_pmd. */
function changeHuge(space: AddressSpace, vma: Vma, entry: HugeEntry, options: ProtectOptions): void {
  let flags = (entry.flags & ~PROTECTION) | protectionBits(vma);
  if (space.machine.features.hugeProtectLosesDirty && entry.flags & PTE.write) flags &= ~PTE.dirty;
  if (options.uffd === 'protect') flags = (flags | PTE.uffd) & ~PTE.write;
  else if (options.uffd === 'resolve') flags &= ~PTE.uffd;
  if (
    options.upgrade &&
    !(flags & PTE.write) &&
    space.machine.features.upgradeHuge &&
    !(flags & PTE.special) &&
    mayUpgrade(space, vma, flags, entry.frame)
  ) {
    flags |= PTE.write;
  }
  entry.flags = flags;
}

/** change_pte_range. */
function changeTable(
  space: AddressSpace,
  vma: Vma,
  table: LeafTable,
  from: number,
  to: number,
  options: ProtectOptions,
): void {
  const restores = options.uffd === 'resolve' && space.machine.features.uffdResolveWritable;
  const shared = VM.shared | VM.write;
  const bits = protectionBits(vma) | (restores && (vma.flags & shared) === shared ? PTE.write : 0);
  const markers = options.uffd === 'protect' && usesMarkers(vma);
  for (let index = from; index < to; index++) {
    const old = table.flags[index]!;
    if (old & PTE.present) {
      let flags = (old & ~PROTECTION) | bits;
      if (options.uffd === 'protect') flags |= PTE.uffd;
      else if (options.uffd === 'resolve') flags &= ~PTE.uffd;
      if (flags & PTE.uffd) flags &= ~PTE.write;
      if (options.upgrade && !(flags & PTE.write) && mayUpgrade(space, vma, flags, table.values[index]!)) {
        flags |= PTE.write;
      }
      table.setFlags(index, flags);
    } else if (old & PTE.swap) {
      if (options.uffd === 'protect') table.setFlags(index, old | PTE.uffd);
      else if (options.uffd === 'resolve') table.setFlags(index, old & ~PTE.uffd);
    } else if (old & PTE.marker) {
      if (options.uffd === 'resolve' && old & PTE.uffd) table.clear(index);
    } else if (markers) table.set(index, PTE.marker | PTE.uffd, 0);
  }
}

/** can_change_pte_writable: whether an entry may become writable again without a fault. */
function mayUpgrade(space: AddressSpace, vma: Vma, flags: number, frame: number): boolean {
  if (!vma.has(VM.write) || flags & PTE.noAccess) return false;
  if (space.tracks(vma) && !(flags & PTE.soft)) return false;
  if (flags & PTE.uffd && vma.has(VM.uffdWp)) return false;
  const { features, frames } = space.machine;
  const dirty = (flags & PTE.dirty) !== 0;
  if (vma.has(VM.shared)) return dirty;
  if (!features.upgradeCleanAnonymous && !dirty) return false;
  if (flags & PTE.special) return false;
  const exclusive = FRAME.anonymous | FRAME.exclusive;
  return (frames.flags[frame]! & exclusive) === exclusive;
}
