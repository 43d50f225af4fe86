import { ERRNO } from '../abi.ts';
import type { AddressSpace } from '../address-space.ts';
import { populate } from '../fault/gup.ts';
import { VM, VM_ACCESS } from '../vma/flags.ts';
import { insertRange, unmapRange } from './mmap.ts';

/** remap_file_pages(2), which the kernel emulates by a new shared mapping that is populated at once. */
export function remapFilePages(
  space: AddressSpace,
  startPage: number,
  pageCount: number,
  offsetPages: number,
): number {
  const end = startPage + pageCount;
  const vma = space.vmas.lookup(startPage);
  if (pageCount <= 0 || vma === undefined || vma.file === null || !vma.has(VM.shared)) return -ERRNO.EINVAL;
  for (let last = vma; last.end < end; ) {
    const next = space.vmas.after(last);
    if (next === undefined || next.start !== last.end || next.file !== vma.file || next.flags !== vma.flags) {
      return -ERRNO.EINVAL;
    }
    last = next;
  }
  const { file } = vma;
  const flags =
    (vma.flags & VM_ACCESS) |
    (VM.shared | VM.mayShare | VM.mayRead | VM.mayWrite | VM.mayExec) |
    (vma.flags & VM.locked) |
    space.defaultFlags;
  unmapRange(space, startPage, end);
  insertRange(space, startPage, end, flags, offsetPages, file);
  populate(space, startPage, end, true);
  return 0;
}
