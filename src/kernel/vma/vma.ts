import type { OpenFile } from '../memory/files.ts';
import type { UffdContext } from '../uffd/context.ts';
import type { AnonVma } from './anon-vma.ts';
import { VM } from './flags.ts';

/** One mapping (struct vm_area_struct). Pages; `end` is exclusive. */
export class Vma {
  start: number;
  end: number;
  flags: number;
  /** Offset in the file in pages; for private anonymous memory a virtual one, its first address when created. */
  offset: number;
  file: OpenFile | null;
  anonVma: AnonVma | null = null;
  chain: AnonVma[] = [];
  uffd: UffdContext | null = null;
  /** vm_page_prot has the write bit: new entries of this shared mapping may be writable at once. */
  writableEntries = false;
  /** `[vdso]`, `[vvar]`, or empty. */
  special = '';

  constructor(start: number, end: number, flags: number, offset: number, file: OpenFile | null) {
    this.start = start;
    this.end = end;
    this.flags = flags;
    this.offset = offset;
    this.file = file;
    if (file !== null) file.node.mappings++;
  }

  /** vm_area_dup: everything equal, but the chain is still that of the original. */
  duplicate(): Vma {
    const copy = new Vma(this.start, this.end, this.flags, this.offset, this.file);
    copy.anonVma = this.anonVma;
    copy.uffd = this.uffd;
    copy.writableEntries = this.writableEntries;
    copy.special = this.special;
    return copy;
  }

  /** vma_is_anonymous: private memory without a file. */
  get anonymous(): boolean {
    return this.file === null && this.special === '';
  }

  get sharedMemory(): boolean {
    return this.file?.node.swappable ?? false;
  }

  /** is_cow_mapping. */
  get copyOnWrite(): boolean {
    return (this.flags & (VM.shared | VM.mayWrite)) === VM.mayWrite;
  }

  get hugeTlb(): boolean {
    return (this.flags & VM.hugeTlb) !== 0;
  }

  has(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }

  /** File offset of a page, in pages. */
  offsetOf(page: number): number {
    return this.offset + (page - this.start);
  }
}
