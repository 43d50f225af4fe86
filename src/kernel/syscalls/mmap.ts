import { ERRNO, MAP, PROT } from '../abi.ts';
import { type AddressSpace, USER_END_PAGE } from '../address-space.ts';
import { populate } from '../fault/gup.ts';
import type { OpenFile } from '../memory/files.ts';
import { HUGE_FRAMES } from '../memory/frames.ts';
import { zapRange } from '../pagetable/unmap.ts';
import { VM, VM_LOCKED_ANY } from '../vma/flags.ts';
import { mergeNew, mergeNewUpperFirst, splitMapping } from '../vma/merge.ts';
import { releaseMapping } from '../vma/remove.ts';
import { Vma } from '../vma/vma.ts';

/** Lowest page that a program may map (mmap_min_addr of 64 KiB). */
const LOWEST_PAGE = 16;
/** Where the search for free space begins, downwards: below the gap for the stack, without randomisation. */
export const MMAP_BASE_PAGE = 0x7ffff7fff;

/** VM_READ and so on from PROT bits. */
export function protectionFlags(prot: number): number {
  return prot & (PROT.read | PROT.write | PROT.execute);
}

/** mmap(2): the start page or a negative errno. */
export function mmap(
  space: AddressSpace,
  hintPage: number,
  pageCount: number,
  prot: number,
  flags: number,
  file: OpenFile | undefined,
  offsetPages: number,
): number {
  if (pageCount <= 0) return -ERRNO.EINVAL;
  if (pageCount > USER_END_PAGE) return -ERRNO.ENOMEM;
  const huge = (flags & MAP.hugeTlb) !== 0;
  const count = huge ? Math.ceil(pageCount / HUGE_FRAMES) * HUGE_FRAMES : pageCount;
  const start = placeMapping(space, hintPage, count, flags, huge);
  if (start < 0) return start;
  const vmFlags = mappingFlags(space, prot, flags, file);
  if (vmFlags < 0) return vmFlags;
  const end = start + count;
  unmapRange(space, start, end);
  const refused = huge ? reserveHuge(space, count, vmFlags) : 0;
  if (refused < 0) return refused;
  const backing = backingFile(space, flags, count, file);
  if (huge && backing !== null && !(vmFlags & VM.noReserve)) {
    backing.node.promisedHuge = count / HUGE_FRAMES;
    space.machine.hugePoolPromised += backing.node.promisedHuge;
  }
  const offset = file === undefined ? (flags & MAP.shared || huge ? 0 : start) : offsetPages;
  insertRange(space, start, end, vmFlags, offset, backing);
  if (vmFlags & VM.locked || flags & MAP.populate) populate(space, start, end, true);
  return start;
}

/** get_unmapped_area: where the mapping goes, or an errno. */
export function placeMapping(
  space: AddressSpace,
  hintPage: number,
  count: number,
  flags: number,
  huge = false,
): number {
  if (flags & (MAP.fixed | MAP.fixedNoReplace)) {
    if (huge && hintPage % HUGE_FRAMES !== 0) return -ERRNO.EINVAL;
    if (hintPage + count > USER_END_PAGE) return -ERRNO.ENOMEM;
    if (hintPage < LOWEST_PAGE) return -ERRNO.EPERM;
    if (flags & MAP.fixedNoReplace && space.vmas.intersects(hintPage, hintPage + count)) return -ERRNO.EEXIST;
    return hintPage;
  }
  const end = hintPage + count;
  if (hintPage >= LOWEST_PAGE && end <= USER_END_PAGE && !space.vmas.intersects(hintPage, end))
    return hintPage;
  return findGap(space, count, huge ? HUGE_FRAMES : 1);
}

/** The highest gap below MMAP_BASE_PAGE (vm_unmapped_area, top down). */
function findGap(space: AddressSpace, count: number, alignment: number): number {
  const { items } = space.vmas;
  let top = MMAP_BASE_PAGE;
  for (let index = items.length - 1; index >= -1; index--) {
    const lowerEnd = index < 0 ? LOWEST_PAGE : items[index]!.end;
    if (lowerEnd < top) {
      const start = Math.floor((top - count) / alignment) * alignment;
      if (start >= lowerEnd) return start;
    }
    if (index >= 0) top = Math.min(top, items[index]!.start - (items[index]!.has(VM.growsDown) ? 256 : 0));
  }
  return -ERRNO.ENOMEM;
}

