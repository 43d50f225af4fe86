import { type Kernel, MADV, MAP, MREMAP, PROT } from '../kernel/index.ts';
import type { Advice, EventAction } from './model.ts';
import type { Program, Region } from './program.ts';
import { clip, inShare, mapRegion, protectionOf, unmapRegion } from './regions.ts';

const HUGE_PAGES = 512;

const ADVICE_NUMBERS: Readonly<Record<Advice, number>> = {
  dontneed: MADV.dontNeed,
  free: MADV.free,
  remove: MADV.remove,
  hugepage: MADV.hugePage,
  nohugepage: MADV.noHugePage,
  mergeable: MADV.mergeable,
  unmergeable: MADV.unmergeable,
  cold: MADV.cold,
  pageout: MADV.pageOut,
  willneed: MADV.willNeed,
  'populate-read': MADV.populateRead,
  'populate-write': MADV.populateWrite,
  dontfork: MADV.dontFork,
  wipeonfork: MADV.wipeOnFork,
};

/** Events that change memory; fork and exit change the set of processes and are the simulation's own. */
export type MemoryAction = Exclude<EventAction, { readonly do: 'fork' | 'exit' }>;

/**
 * Lets a program do one thing to its memory.
 * @returns the kernel's answer: 0 or more, or a negative errno; -1 if the region is not mapped.
 */
export function applyMemoryAction(
  kernel: Kernel,
  program: Program,
  action: MemoryAction,
  nanoseconds: number,
): number {
  const name = 'part' in action ? action.part.region : action.region;
  const region = program.regions.get(name)!;
  if (action.do === 'mmap') {
    unmapRegion(program, region);
    const resident = Math.min(action.residentPages, region.definition.sizePages);
    const result = mapRegion(kernel, program, region, resident);
    program.regionResized(region, nanoseconds);
    return result;
  }
  if (region.sizePages === 0) return -1;
  const sizeBefore = region.sizePages;
  const result = act(program, region, action);
  if (region.sizePages !== sizeBefore) program.regionResized(region, nanoseconds);
  return result;
}

function act(
  program: Program,
  region: Region,
  action: Exclude<MemoryAction, { readonly do: 'mmap' }>,
): number {
  const { process } = program;
  if (action.do === 'mremap')
    return remap(program, region, action.sizePages ?? region.sizePages, action.move);
  if (action.do === 'brk') {
    const result = process.brk(region.startPage + action.sizePages);
    if (result >= 0) region.sizePages = action.sizePages;
    return result;
  }
  const { fromPage, pageCount } = action.part;
  const [start, count] = clip(region, fromPage, pageCount);
  if (count === 0) return -1;
  switch (action.do) {
    case 'munmap':
      if (count === region.sizePages) return unmapRegion(program, region);
      return process.munmap(start, count);
    case 'mprotect':
      return process.mprotect(start, count, protectionOf(action.access));
    case 'madvise':
      return process.madvise(start, count, ADVICE_NUMBERS[action.advice]);
    case 'swap-out':
      return swapOut(program, region, start, count, action.share);
    case 'thp':
      return action.action === 'collapse'
        ? process.madvise(start, count, MADV.collapse)
        : splitHugePages(program, start, count);
  }
}

/** Changes the size, and moves to a free place if asked to (the kernel may move a region that has no room to grow). */
function remap(program: Program, region: Region, sizePages: number, move: boolean): number {
  const { process } = program;
  let result: number;
  if (move) {
    const free = process.mmap(0, sizePages, PROT.none, MAP.private | MAP.anonymous | MAP.noReserve);
    if (free < 0) return free;
    const flags = MREMAP.mayMove | MREMAP.fixed;
    result = process.mremap(region.startPage, region.sizePages, sizePages, flags, free);
    if (result < 0) process.munmap(free, sizePages);
  } else {
    result = process.mremap(region.startPage, region.sizePages, sizePages, MREMAP.mayMove);
  }
  if (result < 0) return result;
  region.startPage = result;
  region.sizePages = sizePages;
  return 0;
}

/** MADV_PAGEOUT, page by page where only a share of the pages goes. */
function swapOut(program: Program, region: Region, start: number, count: number, share: number): number {
  if (share >= 1) return program.process.madvise(start, count, MADV.pageOut);
  let result = 0;
  for (let page = start; page < start + count; page++) {
    if (!inShare(region, page - region.startPage, share)) continue;
    result = Math.min(result, program.process.madvise(page, 1, MADV.pageOut));
  }
  return result;
}

/** A flag on one page of a block, set for a moment, makes the kernel split the huge page that covers it. */
function splitHugePages(program: Program, start: number, count: number): number {
  let result = 0;
  for (let page = start; page < start + count; page += HUGE_PAGES - (page % HUGE_PAGES)) {
    result = Math.min(result, program.process.madvise(page, 1, MADV.dontDump));
    result = Math.min(result, program.process.madvise(page, 1, MADV.doDump));
  }
  return result;
}
