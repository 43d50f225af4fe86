import { ERRNO, MADV } from '../abi.ts';
import { type AddressSpace, USER_END_PAGE } from '../address-space.ts';
import { checkAccess, getUserPage } from '../fault/gup.ts';
import { unmergeRange } from '../ksm/unmerge.ts';
import { punchFile } from '../memory/file-ops.ts';
import { FRAME, HUGE_FRAMES } from '../memory/frames.ts';
import { cachePage } from '../memory/page-cache.ts';
import { PTE, TABLE_ENTRIES } from '../pagetable/entry.ts';
import type { LeafTable } from '../pagetable/tables.ts';
import { clearEntry, zapRange } from '../pagetable/unmap.ts';
import { pageOut, splitForReclaim } from '../reclaim/pageout.ts';
import { collapseRange } from '../thp/collapse.ts';
import { splitHugePage } from '../thp/split.ts';
import { VM, VM_SPECIAL } from '../vma/flags.ts';
import { prepareIdentity } from '../vma/identity.ts';
import { modifyRange } from '../vma/merge.ts';
import type { Vma } from '../vma/vma.ts';

const KNOWN: ReadonlySet<number> = new Set(Object.values(MADV));
const GUARD: ReadonlySet<number> = new Set([MADV.guardInstall, MADV.guardRemove]);

/** madvise(2): 0 or a negative errno. Holes in the range are skipped and end in -ENOMEM. */
export function madvise(space: AddressSpace, startPage: number, pageCount: number, advice: number): number {
  if (!KNOWN.has(advice) || (GUARD.has(advice) && !space.machine.features.guardPages)) return -ERRNO.EINVAL;
  const end = startPage + pageCount;
  if (end > USER_END_PAGE) return -ERRNO.EINVAL;
  if (pageCount === 0) return 0;
  const populates = advice === MADV.populateRead || advice === MADV.populateWrite;
  if (populates && space.machine.features.populateStopsAtHole) {
    return populateRange(space, startPage, end, advice === MADV.populateWrite);
  }
  let hole = false;
  let at = startPage;
  while (at < end) {
    const vma = space.vmas.findAbove(at);
    if (vma === undefined || vma.start >= end) return -ERRNO.ENOMEM;
    if (vma.start > at) {
      hole = true;
      at = vma.start;
    }
    const stop = Math.min(vma.end, end);
    const failed = advise(space, vma, at, stop, advice);
    if (failed < 0) return failed;
    at = stop;
  }
  return hole ? -ERRNO.ENOMEM : 0;
}

/** madvise_vma_behavior. */
function advise(space: AddressSpace, vma: Vma, start: number, end: number, advice: number): number {
  switch (advice) {
    case MADV.remove:
      return remove(space, vma, start, end);
    case MADV.willNeed:
      return willNeed(space, vma, start, end);
    case MADV.cold:
    case MADV.pageOut:
      if (vma.flags & (VM.locked | VM.pfnMap | VM.hugeTlb)) return -ERRNO.EINVAL;
      if (advice === MADV.pageOut) pageOut(space, vma, start, end);
      else cool(space, start, end);
      return 0;
    case MADV.free:
      return freeLazily(space, vma, start, end);
    case MADV.dontNeed:
    case MADV.dontNeedLocked:
      return discard(space, vma, start, end, advice === MADV.dontNeedLocked);
    case MADV.populateRead:
    case MADV.populateWrite:
      return populateRange(space, start, end, advice === MADV.populateWrite);
    case MADV.collapse:
      return collapseRange(space, vma, start, end);
    case MADV.guardInstall:
      return installGuards(space, vma, start, end);
    case MADV.guardRemove:
      return removeGuards(space, vma, start, end);
    default:
      return changeFlags(space, vma, start, end, advice);
  }
}

/** The kinds of advice that only change flags, and so split and merge. */
function changeFlags(space: AddressSpace, vma: Vma, start: number, end: number, advice: number): number {
  const flags = advisedFlags(space, vma, start, end, advice);
  if (flags === undefined) return -ERRNO.EINVAL;
  if (flags !== vma.flags) modifyRange(space, vma, start, end, flags);
  return 0;
}

