import { UFFD_FEATURE } from './abi.ts';
import { AddressSpace, freshEntry, writableIfAllowed } from './address-space.ts';
import { PRIVATE_FRAME } from './fault/anonymous.ts';
import { FRAME } from './memory/frames.ts';
import { PTE, SOFTWARE_DIRTY, TABLE_ENTRIES } from './pagetable/entry.ts';
import { HugeEntry, LeafTable } from './pagetable/tables.ts';
import { splitHugeEntry } from './pagetable/unmap.ts';
import { forkChain } from './vma/anon-vma.ts';
import { VM, VM_LOCKED_ANY, VM_UFFD } from './vma/flags.ts';
import type { Vma } from './vma/vma.ts';

/** dup_mmap: the address space of a forked child. */
export function forkSpace(parent: AddressSpace, childPid: number): AddressSpace {
  const { machine } = parent;
  const child = new AddressSpace(machine, childPid);
  child.startBreak = parent.startBreak;
  child.breakPage = parent.breakPage;
  child.stackPage = parent.stackPage;
  child.peakResident = parent.peakResident;
  for (const vma of parent.vmas.items) {
    if (vma.has(VM.dontCopy)) continue;
    const copy = vma.duplicate();
    copy.flags &= ~VM_LOCKED_ANY;
    if (copy.uffd !== null && !(copy.uffd.features & UFFD_FEATURE.eventFork)) {
      copy.uffd = null;
      copy.flags &= ~VM_UFFD;
    }
    if (vma.has(VM.wipeOnFork)) copy.anonVma = null;
    else forkChain(copy, vma, machine.nextId);
    child.vmas.items.push(copy);
    if (!vma.has(VM.wipeOnFork)) copyEntries(parent, vma, child, copy);
  }
  if (parent.ksmOrder !== 0) child.ksmOrder = machine.nextId();
  return child;
}

/** vma_needs_copy: only private memory that was stored to has entries that faults could not bring back. */
function needsCopy(vma: Vma, copy: Vma): boolean {
  if (vma.hugeTlb) return vma.anonVma !== null;
  return copy.has(VM.uffdWp) || vma.has(VM.pfnMap) || vma.anonVma !== null;
}

function copyEntries(parent: AddressSpace, vma: Vma, child: AddressSpace, copy: Vma): void {
  if (!needsCopy(vma, copy)) return;
  const first = Math.floor(vma.start / TABLE_ENTRIES);
  const last = Math.ceil(vma.end / TABLE_ENTRIES);
  parent.tables.forEachBlock(first, last, (block, found) => {
    let table = found;
    if (table.huge) {
      if (copyHuge(parent, vma, child, block, table)) return;
      splitHugeEntry(parent, vma, block);
      const split = parent.tables.find(block);
      if (split === undefined || split.huge) return;
      table = split;
    }
    const from = Math.max(vma.start, block * TABLE_ENTRIES) - block * TABLE_ENTRIES;
    const to = Math.min(vma.end, (block + 1) * TABLE_ENTRIES) - block * TABLE_ENTRIES;
    const known = child.tables.find(block);
    const target = known === undefined ? new LeafTable() : known;
    if (target.huge) return;
    if (known === undefined) child.tables.attach(block, target);
    for (let index = from; index < to; index++) {
      if (table.flags[index] !== 0) copyEntry(parent, vma, table, child, copy, target, index);
    }
  });
}

/** copy_huge_pmd; false if the page is pinned and has to be copied piece by piece. */
function copyHuge(
  parent: AddressSpace,
  vma: Vma,
  child: AddressSpace,
  block: number,
  entry: HugeEntry,
): boolean {
  const { frames } = parent.machine;
  const flags = entry.flags;
  if (flags & PTE.special) {
    entry.flags = flags & ~PTE.write;
    child.tables.attach(block, new HugeEntry(entry.flags & ~(PTE.uffd | PTE.accessed), entry.frame));
    return true;
  }
  if (!(frames.flags[entry.frame]! & FRAME.anonymous)) return true;
  if (parent.hasPinned && frames.flags[entry.frame]! & FRAME.exclusive && frames.isPinned(entry.frame)) {
    if (!vma.hugeTlb) return false;
    return true;
  }
  frames.flags[entry.frame]! &= ~FRAME.exclusive;
  entry.flags = flags & ~PTE.write;
  const compound = frames.compounds.get(entry.frame)!;
  compound.entire++;
  compound.total++;
  child.tables.attach(block, new HugeEntry(flags & ~(PTE.write | PTE.uffd | PTE.accessed), entry.frame));
  return true;
}

/** copy_present_pte and copy_nonpresent_pte. */
function copyEntry(
  parent: AddressSpace,
  vma: Vma,
  table: LeafTable,
  child: AddressSpace,
  copy: Vma,
  target: LeafTable,
  index: number,
): void {
  const { machine } = parent;
  const { frames, swap } = machine;
  let flags = table.flags[index]!;
  const value = table.values[index]!;
  const lost = copy.has(VM.uffdWp) ? 0 : PTE.uffd;
  if (flags & PTE.marker) {
    if (flags & PTE.guard || !lost) target.set(index, flags, 0);
    return;
  }
  if (flags & PTE.swap) {
    swap.users[value]!++;
    flags &= ~PTE.swapExclusive;
    table.setFlags(index, flags);
    target.set(index, flags & ~lost, value);
    return;
  }
  if (!(flags & PTE.special)) {
    const state = frames.flags[value]!;
    if (state & FRAME.anonymous) {
      if (parent.hasPinned && state & FRAME.exclusive && frames.isPinned(value)) {
        copyPinned(child, copy, target, index, value);
        return;
      }
      frames.flags[value]! &= ~FRAME.exclusive;
    }
    machine.mapFrame(value);
  }
  if (vma.copyOnWrite && flags & PTE.write) {
    flags &= ~PTE.write;
    table.setFlags(index, flags);
  }
  let copied = flags & ~(PTE.accessed | lost);
  if (vma.has(VM.shared)) copied &= ~PTE.dirty;
  target.set(index, copied, value);
}

/** copy_present_page: a page pinned for DMA stays with the parent; the child gets its own copy at once. */
function copyPinned(child: AddressSpace, copy: Vma, target: LeafTable, index: number, frame: number): void {
  const { machine } = child;
  const own = machine.frames.allocate(PRIVATE_FRAME);
  machine.frames.copyContents(frame, own);
  machine.mapFrame(own);
  target.set(index, writableIfAllowed(freshEntry(copy) | SOFTWARE_DIRTY, copy), own);
}
