import { ERRNO } from '../abi.ts';
import type { AddressSpace } from '../address-space.ts';
import { populate } from '../fault/gup.ts';
import { VM } from '../vma/flags.ts';
import { mergeNew } from '../vma/merge.ts';
import { Vma } from '../vma/vma.ts';
import { unmapRange } from './mmap.ts';

/** Flags of heap memory. */
export const HEAP_FLAGS = VM.read | VM.write | VM.mayRead | VM.mayWrite | VM.mayExec | VM.account;

/** brk(2): moves the end of the heap to `page`; 0 or -ENOMEM. */
export function brk(space: AddressSpace, page: number): number {
  const old = space.breakPage;
  if (page < space.startBreak) return -ERRNO.ENOMEM;
  if (page <= old) {
    if (page < old) unmapRange(space, page, old);
    space.breakPage = page;
    return 0;
  }
  // One page stays free between the heap and what lies above it.
  if (space.vmas.intersects(old, page + 1)) return -ERRNO.ENOMEM;
  growHeap(space, old, page);
  space.breakPage = page;
  if (space.defaultFlags & VM.locked) populate(space, old, page, true);
  return 0;
}

/** do_brk_flags: the heap joins only what lies below it. */
export function growHeap(space: AddressSpace, start: number, end: number): void {
  const flags = HEAP_FLAGS | space.defaultFlags;
  const range = {
    start,
    end,
    flags,
    offset: start,
    file: null,
    anonVma: null,
    uffd: null,
    within: undefined,
  };
  const vma = mergeNew(space, range, true);
  if (vma !== undefined) {
    vma.flags |= VM.softDirty;
    return;
  }
  space.addMapping(new Vma(start, end, flags | VM.softDirty, start, null));
}
