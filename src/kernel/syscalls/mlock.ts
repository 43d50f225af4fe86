import { ERRNO, MCL } from '../abi.ts';
import { type AddressSpace, USER_END_PAGE } from '../address-space.ts';
import { populate } from '../fault/gup.ts';
import { VM, VM_LOCKED_ANY, VM_SPECIAL } from '../vma/flags.ts';
import { modifyRange } from '../vma/merge.ts';
import type { Vma } from '../vma/vma.ts';

/** mlock(2): locks the mappings, then brings their pages in. */
export function mlock(space: AddressSpace, startPage: number, pageCount: number): number {
  const failed = applyLock(space, startPage, pageCount, VM.locked);
  if (failed < 0) return failed;
  const error = populate(space, startPage, startPage + pageCount, false);
  // __mlock_posix_error_return: a page that cannot be brought in is reported as ENOMEM.
  return error === -ERRNO.EFAULT ? -ERRNO.ENOMEM : error;
}

/** munlock(2). */
export function munlock(space: AddressSpace, startPage: number, pageCount: number): number {
  return applyLock(space, startPage, pageCount, 0);
}

/** apply_vma_lock_flags. */
function applyLock(space: AddressSpace, startPage: number, pageCount: number, lock: number): number {
  const end = startPage + pageCount;
  if (pageCount === 0) return 0;
  let at = startPage;
  while (at < end) {
    const vma = space.vmas.lookup(at);
    if (vma === undefined) return -ERRNO.ENOMEM;
    const stop = Math.min(vma.end, end);
    lockRange(space, vma, at, stop, (vma.flags & ~VM_LOCKED_ANY) | lock);
    at = stop;
  }
  return 0;
}

/** mlock_fixup. The protection of new entries is not decided anew here. */
function lockRange(space: AddressSpace, vma: Vma, start: number, end: number, flags: number): void {
  if (flags === vma.flags || vma.flags & VM_SPECIAL || vma.hugeTlb || vma.special !== '') return;
  modifyRange(space, vma, start, end, flags);
}

/** mlockall(2). */
export function mlockall(space: AddressSpace, flags: number): number {
  if (flags === 0 || flags & ~(MCL.current | MCL.future | MCL.onFault) || flags === MCL.onFault) {
    return -ERRNO.EINVAL;
  }
  const lock = VM.locked | (flags & MCL.onFault ? VM.lockOnFault : 0);
  space.defaultFlags = (space.defaultFlags & ~VM_LOCKED_ANY) | (flags & MCL.future ? lock : 0);
  if (!(flags & MCL.current)) return 0;
  lockAll(space, lock);
  populate(space, 0, USER_END_PAGE, true);
  return 0;
}

/** munlockall(2). */
export function munlockall(space: AddressSpace): number {
  space.defaultFlags &= ~VM_LOCKED_ANY;
  lockAll(space, 0);
  return 0;
}

function lockAll(space: AddressSpace, lock: number): void {
  let at = 0;
  for (let vma = space.vmas.findAbove(at); vma !== undefined; vma = space.vmas.findAbove(at)) {
    at = vma.end;
    lockRange(space, vma, vma.start, vma.end, (vma.flags & ~VM_LOCKED_ANY) | lock);
  }
}