/** The flags that the advice asks for; undefined if it does not apply to this mapping. */
function advisedFlags(
  space: AddressSpace,
  vma: Vma,
  start: number,
  end: number,
  advice: number,
): number | undefined {
  const { flags } = vma;
  const unmergeable = VM.mergeable | VM.shared | VM.mayShare | VM.pfnMap | VM.io | VM.dontExpand | VM.hugeTlb;
  switch (advice) {
    case MADV.normal:
      return flags & ~(VM.random | VM.sequential);
    case MADV.sequential:
      return (flags & ~VM.random) | VM.sequential;
    case MADV.random:
      return (flags & ~VM.sequential) | VM.random;
    case MADV.dontFork:
      return flags | VM.dontCopy;
    case MADV.doFork:
      return flags & VM.io ? undefined : flags & ~VM.dontCopy;
    case MADV.wipeOnFork:
      return vma.file !== null || vma.special !== '' || flags & VM.shared ? undefined : flags | VM.wipeOnFork;
    case MADV.keepOnFork:
      return flags & ~VM.wipeOnFork;
    case MADV.dontDump:
      return flags | VM.dontDump;
    case MADV.doDump:
      return !vma.hugeTlb && flags & VM_SPECIAL ? undefined : flags & ~VM.dontDump;
    case MADV.mergeable:
      if (flags & unmergeable) return flags;
      if (space.ksmOrder === 0) space.ksmOrder = space.machine.nextId();
      return flags | VM.mergeable;
    case MADV.unmergeable:
      if (flags & VM.mergeable) unmergeRange(space, vma, start, end);
      return flags & ~VM.mergeable;
    case MADV.hugePage:
      return (flags & ~VM.noHugePage) | VM.hugePage;
    case MADV.noHugePage:
      return (flags & ~VM.hugePage) | VM.noHugePage;
    default:
      return flags;
  }
}

/** MADV_DONTNEED: empties the slots; contents become zeros or the file again. */
function discard(space: AddressSpace, vma: Vma, start: number, end: number, locked: boolean): number {
  if (vma.has(VM.pfnMap) || (!locked && vma.has(VM.locked) && !vma.hugeTlb)) return -ERRNO.EINVAL;
  if (vma.hugeTlb && (start % HUGE_FRAMES !== 0 || end % HUGE_FRAMES !== 0)) {
    if (start % HUGE_FRAMES !== 0) return -ERRNO.EINVAL;
    end -= end % HUGE_FRAMES;
  }
  zapRange(space, vma, start, end, { privateCopies: true, markers: false });
  if (space.machine.features.discardFreesTables) freeEmptyTables(space, start, end);
  return 0;
}

/** CONFIG_PT_RECLAIM: tables that a discard emptied from end to end are freed. */
function freeEmptyTables(space: AddressSpace, start: number, end: number): void {
  const first = Math.ceil(start / TABLE_ENTRIES);
  const last = Math.floor(end / TABLE_ENTRIES);
  space.tables.forEachBlock(first, last, (block, found) => {
    if (!found.huge && found.used === 0) space.tables.detach(block);
  });
}

/** MADV_FREE: the pages may be dropped later unless they are stored to before. */
function freeLazily(space: AddressSpace, vma: Vma, start: number, end: number): number {
  if (!vma.anonymous || vma.has(VM.locked)) return -ERRNO.EINVAL;
  const { frames } = space.machine;
  space.tables.forEachBlock(
    Math.floor(start / TABLE_ENTRIES),
    Math.ceil(end / TABLE_ENTRIES),
    (block, found) => {
      const from = Math.max(start, block * TABLE_ENTRIES) - block * TABLE_ENTRIES;
      const to = Math.min(end, (block + 1) * TABLE_ENTRIES) - block * TABLE_ENTRIES;
      let table = found;
      if (table.huge) {
        const head = table.frame;
        if (table.flags & PTE.special || frames.compounds.get(head)!.total !== 1) return;
        if (from === 0 && to === TABLE_ENTRIES) {
          table.flags &= ~(PTE.accessed | PTE.dirty);
          for (let frame = head; frame < head + HUGE_FRAMES; frame++) {
            frames.flags[frame]! &= ~(FRAME.dirty | FRAME.swapBacked);
          }
          return;
        }
        splitHugePage(space, head);
        const split = space.tables.find(block);
        if (split === undefined || split.huge) return;
        table = split;
      }
      for (let index = from; index < to; index++) {
        const result = splitForReclaim(space, table, index, to, true);
        if (result === 'stop') return;
        if (result === 'ready') freeEntryLazily(space, table, index);
      }
    },
  );
  return 0;
}

/** madvise_free_pte_range. */
function freeEntryLazily(space: AddressSpace, table: LeafTable, index: number): void {
  const { machine } = space;
  const { frames } = machine;
  const flags = table.flags[index]!;
  if (flags & PTE.swap) {
    clearEntry(space, table, index);
    return;
  }
  if (!(flags & PTE.present) || flags & PTE.special) return;
  const frame = table.values[index]!;
  if (frames.flags[frame]! & (FRAME.swapCache | FRAME.dirty)) {
    if (frames.mappings(frame) !== 1) return;
    if (frames.flags[frame]! & FRAME.swapCache && !machine.leaveSwapCache(frame)) return;
    frames.flags[frame]! &= ~FRAME.dirty;
  }
  table.setFlags(index, flags & ~(PTE.accessed | PTE.dirty));
  if (frames.flags[frame]! & FRAME.anonymous) frames.flags[frame]! &= ~FRAME.swapBacked;
}

