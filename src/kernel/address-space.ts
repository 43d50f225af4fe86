import type { Machine } from './machine.ts';
import { PTE } from './pagetable/entry.ts';
import { PageTables } from './pagetable/tables.ts';
import { VM, VM_LOADABLE } from './vma/flags.ts';
import { VmaList } from './vma/list.ts';
import type { Vma } from './vma/vma.ts';

/** End of user space: 47 bits with four-level page tables. */
export const USER_END_PAGE = 0x7ffffffff;

/** An address space (struct mm_struct): mappings, page tables, heap limits. */
export class AddressSpace {
  readonly machine: Machine;
  readonly pid: number;
  readonly vmas = new VmaList();
  readonly tables = new PageTables();
  /** The heap lies in [startBreak, breakPage). */
  startBreak = 0;
  breakPage = 0;
  /** A page that lies in the initial stack (where the arguments begin). */
  stackPage = 0;
  /** Flags that every new mapping gets (mlockall(MCL_FUTURE)). */
  defaultFlags = 0;
  /** MMF_HAS_PINNED. */
  hasPinned = false;
  /** Place in the queue of KSM; 0: not enrolled. */
  ksmOrder = 0;
  minorFaults = 0;
  /** Highest number of resident pages seen, for clear_refs 5. */
  peakResident = 0;
  /** Torn down: nothing is left. */
  dead = false;

  constructor(machine: Machine, pid: number) {
    this.machine = machine;
    this.pid = pid;
  }

  /** vma_soft_dirty_enabled: stores to this mapping have to be noticed page by page. */
  tracks(vma: Vma): boolean {
    return this.machine.softDirty && (vma.flags & VM.softDirty) === 0;
  }

  /** vma_wants_writenotify: new entries of a shared writable mapping must begin write-protected. */
  wantsNotice(vma: Vma): boolean {
    if ((vma.flags & (VM.write | VM.shared)) !== (VM.write | VM.shared)) return false;
    if (vma.hugeTlb) return false;
    if (vma.file?.node.wantsWriteNotice) return true;
    if (this.tracks(vma) || vma.has(VM.uffdWp)) return true;
    return vma.file?.node.writtenBack ?? false;
  }

  /** vma_set_page_prot: decides whether new entries of the mapping may be writable at once. */
  setPageProtection(vma: Vma): void {
    vma.writableEntries =
      (vma.flags & (VM.write | VM.shared)) === (VM.write | VM.shared) && !this.wantsNotice(vma);
  }

  /** Adds a mapping whose protection is new. */
  addMapping(vma: Vma): void {
    this.setPageProtection(vma);
    this.vmas.insert(vma);
  }
}

/** Flags of a fresh entry under the mapping's own protection (mk_pte with vm_page_prot), accessed. */
export function freshEntry(vma: Vma): number {
  return PTE.present | PTE.accessed | protectionBits(vma);
}

/** The bits of vm_page_prot. Executable-only memory cannot be loaded from either, by its protection key. */
export function protectionBits(vma: Vma): number {
  return (vma.writableEntries ? PTE.write : 0) | (vma.flags & VM_LOADABLE ? 0 : PTE.noAccess);
}

/** maybe_mkwrite. */
export function writableIfAllowed(flags: number, vma: Vma): number {
  return vma.flags & VM.write ? flags | PTE.write : flags;
}
