import { ERRNO, UFFD_REGISTER } from '../abi.ts';
import { type AddressSpace, freshEntry } from '../address-space.ts';
import { PRIVATE_FRAME } from '../fault/anonymous.ts';
import { resolvesAsynchronously } from '../fault/write-protect.ts';
import { ZERO_FRAME } from '../memory/frames.ts';
import { cachePage } from '../memory/page-cache.ts';
import { PTE, SOFTWARE_DIRTY, TABLE_ENTRIES } from '../pagetable/entry.ts';
import { changeProtection } from '../pagetable/protect.ts';
import type { LeafTable } from '../pagetable/tables.ts';
import { VM, VM_UFFD } from '../vma/flags.ts';
import { prepareIdentity } from '../vma/identity.ts';
import { modifyRange } from '../vma/merge.ts';
import type { Vma } from '../vma/vma.ts';
import type { UffdContext } from './context.ts';
import { movePages } from './move.ts';

/**
 * An open userfaultfd. It acts on the address space of the process that opened it, whoever holds the descriptor now.
 * Calls return 0 (or a count) or a negative errno.
 */
export class Userfaultfd {
  readonly context: UffdContext;

  constructor(context: UffdContext) {
    this.context = context;
  }

  /** UFFDIO_REGISTER with bits of UFFD_REGISTER. */
  register(startPage: number, pageCount: number, mode: number): number {
    const space = this.context.space;
    if (!this.context.open) return -ERRNO.EBADF;
    if (mode === 0 || mode & ~(UFFD_REGISTER.missing | UFFD_REGISTER.writeProtect)) return -ERRNO.EINVAL;
    const flags =
      (mode & UFFD_REGISTER.missing ? VM.uffdMissing : 0) |
      (mode & UFFD_REGISTER.writeProtect ? VM.uffdWp : 0);
    if (flags & VM.uffdWp && !space.machine.uffdWriteProtect) return -ERRNO.EINVAL;
    const end = startPage + pageCount;
    const parts = this.#mappings(startPage, end);
    if (parts.length === 0) return -ERRNO.EINVAL;
    for (const vma of parts) {
      const refused = this.#mayRegister(vma, flags);
      if (refused < 0) return refused;
    }
    for (const vma of parts) {
      if (vma.uffd === this.context && (vma.flags & VM_UFFD) === flags) continue;
      this.#setRegistration(vma, startPage, end, (vma.flags & ~VM_UFFD) | flags, this.context);
    }
    return 0;
  }

  /** UFFDIO_UNREGISTER: write protection by userfaultfd goes; the pages stay read-only until the next store. */
  unregister(startPage: number, pageCount: number): number {
    if (!this.context.open) return -ERRNO.EBADF;
    const end = startPage + pageCount;
    const parts = this.#mappings(startPage, end);
    if (parts.length === 0) return -ERRNO.EINVAL;
    for (const vma of parts) if (!registrable(vma, vma.flags & VM_UFFD, this.context)) return -ERRNO.EINVAL;
    for (const vma of parts) this.#release(vma, startPage, end);
    return 0;
  }

  /** UFFDIO_WRITEPROTECT. */
  writeProtect(startPage: number, pageCount: number, on: boolean): number {
    if (!this.context.open) return -ERRNO.EBADF;
    const space = this.context.space;
    const end = startPage + pageCount;
    const parts = this.#mappings(startPage, end);
    const first = parts[0];
    if (first === undefined) return -ERRNO.ENOENT;
    if (!space.machine.features.uffdSpansMappings && (first.start > startPage || first.end < end)) {
      return -ERRNO.ENOENT;
    }
    for (const vma of parts) {
      if (!vma.has(VM.uffdWp)) return -ERRNO.ENOENT;
      const start = Math.max(startPage, vma.start);
      const stop = Math.min(end, vma.end);
      const upgrade = !on && space.machine.features.upgradeCleanAnonymous && manualUpgrade(space, vma);
      changeProtection(space, vma, start, stop, { uffd: on ? 'protect' : 'resolve', upgrade });
    }
    return 0;
  }

  /** UFFDIO_COPY of one page of 4096 bytes: dirty, and so soft-dirty. */
  copy(page: number, bytes: Uint8Array, writeProtect: boolean): number {
    const space = this.context.space;
    const vma = this.#destination(page);
    if (typeof vma === 'number') return vma;
    if (writeProtect && !vma.has(VM.uffdWp)) return -ERRNO.EINVAL;
    const table = this.#emptySlot(page);
    if (typeof table === 'number') return table;
    const { machine } = space;
    const { frames } = machine;
    let frame: number;
    let flags = freshEntry(vma) | SOFTWARE_DIRTY;
    if (vma.file !== null && vma.has(VM.shared)) {
      const index = vma.offsetOf(page);
      if (index >= vma.file.node.sizePages) return -ERRNO.EFAULT;
      if (vma.file.node.pages.has(index) || vma.file.node.swapped.has(index)) return -ERRNO.EEXIST;
      frame = cachePage(machine, vma.file.node, index);
    } else {
      prepareIdentity(space, vma);
      frame = frames.allocate(PRIVATE_FRAME);
    }
    frames.writeBytes(frame, 0, bytes);
    if (vma.has(VM.write)) flags |= PTE.write;
    if (writeProtect) flags = (flags | PTE.uffd) & ~PTE.write;
    machine.mapFrame(frame);
    table.set(page % TABLE_ENTRIES, flags, frame);
    return 0;
  }