/** MADV_COLD: only the accessed bits of pages that nobody else maps; a huge page is split if covered in part. */
function cool(space: AddressSpace, start: number, end: number): void {
  const { frames } = space.machine;
  space.tables.forEachBlock(
    Math.floor(start / TABLE_ENTRIES),
    Math.ceil(end / TABLE_ENTRIES),
    (block, found) => {
      const from = Math.max(start, block * TABLE_ENTRIES) - block * TABLE_ENTRIES;
      const to = Math.min(end, (block + 1) * TABLE_ENTRIES) - block * TABLE_ENTRIES;
      let table = found;
      if (table.huge) {
        if (table.flags & PTE.special || frames.mappings(table.frame) !== 1) return;
        if (from === 0 && to === TABLE_ENTRIES) {
          table.flags &= ~PTE.accessed;
          return;
        }
        const head = table.frame;
        splitHugePage(space, head);
        const split = space.tables.find(block);
        if (split === undefined || split.huge) return;
        table = split;
      }
      for (let index = from; index < to; index++) {
        const flags = table.flags[index]!;
        if (!(flags & PTE.present) || flags & PTE.special) continue;
        const result = splitForReclaim(space, table, index, to, false);
        if (result === 'stop') return;
        if (result === 'skip') continue;
        if (!(table.flags[index]! & PTE.special) && frames.mappings(table.values[index]!) === 1) {
          table.setFlags(index, table.flags[index]! & ~PTE.accessed);
        }
      }
    },
  );
}

/** MADV_REMOVE: punches a hole into the file behind a shared mapping. */
function remove(space: AddressSpace, vma: Vma, start: number, end: number): number {
  if (vma.has(VM.locked) || vma.file === null) return -ERRNO.EINVAL;
  // Whether the mapping may be written does not matter, only whether it could be made so.
  if ((vma.flags & (VM.shared | VM.mayWrite)) !== (VM.shared | VM.mayWrite)) return -ERRNO.EACCES;
  return punchFile(space.machine, vma.file.node, vma.offsetOf(start), end - start);
}

/** MADV_WILLNEED: reads file pages ahead; private memory is not touched. */
function willNeed(space: AddressSpace, vma: Vma, start: number, end: number): number {
  if (vma.file === null || vma.file.node.kind !== 'ext4') return 0;
  const { node } = vma.file;
  for (let page = start; page < end && vma.offsetOf(page) < node.sizePages; page++) {
    cachePage(space.machine, node, vma.offsetOf(page));
  }
  return 0;
}

/** madvise_populate. */
function populateRange(space: AddressSpace, start: number, end: number, write: boolean): number {
  for (let page = start; page < end; page++) {
    const vma = space.vmas.lookup(page);
    if (vma === undefined) return -ERRNO.ENOMEM;
    if (checkAccess(vma, { write }) < 0) return -ERRNO.EINVAL;
    const frame = getUserPage(space, vma, page, { write });
    if (frame < 0) return -ERRNO.EFAULT;
  }
  return 0;
}

/** madvise_guard_install: drops what is there and makes any access end in a signal. */
function installGuards(space: AddressSpace, vma: Vma, start: number, end: number): number {
  if (vma.flags & (VM_SPECIAL | VM.hugeTlb | VM.locked)) return -ERRNO.EINVAL;
  prepareIdentity(space, vma);
  zapRange(space, vma, start, end, { privateCopies: true, markers: true });
  for (let page = start; page < end; page++) {
    const table = space.tables.makeTable(Math.floor(page / TABLE_ENTRIES));
    table?.set(page % TABLE_ENTRIES, PTE.marker | PTE.guard, 0);
  }
  return 0;
}

function removeGuards(space: AddressSpace, vma: Vma, start: number, end: number): number {
  if (vma.flags & (VM_SPECIAL | VM.hugeTlb)) return -ERRNO.EINVAL;
  space.tables.forEachBlock(
    Math.floor(start / TABLE_ENTRIES),
    Math.ceil(end / TABLE_ENTRIES),
    (block, found) => {
      if (found.huge) return;
      for (let index = 0; index < TABLE_ENTRIES; index++) {
        const page = block * TABLE_ENTRIES + index;
        if (page >= start && page < end && found.flags[index]! & PTE.guard) found.clear(index);
      }
    },
  );
  return 0;
}
