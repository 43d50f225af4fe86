import { ERRNO, MREMAP } from '../abi.ts';
import { type AddressSpace, USER_END_PAGE } from '../address-space.ts';
import { populate } from '../fault/gup.ts';
import { unmergeRange } from '../ksm/unmerge.ts';
import { HUGE_FRAMES } from '../memory/frames.ts';
import { dropsRegistration, movePageTables } from '../pagetable/move.ts';
import { cloneChain, unlinkChain } from '../vma/anon-vma.ts';
import { VM, VM_LOCKED_ANY, VM_UFFD } from '../vma/flags.ts';
import { mergeNew } from '../vma/merge.ts';
import type { Vma } from '../vma/vma.ts';
import { placeMapping, unmapRange } from './mmap.ts';

const ALL_FLAGS = MREMAP.mayMove | MREMAP.fixed | MREMAP.dontUnmap;

/** mremap(2): the new start page, or a negative errno. */
export function mremap(
  space: AddressSpace,
  oldPage: number,
  oldCount: number,
  newCount: number,
  flags: number,
  newPage: number,
): number {
  if (flags & ~ALL_FLAGS || (flags & MREMAP.fixed && !(flags & MREMAP.mayMove))) return -ERRNO.EINVAL;
  if (flags & MREMAP.dontUnmap && (!(flags & MREMAP.mayMove) || oldCount !== newCount)) return -ERRNO.EINVAL;
  if (newCount <= 0) return -ERRNO.EINVAL;
  const vma = space.vmas.lookup(oldPage);
  const elsewhere = (flags & (MREMAP.fixed | MREMAP.dontUnmap)) !== 0;
  if (elsewhere && space.machine.features.mremapManyMappings) {
    const bad = checkTarget(oldPage, oldCount, newCount, flags, newPage);
    if (bad < 0) return bad;
    if (flags & MREMAP.fixed && oldCount === newCount) {
      return moveMany(space, oldPage, oldCount, newPage, (flags & MREMAP.dontUnmap) !== 0);
    }
    if (vma === undefined) return -ERRNO.EFAULT;
    const refused = checkResize(vma, oldPage, oldCount, newCount, flags, true);
    if (refused < 0) return refused;
  }
  if (vma === undefined) return -ERRNO.EFAULT;
  if (vma.hugeTlb) {
    const huge = (count: number) => Math.ceil(count / HUGE_FRAMES) * HUGE_FRAMES;
    if (oldPage % HUGE_FRAMES !== 0 || newPage % HUGE_FRAMES !== 0) return -ERRNO.EINVAL;
    // hugetlb memory never grows: its promise of huge pages could not be extended.
    if (huge(newCount) > huge(oldCount)) return -ERRNO.EINVAL;
    oldCount = huge(oldCount);
    newCount = huge(newCount);
  }
  if (elsewhere) return moveTo(space, oldPage, oldCount, newCount, flags, newPage);
  if (oldCount >= newCount) {
    if (oldCount > newCount) unmapRange(space, oldPage + newCount, oldPage + oldCount);
    return oldPage;
  }
  return grow(space, vma, oldPage, oldCount, newCount, flags);
}

function checkTarget(
  oldPage: number,
  oldCount: number,
  newCount: number,
  flags: number,
  newPage: number,
): number {
  if (!(flags & MREMAP.fixed)) return 0;
  if (newCount > USER_END_PAGE || newPage > USER_END_PAGE - newCount) return -ERRNO.EINVAL;
  if (oldPage + oldCount > newPage && newPage + newCount > oldPage) return -ERRNO.EINVAL;
  return 0;
}

/** vma_to_resize (check_prep_vma): whether the mapping may be resized or moved so; 0 or an errno. */
function checkResize(
  vma: Vma,
  page: number,
  oldCount: number,
  newCount: number,
  flags: number,
  shrinkFirst: boolean,
): number {
  if (oldCount === 0 && !vma.has(VM.shared | VM.mayShare)) return -ERRNO.EINVAL;
  if (flags & MREMAP.dontUnmap && vma.has(VM.dontExpand | VM.pfnMap)) return -ERRNO.EINVAL;
  const count = shrinkFirst ? Math.min(oldCount, newCount) : oldCount;
  if (count > vma.end - page) return -ERRNO.EFAULT;
  if (newCount > oldCount && vma.has(VM.dontExpand | VM.pfnMap)) return -ERRNO.EFAULT;
  return 0;
}

/** mremap_to: a move to a given place, or one that leaves the source mapped. */
function moveTo(
  space: AddressSpace,
  oldPage: number,
  oldCount: number,
  newCount: number,
  flags: number,
  newPage: number,
): number {
  const bad = checkTarget(oldPage, oldCount, newCount, flags, newPage);
  if (bad < 0) return bad;
  if (flags & MREMAP.fixed) unmapRange(space, newPage, newPage + newCount);
  let count = oldCount;
  if (oldCount > newCount) {
    unmapRange(space, oldPage + newCount, oldPage + oldCount);
    count = newCount;
  }
  const vma = space.vmas.lookup(oldPage);
  if (vma === undefined) return -ERRNO.EFAULT;
  const refused = checkResize(vma, oldPage, count, newCount, flags, false);
  if (refused < 0) return refused;
  const target = flags & MREMAP.fixed ? newPage : placeMapping(space, newPage, newCount, 0);
  if (target < 0) return target;
  return moveMapping(space, vma, oldPage, count, target, newCount, (flags & MREMAP.dontUnmap) !== 0);
}

