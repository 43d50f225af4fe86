import { ACCESS_SIGNAL } from '../abi.ts';
import type { AddressSpace } from '../address-space.ts';
import { PTE, TABLE_ENTRIES } from '../pagetable/entry.ts';
import { VM, VM_LOADABLE } from '../vma/flags.ts';
import { growStack } from '../vma/stack.ts';
import type { Vma } from '../vma/vma.ts';
import { handleFault } from './handle.ts';
import { FAULT } from './mode.ts';

/** More faults than any single access takes; only a bug reaches it. */
const FAULT_LIMIT = 16;

/**
 * An access of the program (or of the kernel on its behalf) to one page: faults as often as it takes.
 * @returns the frame behind the page, or a negative ACCESS_SIGNAL.
 */
export function accessPage(space: AddressSpace, page: number, store: boolean): number {
  for (let attempt = 0; attempt < FAULT_LIMIT; attempt++) {
    const frame = translate(space, page, store);
    if (frame !== 0) return frame;
    const { machine } = space;
    const signal = userFault(space, page, store);
    if (signal < 0) {
      if (signal !== ACCESS_SIGNAL.blocked) machine.ledger.fault('signal');
      return signal;
    }
    if (store) machine.listener?.storeFault?.(space.pid, page);
  }
  throw new Error(`page ${page} still faults after ${FAULT_LIMIT} faults`);
}

/** What the processor does: the frame if the entry allows the access, setting its accessed and dirty bits; else 0. */
export function translate(space: AddressSpace, page: number, store: boolean): number {
  const block = Math.floor(page / TABLE_ENTRIES);
  const found = space.tables.find(block);
  if (found === undefined) return 0;
  const index = page - block * TABLE_ENTRIES;
  const needed = store ? PTE.present | PTE.write : PTE.present;
  const used = store ? PTE.accessed | PTE.dirty : PTE.accessed;
  if (found.huge) {
    if ((found.flags & (needed | PTE.noAccess)) !== needed) return 0;
    found.flags |= used;
    return found.frame + index;
  }
  const flags = found.flags[index]!;
  if ((flags & (needed | PTE.noAccess)) !== needed) return 0;
  found.flags[index] = flags | used;
  return found.values[index]!;
}

/** do_user_addr_fault: finds the mapping, grows a stack if need be, checks the access rights. */
function userFault(space: AddressSpace, page: number, store: boolean): number {
  const vma = findForFault(space, page);
  if (vma === undefined) return ACCESS_SIGNAL.segmentation;
  if (store ? !vma.has(VM.write) : (vma.flags & VM_LOADABLE) === 0) return ACCESS_SIGNAL.segmentation;
  return handleFault(space, vma, page, store ? FAULT.write : FAULT.read);
}

/** The mapping of a faulting page; one that grows downwards is extended to reach it. */
export function findForFault(space: AddressSpace, page: number): Vma | undefined {
  const vma = space.vmas.findAbove(page);
  if (vma === undefined) return undefined;
  if (vma.start <= page) return vma;
  return vma.has(VM.growsDown) && growStack(space, vma, page) ? vma : undefined;
}
