import { ACCESS_SIGNAL } from '../abi.ts';
import { type AddressSpace, freshEntry } from '../address-space.ts';
import { FRAME, ZERO_FRAME } from '../memory/frames.ts';
import { PTE, SOFTWARE_DIRTY } from '../pagetable/entry.ts';
import type { LeafTable } from '../pagetable/tables.ts';
import { VM } from '../vma/flags.ts';
import { prepareIdentity } from '../vma/identity.ts';
import type { Vma } from '../vma/vma.ts';
import { FAULT, type FaultMode } from './mode.ts';

/** Flags of a frame of private memory that one process owns. */
export const PRIVATE_FRAME = FRAME.anonymous | FRAME.swapBacked | FRAME.exclusive;

/** do_anonymous_page: an empty slot (or a userfaultfd marker) of private memory is touched. */
export function anonymousFault(
  space: AddressSpace,
  vma: Vma,
  table: LeafTable,
  index: number,
  mode: FaultMode,
): number {
  const { machine } = space;
  const marked = (table.flags[index]! & PTE.uffd) !== 0;
  if (vma.has(VM.shared)) return ACCESS_SIGNAL.bus;
  if (mode !== FAULT.write) {
    if (vma.has(VM.uffdMissing)) return ACCESS_SIGNAL.blocked;
    table.set(index, guarded(freshEntry(vma) | PTE.special, marked), ZERO_FRAME);
    machine.ledger.fault('anonymousZero');
    return 0;
  }
  prepareIdentity(space, vma);
  if (vma.has(VM.uffdMissing)) return ACCESS_SIGNAL.blocked;
  let flags = freshEntry(vma);
  if (vma.has(VM.write)) flags |= SOFTWARE_DIRTY | PTE.write;
  const frame = machine.frames.allocate(PRIVATE_FRAME);
  machine.mapFrame(frame);
  table.set(index, guarded(flags, marked), frame);
  machine.ledger.fault('anonymousNew');
  return 0;
}

/** pte_mkuffd_wp if `marked`: write protection of userfaultfd takes the write bit away. */
export function guarded(flags: number, marked: boolean): number {
  return marked ? (flags | PTE.uffd) & ~PTE.write : flags;
}
