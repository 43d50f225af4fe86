import { ACCESS_SIGNAL } from '../abi.ts';
import { type AddressSpace, freshEntry, writableIfAllowed } from '../address-space.ts';
import type { Machine } from '../machine.ts';
import { FRAME, HUGE_FRAMES } from '../memory/frames.ts';
import { PTE, SOFTWARE_DIRTY, TABLE_ENTRIES } from '../pagetable/entry.ts';
import { HugeEntry } from '../pagetable/tables.ts';
import { VM } from '../vma/flags.ts';
import { prepareIdentity } from '../vma/identity.ts';
import type { Vma } from '../vma/vma.ts';
import { FAULT, type FaultMode } from './mode.ts';

/** hugetlb_fault: memory of the huge page pool, always in entries of 2 MiB (mm/hugetlb.c). */
export function hugetlbFault(space: AddressSpace, vma: Vma, page: number, mode: FaultMode): number {
  const block = Math.floor(page / TABLE_ENTRIES);
  const entry = space.tables.find(block);
  if (entry === undefined) return fill(space, vma, block, mode);
  if (!entry.huge) return ACCESS_SIGNAL.bus;
  if (mode === FAULT.read || entry.flags & PTE.write) {
    entry.flags |= PTE.accessed;
    return 0;
  }
  if (mode === FAULT.write && vma.has(VM.uffdWp) && entry.flags & PTE.uffd) return ACCESS_SIGNAL.blocked;
  return store(space, vma, block, entry, mode);
}

/** hugetlb_no_page. Private pages begin read-only and clean; a store then takes the path of a second fault. */
function fill(space: AddressSpace, vma: Vma, block: number, mode: FaultMode): number {
  const { machine } = space;
  const { frames } = machine;
  const shared = vma.has(VM.shared | VM.mayShare);
  const node = vma.file!.node;
  const index = vma.offsetOf(block * TABLE_ENTRIES);
  let head = shared ? node.pages.get(index) : undefined;
  if (head === undefined) {
    if (!takeFromPool(machine, vma)) return ACCESS_SIGNAL.bus;
    head = frames.allocateHuge(FRAME.hugeTlb | (shared ? FRAME.cached : FRAME.anonymous | FRAME.exclusive));
    if (shared) for (let at = 0; at < HUGE_FRAMES; at++) node.pages.set(index + at, head + at);
  }
  if (!shared) prepareIdentity(space, vma);
  const compound = frames.compounds.get(head)!;
  compound.entire++;
  compound.total++;
  let flags = freshEntry(vma) & ~PTE.write;
  if (vma.has(VM.shared) && vma.has(VM.write)) flags |= PTE.write | SOFTWARE_DIRTY;
  const entry = new HugeEntry(flags, head);
  space.tables.attach(block, entry);
  machine.ledger.fault('huge');
  if (mode === FAULT.write && !(flags & PTE.write)) return store(space, vma, block, entry, mode);
  return 0;
}

/** alloc_huge_page: takes a page that the mapping was promised, or a free one that nobody was. */
function takeFromPool(machine: Machine, vma: Vma | undefined): boolean {
  const node = vma?.file?.node;
  if (node !== undefined && node.promisedHuge > 0) {
    node.promisedHuge--;
    machine.hugePoolPromised--;
  } else if (machine.hugePoolTaken + machine.hugePoolPromised >= machine.hugePool) return false;
  machine.hugePoolTaken++;
  return true;
}

/** hugetlb_wp. */
function store(space: AddressSpace, vma: Vma, block: number, entry: HugeEntry, mode: FaultMode): number {
  const { machine } = space;
  const { frames } = machine;
  const flags = frames.flags[entry.frame]!;
  if (!(flags & FRAME.anonymous) || flags & FRAME.exclusive || frames.referenceCount(entry.frame) === 1) {
    if (mode === FAULT.unshare) return 0;
    if (flags & FRAME.anonymous) frames.flags[entry.frame]! |= FRAME.exclusive;
    entry.flags = writableIfAllowed(entry.flags | PTE.accessed | SOFTWARE_DIRTY, vma);
    machine.ledger.fault('writeProtect');
    return 0;
  }
  if (!takeFromPool(machine, undefined)) return ACCESS_SIGNAL.bus;
  const head = frames.allocateHuge(FRAME.hugeTlb | FRAME.anonymous | FRAME.exclusive);
  for (let at = 0; at < HUGE_FRAMES; at++) frames.copyContents(entry.frame + at, head + at);
  const old = frames.compounds.get(entry.frame)!;
  old.entire--;
  old.total--;
  const oldHead = entry.frame;
  space.tables.detach(block);
  frames.compounds.set(head, { entire: 1, total: 1 });
  space.tables.attach(block, new HugeEntry(writableIfAllowed(freshEntry(vma) | SOFTWARE_DIRTY, vma), head));
  machine.releaseHugeIfUnused(oldHead);
  machine.ledger.fault('copyOnWrite');
  return 0;
}