  /** UFFDIO_ZEROPAGE: 0, the errno of the first page, or -EAGAIN if only some could be filled. */
  zeroPage(startPage: number, pageCount: number): number {
    for (let page = startPage; page < startPage + pageCount; page++) {
      const failed = this.#zeroOne(page);
      if (failed < 0) return page === startPage ? failed : -ERRNO.EAGAIN;
    }
    return 0;
  }

  /** UFFDIO_MOVE: pages change their address without being copied; they become soft-dirty. */
  move(sourcePage: number, destinationPage: number, pageCount: number): number {
    if (!this.context.open) return -ERRNO.EBADF;
    if (!this.context.space.machine.features.uffdMove) return -ERRNO.EINVAL;
    return movePages(this.context, sourcePage, destinationPage, pageCount);
  }

  /** Closing the descriptor unregisters everything. */
  close(): number {
    if (!this.context.open) return -ERRNO.EBADF;
    const space = this.context.space;
    let at = 0;
    for (let vma = space.vmas.findAbove(at); vma !== undefined; vma = space.vmas.findAbove(at)) {
      at = vma.end;
      if (vma.uffd === this.context) this.#release(vma, vma.start, vma.end);
    }
    this.context.open = false;
    space.machine.uffds.delete(this.context.id);
    return 0;
  }

  #zeroOne(page: number): number {
    const space = this.context.space;
    const vma = this.#destination(page);
    if (typeof vma === 'number') return vma;
    const table = this.#emptySlot(page, !vma.has(VM.shared));
    if (typeof table === 'number') return table;
    if (vma.file !== null && vma.has(VM.shared)) {
      const index = vma.offsetOf(page);
      if (index >= vma.file.node.sizePages) return -ERRNO.EFAULT;
      if (vma.file.node.pages.has(index) || vma.file.node.swapped.has(index)) return -ERRNO.EEXIST;
      const frame = cachePage(space.machine, vma.file.node, index);
      space.machine.mapFrame(frame);
      table.set(page % TABLE_ENTRIES, freshEntry(vma) | SOFTWARE_DIRTY | PTE.write, frame);
      return 0;
    }
    prepareIdentity(space, vma);
    table.set(page % TABLE_ENTRIES, freshEntry(vma) | PTE.special, ZERO_FRAME);
    return 0;
  }

  /** The registered mapping that a page is to be put into, or an errno. */
  #destination(page: number): Vma | number {
    if (!this.context.open) return -ERRNO.EBADF;
    const vma = this.context.space.vmas.lookup(page);
    if (vma === undefined || vma.uffd === null) return -ERRNO.ENOENT;
    if (vma.hugeTlb) return -ERRNO.EINVAL;
    return vma;
  }

  /** The table of a slot that may be filled: an empty one, or (unless `strictly`) one with a marker. */
  #emptySlot(page: number, strictly = false): LeafTable | number {
    const { tables } = this.context.space;
    const table = tables.makeTable(Math.floor(page / TABLE_ENTRIES));
    if (table === undefined) return -ERRNO.EEXIST;
    const old = table.flags[page % TABLE_ENTRIES]!;
    const marker = (old & PTE.marker) !== 0 && (old & PTE.uffd) !== 0;
    return old === 0 || (marker && !strictly) ? table : -ERRNO.EEXIST;
  }

  #mappings(start: number, end: number): Vma[] {
    return this.context.space.vmas.items.filter((vma) => vma.end > start && vma.start < end);
  }

  #mayRegister(vma: Vma, flags: number): number {
    if (!registrable(vma, flags, this.context)) return -ERRNO.EINVAL;
    if (!vma.has(VM.mayWrite)) return -ERRNO.EPERM;
    if (vma.uffd !== null && vma.uffd !== this.context) return -ERRNO.EBUSY;
    return 0;
  }

  #release(vma: Vma, start: number, end: number): void {
    if (vma.uffd === null) return;
    const from = Math.max(start, vma.start);
    const to = Math.min(end, vma.end);
    if (vma.has(VM.uffdWp)) {
      const { space } = this.context;
      const upgrade = space.machine.features.upgradeCleanAnonymous && manualUpgrade(space, vma);
      changeProtection(space, vma, from, to, { uffd: 'resolve', upgrade });
    }
    this.#setRegistration(vma, from, to, vma.flags & ~VM_UFFD, null);
  }

  #setRegistration(vma: Vma, start: number, end: number, flags: number, context: UffdContext | null): void {
    const { space } = this.context;
    const from = Math.max(start, vma.start);
    const to = Math.min(end, vma.end);
    const changesWp = ((vma.flags ^ flags) & VM.uffdWp) !== 0;
    const part = modifyRange(space, vma, from, to, flags, context);
    part.uffd = context;
    if (changesWp && part.has(VM.shared)) space.setPageProtection(part);
  }
}

/** vma_can_userfault. */
function registrable(vma: Vma, flags: number, context: UffdContext): boolean {
  if (vma.special !== '') return false;
  if (flags === VM.uffdWp && resolvesAsynchronouslyIn(context)) return true;
  return vma.anonymous || vma.hugeTlb || vma.sharedMemory;
}

function resolvesAsynchronouslyIn(context: UffdContext): boolean {
  return resolvesAsynchronously({ uffd: context });
}

/** vma_wants_manual_pte_write_upgrade. */
function manualUpgrade(space: AddressSpace, vma: Vma): boolean {
  return vma.has(VM.shared) ? space.wantsNotice(vma) : vma.has(VM.write);
}
