import { ACCESS_SIGNAL, ERRNO } from '../abi.ts';
import type { AddressSpace } from '../address-space.ts';
import type { Machine } from '../machine.ts';
import { FRAME } from '../memory/frames.ts';
import { PTE, TABLE_ENTRIES } from '../pagetable/entry.ts';
import { VM, VM_ACCESS } from '../vma/flags.ts';
import type { Vma } from '../vma/vma.ts';
import { handleFault } from './handle.ts';
import { FAULT } from './mode.ts';

/** How get_user_pages is asked (FOLL_*). */
export interface GupRequest {
  readonly write: boolean;
  /** FOLL_FORCE: even if the mapping forbids it, as debuggers may. */
  readonly force?: boolean;
  /**
   * FOLL_PIN: for DMA. `lasting` counts the frame's pins up; `passing` has let go when the call returns. Either way a
   * page that is read must belong to this process alone, and is copied if it does not.
   */
  readonly pin?: 'lasting' | 'passing';
  /** On behalf of the process itself, so that its protection keys count: no reading of execute-only memory. */
  readonly own?: boolean;
}

const FAULT_LIMIT = 16;

/** check_vma_flags: 0 or -EFAULT. */
export function checkAccess(vma: Vma, request: GupRequest): number {
  if (vma.flags & (VM.io | VM.pfnMap)) return -ERRNO.EFAULT;
  if (request.own && (vma.flags & VM_ACCESS) === VM.exec) return -ERRNO.EFAULT;
  if (request.write) {
    if (vma.has(VM.write)) return 0;
    if (!request.force || vma.hugeTlb || !vma.copyOnWrite) return -ERRNO.EFAULT;
    return 0;
  }
  if (vma.has(VM.read)) return 0;
  return request.force && vma.has(VM.mayRead) ? 0 : -ERRNO.EFAULT;
}

/**
 * get_user_pages of one page: the frame behind it, faulted in as a load or store would, or a negative errno. The caller
 * finds the mapping; stacks do not grow here.
 */
export function getUserPage(space: AddressSpace, vma: Vma, page: number, request: GupRequest): number {
  const refused = checkAccess(vma, request);
  if (refused < 0) return refused;
  for (let attempt = 0; attempt < FAULT_LIMIT; attempt++) {
    const frame = follow(space, vma, page, request);
    if (frame > 0 && !mustUnshare(space, frame, request)) {
      if (request.pin === 'lasting') pinFrame(space, frame);
      return frame;
    }
    const mode = request.write ? FAULT.write : frame > 0 ? FAULT.unshare : FAULT.read;
    const signal = handleFault(space, vma, page, mode);
    if (signal === ACCESS_SIGNAL.blocked) return -ERRNO.EFAULT;
    if (signal < 0) return -ERRNO.EFAULT;
    if (request.write) space.machine.listener?.storeFault?.(space.pid, page);
  }
  throw new Error(`page ${page} cannot be taken after ${FAULT_LIMIT} faults`);
}

/** follow_page_pte and follow_trans_huge_pmd: the frame, or 0 if a fault is needed. */
function follow(space: AddressSpace, vma: Vma, page: number, request: GupRequest): number {
  const { machine } = space;
  const found = space.tables.find(Math.floor(page / TABLE_ENTRIES));
  if (found === undefined) return 0;
  const index = page % TABLE_ENTRIES;
  const flags = found.huge ? found.flags : found.flags[index]!;
  if (!(flags & PTE.present)) return 0;
  if (flags & PTE.noAccess && !request.force) return 0;
  const frame = found.huge ? found.frame + index : found.values[index]!;
  if (request.write && !(flags & PTE.write) && !mayForce(space, vma, flags, frame, request)) return 0;
  if (found.huge) found.flags |= PTE.accessed;
  else found.setFlags(index, flags | PTE.accessed);
  if (request.write && !(flags & PTE.special)) machine.frames.flags[frame]! |= FRAME.dirty;
  return frame;
}

/** can_follow_write_pte: a forced write may go through a read-only entry of an exclusive page that needs no notice. */
function mayForce(space: AddressSpace, vma: Vma, flags: number, frame: number, request: GupRequest): boolean {
  if (!request.force || vma.flags & (VM.shared | VM.mayShare | VM.write) || !vma.has(VM.mayWrite))
    return false;
  const state = space.machine.frames.flags[frame]!;
  if (flags & PTE.special || !(state & FRAME.anonymous) || !(state & FRAME.exclusive)) return false;
  if (space.tracks(vma) && !(flags & PTE.soft)) return false;
  return !(flags & PTE.uffd && vma.has(VM.uffdWp));
}

/** gup_must_unshare: a pin for reading may not hold a page that a relative shares, lest their contents part later. */
function mustUnshare(space: AddressSpace, frame: number, request: GupRequest): boolean {
  if (request.pin === undefined || request.write) return false;
  const { frames } = space.machine;
  const head = frames.flags[frame]! & FRAME.compound ? ownFlagFrame(space, frame) : frame;
  return (frames.flags[frame]! & FRAME.anonymous) !== 0 && !(frames.flags[head]! & FRAME.exclusive);
}

/** Where the exclusive flag of a page of a huge page is kept: at the first page while a huge entry maps it. */
function ownFlagFrame(space: AddressSpace, frame: number): number {
  const head = frame - (frame % 512);
  return space.machine.frames.compounds.get(head)!.entire > 0 ? head : frame;
}

function pinFrame(space: AddressSpace, frame: number): void {
  const { frames } = space.machine;
  space.hasPinned = true;
  frames.references[frame]!++;
  frames.pins[frame]!++;
}

/** unpin_user_page. */
export function unpinFrame(machine: Machine, frame: number): void {
  const { frames } = machine;
  frames.references[frame]!--;
  frames.pins[frame]!--;
  frames.flags[frame]! |= FRAME.dirty;
  if (frames.flags[frame]! & FRAME.compound) machine.releaseHugeIfUnused(frame - (frame % 512));
  else machine.releaseIfUnused(frame);
}

/**
 * populate_vma_page_range over all mappings of [start, end) (__mm_populate): writable private memory by store faults,
 * the rest by loads.
 * @returns 0, or the errno of the first page that failed unless `ignoreErrors`.
 */
export function populate(space: AddressSpace, start: number, end: number, ignoreErrors: boolean): number {
  let at = start;
  while (at < end) {
    const vma = space.vmas.findAbove(at);
    if (vma === undefined || vma.start >= end) break;
    const stop = Math.min(vma.end, end);
    at = Math.max(at, vma.start);
    const failed = vma.flags & (VM.io | VM.pfnMap) ? 0 : populateMapping(space, vma, at, stop);
    if (failed < 0 && !ignoreErrors) return failed;
    at = stop;
  }
  return 0;
}

/** populate_vma_page_range. */
export function populateMapping(space: AddressSpace, vma: Vma, start: number, end: number): number {
  if (vma.has(VM.lockOnFault)) return 0;
  const request = {
    write: (vma.flags & (VM.write | VM.shared)) === VM.write,
    own: true,
    force: (vma.flags & VM_ACCESS) !== 0,
  };
  for (let page = start; page < end; page++) {
    const frame = getUserPage(space, vma, page, request);
    if (frame < 0) return frame;
  }
  return 0;
}
