import { ERRNO } from '../abi.ts';
import { type AddressSpace, freshEntry } from '../address-space.ts';
import { FRAME, HUGE_FRAMES } from '../memory/frames.ts';
import { PTE, SOFTWARE_DIRTY, TABLE_ENTRIES } from '../pagetable/entry.ts';
import { splitHugeEntry } from '../pagetable/unmap.ts';
import { splitHugePage } from '../thp/split.ts';
import { VM, VM_UFFD } from '../vma/flags.ts';
import { prepareIdentity } from '../vma/identity.ts';
import type { Vma } from '../vma/vma.ts';
import type { UffdContext } from './context.ts';

/** move_pages of mm/userfaultfd.c: pages that one process owns move to empty slots of a registered mapping. */
export function movePages(
  context: UffdContext,
  source: number,
  destination: number,
  pageCount: number,
): number {
  const { space } = context;
  const from = space.vmas.lookup(source);
  const to = space.vmas.lookup(destination);
  if (from === undefined || to === undefined) return -ERRNO.ENOENT;
  if (from.end < source + pageCount || to.end < destination + pageCount) return -ERRNO.EINVAL;
  if (!compatible(context, from, to)) return -ERRNO.EINVAL;
  prepareIdentity(space, to);
  for (let offset = 0; offset < pageCount; ) {
    const moved =
      pageCount - offset >= HUGE_FRAMES
        ? moveHuge(space, from, source + offset, to, destination + offset)
        : 0;
    if (moved > 0) {
      offset += moved;
      continue;
    }
    const failed = moveOne(space, from, source + offset, to, destination + offset);
    if (failed < 0) return offset === 0 ? failed : -ERRNO.EAGAIN;
    offset++;
  }
  return 0;
}

/** validate_move_areas. */
function compatible(context: UffdContext, from: Vma, to: Vma): boolean {
  if (!from.anonymous || !to.anonymous || from.has(VM.shared) || to.has(VM.shared)) return false;
  if (!from.has(VM.write) || !to.has(VM.write)) return false;
  if ((from.flags ^ to.flags) & (VM.locked | VM.mergeable)) return false;
  return to.uffd === context && to.has(VM_UFFD);
}

/** move_pages_huge_pmd; 0 if the block does not move as one. */
function moveHuge(space: AddressSpace, from: Vma, source: number, to: Vma, destination: number): number {
  if (source % TABLE_ENTRIES !== 0 || destination % TABLE_ENTRIES !== 0) return 0;
  const found = space.tables.find(source / TABLE_ENTRIES);
  if (!found?.huge || space.tables.find(destination / TABLE_ENTRIES) !== undefined) return 0;
  if (found.flags & PTE.special || !(space.machine.frames.flags[found.frame]! & FRAME.exclusive)) return 0;
  if (source + HUGE_FRAMES > from.end) return 0;
  space.tables.detach(source / TABLE_ENTRIES);
  found.flags = freshEntry(to) | SOFTWARE_DIRTY | PTE.write;
  space.tables.attach(destination / TABLE_ENTRIES, found);
  return HUGE_FRAMES;
}

function moveOne(space: AddressSpace, from: Vma, source: number, to: Vma, destination: number): number {
  const { tables, machine } = space;
  const block = Math.floor(source / TABLE_ENTRIES);
  let found = tables.find(block);
  if (found?.huge) {
    splitHugeEntry(space, from, block);
    found = tables.find(block);
  }
  if (found === undefined || found.huge) return -ERRNO.ENOENT;
  const target = tables.makeTable(Math.floor(destination / TABLE_ENTRIES));
  const index = source % TABLE_ENTRIES;
  const flags = found.flags[index]!;
  if (target === undefined || target.flags[destination % TABLE_ENTRIES] !== 0) return -ERRNO.EEXIST;
  if (flags === 0 || flags & PTE.marker) return -ERRNO.ENOENT;
  const value = found.values[index]!;
  if (flags & PTE.swap) {
    if (!(flags & PTE.swapExclusive)) return -ERRNO.EBUSY;
    found.clear(index);
    target.set(destination % TABLE_ENTRIES, flags | PTE.soft, value);
    return 0;
  }
  if (flags & PTE.special) {
    found.clear(index);
    target.set(destination % TABLE_ENTRIES, freshEntry(to) | PTE.special, value);
    return 0;
  }
  if (machine.frames.flags[value]! & FRAME.compound) {
    if (!splitHugePage(space, value - (value % HUGE_FRAMES))) return -ERRNO.EBUSY;
    return moveOne(space, from, source, to, destination);
  }
  const state = machine.frames.flags[value]!;
  if (!(state & FRAME.anonymous) || !(state & FRAME.exclusive) || machine.frames.references[value] !== 0) {
    return -ERRNO.EBUSY;
  }
  found.clear(index);
  target.set(destination % TABLE_ENTRIES, freshEntry(to) | SOFTWARE_DIRTY | PTE.write, value);
  return 0;
}