/**
 * remap_move of 6.17: every mapping in the range is moved, at unchanged distances. Each piece of the target is unmapped
 * only when its turn comes, and what lies in the gaps of the target stays.
 */
function moveMany(
  space: AddressSpace,
  oldPage: number,
  count: number,
  newPage: number,
  keepSource: boolean,
): number {
  const end = oldPage + count;
  const first = space.vmas.lookup(oldPage);
  if (first === undefined) return -ERRNO.EFAULT;
  let at = oldPage;
  for (
    let vma: Vma | undefined = first;
    // A mapping that reaches beyond the end and keeps its place with MREMAP_DONTUNMAP must not be met again.
    at < end && vma !== undefined && vma.start < end;
    vma = space.vmas.findAbove(at)
  ) {
    const from = Math.max(vma.start, oldPage);
    const stop = Math.min(vma.end, end);
    // A registered mapping may move alone, but not in company.
    if (vma.uffd !== null && (from !== oldPage || vma.end < end)) return -ERRNO.EFAULT;
    if (keepSource && vma.has(VM.dontExpand | VM.pfnMap)) return -ERRNO.EINVAL;
    const target = newPage + (from - oldPage);
    if (vma.hugeTlb && (from % HUGE_FRAMES !== 0 || target % HUGE_FRAMES !== 0)) return -ERRNO.EINVAL;
    unmapRange(space, target, target + (stop - from));
    const moved = moveMapping(space, vma, from, stop - from, target, stop - from, keepSource);
    if (moved < 0) return moved;
    at = stop;
  }
  return newPage;
}

/** Grows in place if there is room behind the mapping, else moves it if that is allowed. */
function grow(
  space: AddressSpace,
  vma: Vma,
  oldPage: number,
  oldCount: number,
  newCount: number,
  flags: number,
): number {
  const refused = checkResize(vma, oldPage, oldCount, newCount, flags, false);
  if (refused < 0) return refused;
  const end = oldPage + newCount;
  const atEnd = oldCount === vma.end - oldPage;
  if (atEnd && end <= USER_END_PAGE && !space.vmas.intersects(vma.end, end)) {
    const start = oldPage + oldCount;
    const range = {
      start,
      end,
      flags: vma.flags,
      offset: vma.offsetOf(start),
      file: vma.file,
      anonVma: vma.anonVma,
      uffd: vma.uffd,
      within: undefined,
    };
    const grown = mergeNew(space, range);
    if (grown === undefined) return -ERRNO.ENOMEM;
    if (grown.has(VM.locked)) populate(space, start, end, true);
    return oldPage;
  }
  if (!(flags & MREMAP.mayMove)) return -ERRNO.ENOMEM;
  const target = placeMapping(space, 0, newCount, 0);
  if (target < 0) return target;
  return moveMapping(space, vma, oldPage, oldCount, target, newCount, false);
}

/** move_vma: makes (or extends) a mapping at the target, moves the entries, unmaps the source. */
function moveMapping(
  space: AddressSpace,
  vma: Vma,
  oldPage: number,
  oldCount: number,
  newPage: number,
  newCount: number,
  keepSource: boolean,
): number {
  if (vma.has(VM.mergeable)) unmergeRange(space, vma, oldPage, oldPage + oldCount);
  const losesUffd = dropsRegistration(vma);
  const locked = vma.has(VM.locked);
  const avoidsSource = keepSource && space.machine.features.dontUnmapAvoidsSource;
  const copied = copyMapping(space, vma, newPage, newCount, vma.offsetOf(oldPage), avoidsSource);
  const source = space.vmas.lookup(oldPage) ?? vma;
  movePageTables(space, source, oldPage, copied, newPage, oldCount);
  if (losesUffd) {
    copied.uffd = null;
    copied.flags &= ~VM_UFFD;
    if (copied.has(VM.shared)) space.setPageProtection(copied);
  }
  if (keepSource) {
    source.flags &= ~VM_LOCKED_ANY;
    if (copied !== source && source.start === oldPage && source.end === oldPage + oldCount)
      unlinkChain(source);
    return newPage;
  }
  if (oldCount > 0) unmapRange(space, oldPage, oldPage + oldCount);
  if (locked && newCount > oldCount) populate(space, newPage + oldCount, newPage + newCount, true);
  return newPage;
}

/** copy_vma: the mapping at the target, merged with neighbours there if they agree. */
function copyMapping(
  space: AddressSpace,
  vma: Vma,
  newPage: number,
  newCount: number,
  oldOffset: number,
  avoidsSource: boolean,
): Vma {
  // Private memory without pages takes a fresh offset, which gives it a better chance to merge.
  const offset = vma.anonymous && vma.anonVma === null ? newPage : oldOffset;
  const range = {
    start: newPage,
    end: newPage + newCount,
    flags: vma.flags,
    offset,
    file: vma.file,
    anonVma: vma.anonVma,
    uffd: vma.uffd,
    within: undefined,
    movedFrom: vma,
  };
  const besideSource = avoidsSource && (vma.end === newPage || vma.start === newPage + newCount);
  const merged = besideSource ? undefined : mergeNew(space, range);
  if (merged !== undefined) return merged;
  const copy = vma.duplicate();
  copy.start = newPage;
  copy.end = newPage + newCount;
  copy.offset = offset;
  cloneChain(copy, vma);
  space.vmas.insert(copy);
  return copy;
}
