import { ERRNO } from '../abi.ts';
import { type AddressSpace, USER_END_PAGE } from '../address-space.ts';
import { populateMapping } from '../fault/gup.ts';
import { HUGE_FRAMES } from '../memory/frames.ts';
import { changeProtection } from '../pagetable/protect.ts';
import { VM, VM_ACCESS } from '../vma/flags.ts';
import { modifyRange } from '../vma/merge.ts';
import type { Vma } from '../vma/vma.ts';
import { protectionFlags } from './mmap.ts';

/** mprotect(2). Stops at the first hole or refusal; what lies before it has changed. */
export function mprotect(space: AddressSpace, startPage: number, pageCount: number, prot: number): number {
  if (pageCount === 0) return 0;
  const end = startPage + pageCount;
  if (end > USER_END_PAGE) return -ERRNO.ENOMEM;
  let at = startPage;
  while (at < end) {
    const vma = space.vmas.lookup(at);
    if (vma === undefined) return -ERRNO.ENOMEM;
    const flags = (vma.flags & ~VM_ACCESS) | protectionFlags(prot);
    if (flags & ~(flags >> 4) & VM_ACCESS) return -ERRNO.EACCES;
    const stop = Math.min(vma.end, end);
    if (vma.hugeTlb && (at % HUGE_FRAMES !== 0 || stop % HUGE_FRAMES !== 0)) return -ERRNO.EINVAL;
    protectRange(space, vma, at, stop, flags);
    at = stop;
  }
  return 0;
}

/** mprotect_fixup for the part of one mapping. */
function protectRange(space: AddressSpace, vma: Vma, start: number, end: number, wanted: number): void {
  const old = vma.flags;
  if (wanted === old) return;
  let flags = wanted;
  if (flags & VM.write) {
    if (!(old & (VM.account | VM.write | VM.hugeTlb | VM.shared | VM.noReserve))) flags |= VM.account;
  } else if (
    space.machine.features.unaccountUnpopulated &&
    old & VM.account &&
    vma.anonymous &&
    vma.anonVma === null
  ) {
    flags &= ~VM.account;
  }
  const part = modifyRange(space, vma, start, end, flags);
  const upgrade = part.has(VM.shared) ? space.wantsNotice(part) : part.has(VM.write);
  space.setPageProtection(part);
  changeProtection(space, part, start, end, { upgrade });
  // Locked private memory that becomes writable is copied now rather than at the first store.
  if ((old & (VM.write | VM.shared | VM.locked)) === VM.locked && part.has(VM.write)) {
    populateMapping(space, part, start, end);
  }
}
