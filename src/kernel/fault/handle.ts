import { ACCESS_SIGNAL } from '../abi.ts';
import type { AddressSpace } from '../address-space.ts';
import { PTE, TABLE_ENTRIES } from '../pagetable/entry.ts';
import { VM } from '../vma/flags.ts';
import type { Vma } from '../vma/vma.ts';
import { anonymousFault } from './anonymous.ts';
import { fileFault } from './file.ts';
import { hugeAllowed, hugeFault, hugeWriteProtectFault } from './huge.ts';
import { hugetlbFault } from './hugetlb.ts';
import { FAULT, type FaultMode } from './mode.ts';
import { swapInFault } from './swap-in.ts';
import { writeProtectFault } from './write-protect.ts';

/**
 * handle_mm_fault: makes one step towards satisfying an access that `vma` allows. The access is retried afterwards and
 * may fault again. Returns 0 or an ACCESS_SIGNAL.
 */
export function handleFault(space: AddressSpace, vma: Vma, page: number, mode: FaultMode): number {
  space.minorFaults++;
  if (vma.hugeTlb) return hugetlbFault(space, vma, page, mode);
  if (vma.special !== '') return specialFault(space, vma, page);
  const block = Math.floor(page / TABLE_ENTRIES);
  const found = space.tables.find(block);
  if (found === undefined) {
    if (hugeAllowed(space, vma)) {
      const done = hugeFault(space, vma, block, mode);
      if (done <= 0) return done;
    }
  } else if (found.huge) {
    if (mode !== FAULT.read && !(found.flags & PTE.write)) {
      const done = hugeWriteProtectFault(space, vma, block, found, mode);
      if (done <= 0) return done;
    } else {
      found.flags |= PTE.accessed;
      return 0;
    }
  }
  return handleEntry(space, vma, page, mode);
}

/** handle_pte_fault. */
function handleEntry(space: AddressSpace, vma: Vma, page: number, mode: FaultMode): number {
  const block = Math.floor(page / TABLE_ENTRIES);
  const index = page % TABLE_ENTRIES;
  const known = space.tables.find(block);
  const flags = known === undefined || known.huge ? 0 : known.flags[index]!;
  if (flags === 0) return missing(space, vma, page, mode);
  const table = space.tables.makeTable(block)!;
  if (flags & PTE.present) {
    if (mode !== FAULT.read && !(flags & PTE.write)) return writeProtectFault(space, vma, table, index, mode);
    table.setFlags(index, flags | PTE.accessed);
    return 0;
  }
  if (flags & PTE.swap) return swapInFault(space, vma, table, index, mode);
  if (flags & PTE.guard) return ACCESS_SIGNAL.segmentation;
  // A marker that its registration left behind is just cleared.
  if (!vma.has(VM.uffdWp)) {
    table.clear(index);
    return 0;
  }
  return missing(space, vma, page, mode);
}

function missing(space: AddressSpace, vma: Vma, page: number, mode: FaultMode): number {
  if (!vma.anonymous) return fileFault(space, vma, page, mode);
  const table = space.tables.makeTable(Math.floor(page / TABLE_ENTRIES))!;
  return anonymousFault(space, vma, table, page % TABLE_ENTRIES, mode);
}

/** The vdso is a file page of the kernel's; vvar has no pages that a page table would show. */
function specialFault(space: AddressSpace, vma: Vma, page: number): number {
  if (vma.file === null) return ACCESS_SIGNAL.bus;
  return fileFault(space, vma, page, FAULT.read);
}