/** The VM flags of a new mapping, or an errno if the file does not permit it. */
function mappingFlags(space: AddressSpace, prot: number, flags: number, file: OpenFile | undefined): number {
  let vmFlags = protectionFlags(prot) | VM.mayRead | VM.mayWrite | VM.mayExec | space.defaultFlags;
  if (flags & MAP.growsDown) vmFlags |= VM.growsDown;
  if (flags & MAP.locked) vmFlags |= VM.locked;
  if (flags & MAP.shared) {
    vmFlags |= VM.shared | VM.mayShare;
    if (file !== undefined && !file.writable) {
      if (prot & PROT.write) return -ERRNO.EACCES;
      vmFlags &= ~(VM.mayWrite | VM.shared);
    }
    if (flags & MAP.growsDown) return -ERRNO.EINVAL;
  }
  if (flags & MAP.noReserve) vmFlags |= VM.noReserve;
  if (flags & MAP.hugeTlb) {
    vmFlags |= VM.hugeTlb | VM.dontExpand;
    vmFlags &= ~VM_LOCKED_ANY;
  } else if ((vmFlags & (VM.noReserve | VM.shared | VM.write)) === VM.write) vmFlags |= VM.account;
  return vmFlags;
}

/** Shared anonymous memory and huge pages have a file of their own, so such mappings never merge. */
function backingFile(
  space: AddressSpace,
  flags: number,
  count: number,
  file: OpenFile | undefined,
): OpenFile | null {
  if (file !== undefined) return file;
  const { machine } = space;
  if (flags & MAP.hugeTlb) return machine.open(machine.createNode('/anon_hugepage', 'hugetlb', count), true);
  if (flags & MAP.shared)
    return machine.open(machine.createNode('/dev/zero', 'shared-anonymous', count), true);
  return null;
}

/** hugetlb_reserve_pages. */
function reserveHuge(space: AddressSpace, count: number, vmFlags: number): number {
  const { machine } = space;
  if (vmFlags & VM.noReserve) return 0;
  const available = machine.hugePool - machine.hugePoolTaken - machine.hugePoolPromised;
  return available < count / HUGE_FRAMES ? -ERRNO.ENOMEM : 0;
}

/** mmap_region behind the checks: joins neighbours or makes a mapping; either way all of it is soft-dirty. */
export function insertRange(
  space: AddressSpace,
  start: number,
  end: number,
  flags: number,
  offset: number,
  file: OpenFile | null,
): Vma {
  const range = { start, end, flags, offset, file, anonVma: null, uffd: null, within: undefined };
  const merged = space.machine.features.mergePrefersLower
    ? mergeNew(space, range)
    : mergeNewUpperFirst(space, range);
  const vma = merged ?? new Vma(start, end, flags, offset, file);
  vma.flags |= VM.softDirty;
  if (merged === undefined) space.addMapping(vma);
  else space.setPageProtection(vma);
  return vma;
}

/** do_munmap: removes all mappings of [start, end), cutting those that reach out. */
export function unmapRange(space: AddressSpace, start: number, end: number): void {
  const { vmas } = space;
  let vma = vmas.findAbove(start);
  if (vma === undefined || vma.start >= end) return;
  if (vma.start < start) vma = splitMapping(space, vma, start);
  const last = vmas.findAbove(end - 1);
  if (last !== undefined && last.start < end && last.end > end) splitMapping(space, last, end);
  const first = vmas.indexOf(vma);
  let after = first;
  while (after < vmas.items.length && vmas.items[after]!.start < end) after++;
  const removed = vmas.items.splice(first, after - first);
  const floor = vmas.items[first - 1]?.end ?? 0;
  const ceiling = vmas.items[first]?.start ?? Number.MAX_SAFE_INTEGER;
  for (const gone of removed) zapRange(space, gone, gone.start, gone.end);
  for (const gone of removed) {
    releaseMapping(space.machine, gone);
    space.tables.freeRange(gone.start, gone.end, floor, ceiling);
  }
}

/** munmap(2). */
export function munmap(space: AddressSpace, startPage: number, pageCount: number): number {
  if (pageCount <= 0 || startPage + pageCount > USER_END_PAGE) return -ERRNO.EINVAL;
  const end = startPage + pageCount;
  const { vmas } = space;
  for (const page of [startPage, end]) {
    const cut = vmas.lookup(page);
    if (cut?.hugeTlb && cut.start < page && page % HUGE_FRAMES !== 0) return -ERRNO.EINVAL;
  }
  unmapRange(space, startPage, end);
  return 0;
}
