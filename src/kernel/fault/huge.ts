import { ACCESS_SIGNAL } from '../abi.ts';
import { type AddressSpace, freshEntry, writableIfAllowed } from '../address-space.ts';
import { FRAME, HUGE_ZERO_FRAME } from '../memory/frames.ts';
import { PTE, SOFTWARE_DIRTY } from '../pagetable/entry.ts';
import { HugeEntry } from '../pagetable/tables.ts';
import { splitHugeEntry } from '../pagetable/unmap.ts';
import { VM } from '../vma/flags.ts';
import { prepareIdentity } from '../vma/identity.ts';
import type { Vma } from '../vma/vma.ts';
import { PRIVATE_FRAME } from './anonymous.ts';
import { coversBlock } from './file.ts';
import { FAULT, type FaultMode } from './mode.ts';
import { resolvesAsynchronously } from './write-protect.ts';

/** The huge path did not apply; the fault goes on with a page table. */
export const FALLBACK = 1;

/** hugepage_vma_check for a page fault on private memory. */
export function hugeAllowed(space: AddressSpace, vma: Vma): boolean {
  if (!vma.anonymous || vma.has(VM.noHugePage) || vma.has(VM.shared)) return false;
  const mode = space.machine.settings.thp;
  return mode === 'always' || (mode === 'madvise' && vma.has(VM.hugePage));
}

/** do_huge_pmd_anonymous_page: private memory without a page table is touched. */
export function hugeFault(space: AddressSpace, vma: Vma, block: number, mode: FaultMode): number {
  const { machine } = space;
  if (!coversBlock(vma, block)) return FALLBACK;
  prepareIdentity(space, vma);
  if (vma.has(VM.uffdMissing)) return ACCESS_SIGNAL.blocked;
  if (mode !== FAULT.write && machine.settings.thpZeroPage) {
    space.tables.attach(block, new HugeEntry(freshEntry(vma) | PTE.special, HUGE_ZERO_FRAME));
  } else mapNewHugePage(space, vma, block);
  machine.ledger.fault('huge');
  return 0;
}

/** A new private huge page. It is mapped dirty even if a load asked for it, and so soft-dirty. */
export function mapNewHugePage(space: AddressSpace, vma: Vma, block: number): number {
  const { frames } = space.machine;
  const head = frames.allocateHuge(PRIVATE_FRAME);
  frames.compounds.set(head, { entire: 1, total: 1 });
  space.tables.attach(block, new HugeEntry(writableIfAllowed(freshEntry(vma) | SOFTWARE_DIRTY, vma), head));
  return head;
}

/** wp_huge_pmd: a store to a huge entry without write permission. FALLBACK means that it has been split. */
export function hugeWriteProtectFault(
  space: AddressSpace,
  vma: Vma,
  block: number,
  entry: HugeEntry,
  mode: FaultMode,
): number {
  const { machine } = space;
  const { frames } = machine;
  if (vma.anonymous) {
    if (mode === FAULT.write && vma.has(VM.uffdWp) && entry.flags & PTE.uffd) {
      if (!resolvesAsynchronously(vma)) return ACCESS_SIGNAL.blocked;
    } else if (entry.flags & PTE.special) {
      if (machine.features.hugeZeroStoreAllocates && mode === FAULT.write) {
        prepareIdentity(space, vma);
        space.tables.detach(block);
        mapNewHugePage(space, vma, block);
        machine.ledger.fault('huge');
        return 0;
      }
    } else if (canReuseHuge(space, entry)) {
      if (mode === FAULT.unshare) return 0;
      frames.flags[entry.frame]! |= FRAME.exclusive;
      entry.flags = writableIfAllowed(entry.flags | PTE.accessed | SOFTWARE_DIRTY, vma);
      machine.ledger.fault('writeProtect');
      return 0;
    }
  }
  splitHugeEntry(space, vma, block);
  return FALLBACK;
}

function canReuseHuge(space: AddressSpace, entry: HugeEntry): boolean {
  const { frames } = space.machine;
  if (frames.flags[entry.frame]! & FRAME.exclusive) return true;
  return frames.referenceCount(entry.frame) === 1;
}
