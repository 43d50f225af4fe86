import { ACCESS_SIGNAL, UFFD_FEATURE } from '../abi.ts';
import { type AddressSpace, freshEntry, writableIfAllowed } from '../address-space.ts';
import { FRAME } from '../memory/frames.ts';
import { PTE, SOFTWARE_DIRTY } from '../pagetable/entry.ts';
import type { LeafTable } from '../pagetable/tables.ts';
import { VM } from '../vma/flags.ts';
import { prepareIdentity } from '../vma/identity.ts';
import type { Vma } from '../vma/vma.ts';
import { PRIVATE_FRAME } from './anonymous.ts';
import { FAULT, type FaultMode } from './mode.ts';

/** Whether write protection of userfaultfd on this mapping is resolved by the kernel itself. */
export function resolvesAsynchronously(vma: Pick<Vma, 'uffd'>): boolean {
  return vma.uffd !== null && (vma.uffd.features & UFFD_FEATURE.writeProtectAsync) !== 0;
}

/** do_wp_page: a store to (or the unsharing of) a present entry without write permission. */
export function writeProtectFault(
  space: AddressSpace,
  vma: Vma,
  table: LeafTable,
  index: number,
  mode: FaultMode,
): number {
  const { machine } = space;
  let flags = table.flags[index]!;
  if (mode === FAULT.write && vma.has(VM.uffdWp) && flags & PTE.uffd) {
    if (!resolvesAsynchronously(vma)) return ACCESS_SIGNAL.blocked;
    flags &= ~PTE.uffd;
    table.setFlags(index, flags);
    machine.ledger.fault('userfault');
  }
  if (vma.has(VM.shared | VM.mayShare)) {
    if (mode !== FAULT.write) return 0;
    reuse(space, vma, table, index);
    return 0;
  }
  const frame = table.values[index]!;
  if (flags & PTE.special || !(machine.frames.flags[frame]! & FRAME.anonymous)) {
    // Up to 6.1 there is nothing to unshare in what is not private.
    if (mode === FAULT.unshare && !machine.features.ksmUnshares) return 0;
    copy(space, vma, table, index, mode);
    return 0;
  }
  if (canReuse(space, frame)) {
    if (mode === FAULT.write) reuse(space, vma, table, index);
    return 0;
  }
  copy(space, vma, table, index, mode);
  return 0;
}

/** Whether the frame belongs to this entry alone, so that a store needs no copy. */
function canReuse(space: AddressSpace, frame: number): boolean {
  const { machine } = space;
  const { frames } = machine;
  const flags = frames.flags[frame]!;
  if (flags & FRAME.exclusive) return true;
  if (flags & FRAME.ksm) return false;
  if (frames.referenceCount(frame) > 1 + (flags & FRAME.swapCache ? 1 : 0)) return false;
  if (flags & FRAME.swapCache) machine.leaveSwapCache(frame);
  if (frames.referenceCount(frame) !== 1) return false;
  frames.flags[frame]! |= FRAME.exclusive;
  return true;
}

/** wp_page_reuse: the same frame becomes writable, dirty and soft-dirty. */
function reuse(space: AddressSpace, vma: Vma, table: LeafTable, index: number): void {
  const { machine } = space;
  const frame = table.values[index]!;
  table.setFlags(index, writableIfAllowed(table.flags[index]! | PTE.accessed | SOFTWARE_DIRTY, vma));
  if (machine.frames.flags[frame]! & FRAME.cached) machine.frames.flags[frame]! |= FRAME.dirty;
  machine.ledger.fault('writeProtect');
}

/** wp_page_copy: a new frame with the old contents. Unsharing keeps soft-dirty as it was. */
function copy(space: AddressSpace, vma: Vma, table: LeafTable, index: number, mode: FaultMode): void {
  const { machine } = space;
  const { frames } = machine;
  prepareIdentity(space, vma);
  const old = table.values[index]!;
  const oldFlags = table.flags[index]!;
  const frame = frames.allocate(PRIVATE_FRAME);
  if (!(oldFlags & PTE.special)) frames.copyContents(old, frame);
  machine.mapFrame(frame);
  const fresh = freshEntry(vma);
  table.set(
    index,
    mode === FAULT.unshare
      ? fresh | (oldFlags & (PTE.soft | PTE.uffd))
      : writableIfAllowed(fresh | SOFTWARE_DIRTY, vma),
    frame,
  );
  if (!(oldFlags & PTE.special)) machine.unmapFrame(old);
  machine.ledger.fault('copyOnWrite');
}
