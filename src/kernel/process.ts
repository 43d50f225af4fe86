import type { PageRange } from '../core/index.ts';
import type { PagemapScanRequest, PagemapScanResult } from '../procfs/index.ts';
import { ERRNO } from './abi.ts';
import type { AddressSpace } from './address-space.ts';
import { accessPage, translate } from './fault/access.ts';
import { getUserPage } from './fault/gup.ts';
import type { Kernel } from './kernel.ts';
import { msync } from './memory/file-ops.ts';
import type { OpenFile } from './memory/files.ts';
import { cachePage, peekFilePage, readSequentially } from './memory/page-cache.ts';
import { type PinnedBuffer, pinRange } from './memory/pins.ts';
import { PTE, TABLE_ENTRIES } from './pagetable/entry.ts';
import { writeClearRefs } from './proc/clear-refs.ts';
import { PagemapFile } from './proc/pagemap.ts';
import { populatedPages } from './proc/populated.ts';
import { readMem, readVm, writeMem, writeVm } from './proc/remote-memory.ts';
import { residentPages } from './proc/resident.ts';
import { scanPages } from './proc/scan.ts';
import { type MappingView, mappingViews, mapsText, smapsText } from './proc/smaps.ts';
import { migratePages } from './reclaim/migrate.ts';
import { brk } from './syscalls/brk.ts';
import { madvise } from './syscalls/madvise.ts';
import { mlock, mlockall, munlock, munlockall } from './syscalls/mlock.ts';
import { mmap, munmap } from './syscalls/mmap.ts';
import { mprotect } from './syscalls/mprotect.ts';
import { mremap } from './syscalls/mremap.ts';
import { remapFilePages } from './syscalls/remap-file-pages.ts';
import { UffdContext } from './uffd/context.ts';
import { Userfaultfd } from './uffd/userfaultfd.ts';

/** A simulated process: system calls, memory accesses, and its files in /proc. */
export class Process {
  readonly kernel: Kernel;
  readonly pid: number;
  readonly parentPid: number;
  name: string;
  #space: AddressSpace | undefined;

  constructor(kernel: Kernel, pid: number, parentPid: number, name: string, space: AddressSpace | undefined) {
    this.kernel = kernel;
    this.pid = pid;
    this.parentPid = parentPid;
    this.name = name;
    this.#space = space;
  }

  get state(): 'running' | 'zombie' {
    return this.#space === undefined ? 'zombie' : 'running';
  }

  /** The address space; undefined for a zombie. For the rooms of the kernel only. */
  get space(): AddressSpace | undefined {
    return this.#space;
  }

  /** First page of the heap: the initial break. */
  get heapStartPage(): number {
    return this.#living().startBreak;
  }

  /** The current break, in pages. */
  get breakPage(): number {
    return this.#living().breakPage;
  }

  // System calls: a result >= 0, or a negative errno. mmap and mremap return the start page.

  mmap(
    startPage: number,
    pageCount: number,
    prot: number,
    flags: number,
    file?: OpenFile,
    offsetPages = 0,
  ): number {
    return mmap(this.#living(), startPage, pageCount, prot, flags, file, offsetPages);
  }

  munmap(startPage: number, pageCount: number): number {
    return munmap(this.#living(), startPage, pageCount);
  }

  mprotect(startPage: number, pageCount: number, prot: number): number {
    return mprotect(this.#living(), startPage, pageCount, prot);
  }

  mremap(oldPage: number, oldCount: number, newCount: number, flags = 0, newPage = 0): number {
    return mremap(this.#living(), oldPage, oldCount, newCount, flags, newPage);
  }

  madvise(startPage: number, pageCount: number, advice: number): number {
    return madvise(this.#living(), startPage, pageCount, advice);
  }

  mlock(startPage: number, pageCount: number): number {
    return mlock(this.#living(), startPage, pageCount);
  }

  munlock(startPage: number, pageCount: number): number {
    return munlock(this.#living(), startPage, pageCount);
  }

  mlockall(flags: number): number {
    return mlockall(this.#living(), flags);
  }

  munlockall(): number {
    return munlockall(this.#living());
  }

  /** msync(MS_SYNC). */
  msync(startPage: number, pageCount: number): number {
    return msync(this.#living(), startPage, pageCount);
  }

  /** Sets the break; 0 or -ENOMEM. */
  brk(page: number): number {
    return brk(this.#living(), page);
  }

  remapFilePages(startPage: number, pageCount: number, offsetPages: number): number {
    return remapFilePages(this.#living(), startPage, pageCount, offsetPages);
  }

  fork(name = this.name): Process {
    return this.kernel.forkProcess(this, name);
  }

  /** Replaces the address space by that of a fresh program; the pid stays. */
  exec(name = this.name): number {
    const fresh = this.kernel.replaceSpace(this);
    this.name = name;
    this.#space = fresh;
    return 0;
  }

  /** Becomes a zombie until reaped. */
  exit(): void {
    this.kernel.tearDown(this.#living());
    this.#space = undefined;
  }

  /** userfaultfd(2) and UFFDIO_API with bits of UFFD_FEATURE. */
  userfaultfd(features: number): Userfaultfd | number {
    const { machine } = this.#living();
    if (features & ~machine.features.uffdFeatures) return -ERRNO.EINVAL;
    const context = new UffdContext(machine.nextId(), this.#living(), features);
    machine.uffds.set(context.id, context);
    return new Userfaultfd(context);
  }

  /** Registers an io_uring buffer: pins the pages for writing, long term. */
  pin(startPage: number, pageCount: number): PinnedBuffer | number {
    return pinRange(this.#living(), startPage, pageCount);
  }

  /** move_pages: how many of the pages are on `node` afterwards, or a negative errno. */
  migrate(startPage: number, pageCount: number, node: number): number {
    return migratePages(this.#living(), startPage, pageCount, node);
  }

  // The program's own accesses: >= 0, or ACCESS_SIGNAL.

  /** Stores one byte; 0. */
  store(page: number, byteOffset: number, value: number): number {
    const space = this.#living();
    const frame = accessPage(space, page, true);
    if (frame < 0) return frame;
    space.machine.frames.writeByte(frame, byteOffset, value);
    space.machine.listener?.store?.(this.pid, page);
    return 0;
  }

  /** Loads one byte; its value. */
  load(page: number, byteOffset = 0): number {
    const space = this.#living();
    const frame = accessPage(space, page, false);
    return frame < 0 ? frame : space.machine.frames.readByte(frame, byteOffset);
  }

  /** A load whose value nobody looks at, which spares making up the page's contents; 0. */
  touch(page: number): number {
    const space = this.#living();
    const frame = accessPage(space, page, false);
    return Math.min(frame, 0);
  }

  /** Stores to every byte of a page; 0. */
  fill(page: number, value: number): number {
    const space = this.#living();
    const frame = accessPage(space, page, true);
    if (frame < 0) return frame;
    space.machine.frames.fill(frame, value & 255);
    space.machine.listener?.store?.(this.pid, page);
    return 0;
  }

  /** A store whose content a stream of the content provider describes; 0. The fast path of the simulator. */
  storeFromStream(page: number, stream: number, key: number): number {
    const space = this.#space;
    if (space === undefined) throw this.#gone();
    let frame = translate(space, page, true);
    if (frame === 0) {
      frame = accessPage(space, page, true);
      if (frame < 0) return frame;
    }
    const { machine } = space;
    machine.frames.storeFromStream(frame, stream, key);
    if (machine.listener !== undefined) machine.listener.store?.(this.pid, page);
    return 0;
  }

  /** A store fault after which the page is what `source` describes for `key`, with no stores yet; 0. */
  populate(page: number, source: number, key: number): number {
    const space = this.#living();
    const frame = accessPage(space, page, true);
    if (frame < 0) return frame;
    space.machine.frames.describe(frame, source, key);
    space.machine.listener?.store?.(this.pid, page);
    return 0;
  }

  /** A load of a whole page by the program: 0. */
  loadPage(page: number, into: Uint8Array): number {
    const space = this.#living();
    const frame = accessPage(space, page, false);
    if (frame < 0) return frame;
    space.machine.frames.render(frame, into);
    return 0;
  }

  // Kernel copies on behalf of the process: bytes, or -EFAULT.

  /** read(2) and the like: into user memory. */
  copyIn(page: number, byteOffset: number, bytes: Uint8Array): number {
    const space = this.#living();
    const frame = accessPage(space, page, true);
    if (frame < 0) return -ERRNO.EFAULT;
    space.machine.frames.writeBytes(frame, byteOffset, bytes);
    return bytes.length;
  }

  /** write(2) and the like: out of user memory. */
  copyOut(page: number, byteOffset: number, into: Uint8Array): number {
    const space = this.#living();
    const frame = accessPage(space, page, false);
    if (frame < 0) return -ERRNO.EFAULT;
    const whole = new Uint8Array(4096);
    space.machine.frames.render(frame, whole);
    into.set(whole.subarray(byteOffset, byteOffset + into.length));
    return into.length;
  }

  /** pread(2) from the start of a file into whole pages, with O_DIRECT if `direct`: bytes, or a negative errno. */
  readFileInto(page: number, pageCount: number, path: string, direct: boolean): number {
    const space = this.#living();
    const { machine } = space;
    const node = machine.files.get(path);
    if (node === undefined) return -ERRNO.ENOENT;
    // tmpfs has no O_DIRECT before 6.6 (open fails), and a buffered one later.
    if (direct && node.kind === 'tmpfs' && !machine.features.pagemapScan) return -ERRNO.EINVAL;
    // O_DIRECT takes all pages of the buffer before it reads, also those behind the end of the file.
    for (let index = 0; direct && index < pageCount; index++) {
      if (this.#pinForRead(page + index) < 0) return -ERRNO.EFAULT;
    }
    const count = Math.min(pageCount, node.sizePages);
    if (!direct) readSequentially(machine, node, pageCount);
    for (let index = 0; index < count; index++) {
      const frame = accessPage(space, page + index, true);
      if (frame < 0) return index === 0 ? -ERRNO.EFAULT : index * 4096;
      machine.frames.copyContents(cachePage(machine, node, index), frame);
    }
    if (direct && node.kind === 'ext4' && count > 0) this.#zeroBuffer(page + count, page + pageCount);
    return count * 4096;
  }

  // From outside: bytes, or a negative errno.

  /** pwrite to /proc/PID/mem: -EIO if the first page cannot be written. */
  memWrite(page: number, byteOffset: number, bytes: Uint8Array): number {
    return writeMem(this.#space, page, byteOffset, bytes, this.kernel.forcesMemoryAccess);
  }

  /** pread of /proc/PID/mem. */
  memRead(page: number, byteOffset: number, into: Uint8Array): number {
    return readMem(this.#space, page, byteOffset, into, this.kernel.forcesMemoryAccess);
  }

  /** process_vm_writev. */
  vmWrite(page: number, byteOffset: number, bytes: Uint8Array): number {
    return writeVm(this.#space, page, byteOffset, bytes);
  }

  /** process_vm_readv. */
  vmRead(page: number, byteOffset: number, into: Uint8Array): number {
    return readVm(this.#space, page, byteOffset, into);
  }

  /**
   * Contents of a page without any side effect on page tables or counters.
   * @returns false if the page is a hole that reads as zeros, or cannot be read at all; `into` is zeroed then.
   */
  peekPage(page: number, into: Uint8Array): boolean {
    const frame = this.#peekFrame(page);
    if (frame === 0) into.fill(0, 0, 4096);
    else this.#living().machine.frames.render(frame, into);
    return frame !== 0;
  }

  // /proc/PID.

  /** Writes to clear_refs: bytes taken, or a negative errno. */
  clearRefs(text: Uint8Array | string): number {
    return writeClearRefs(this.#space, typeof text === 'string' ? Buffer.from(text, 'latin1') : text);
  }

  /** Opens pagemap (or pagemap2, where the layout has one): a file, or a negative errno. */
  openPagemap(file: 'pagemap' | 'pagemap2' = 'pagemap'): PagemapFile | number {
    const layout = this.kernel.pagemapLayout;
    if (file === 'pagemap2' && layout !== 'pagemap2') return -ERRNO.ENOENT;
    if (this.#space === undefined && this.kernel.features.zombieFilesRefused) return -ERRNO.ESRCH;
    return this.#pagemap(file === 'pagemap2');
  }

  /** Words of pagemap, low half first; pages read, fewer only at the end of the address space. */
  readPagemapWords(startPage: number, pageCount: number, words: Uint32Array): number {
    return this.#pagemap(false).readWords(startPage, pageCount, words);
  }

  /** PAGEMAP_SCAN with page numbers; a negative errno if this kernel has none. */
  scanPagemap(request: PagemapScanRequest): PagemapScanResult | number {
    const space = this.#living();
    if (!this.kernel.features.pagemapScan) return -ERRNO.ENOTTY;
    const answer = scanPages(space, request);
    return answer.result < 0 ? answer.result : answer;
  }

  /** The mappings in address order with their VmFlags codes; none for a zombie. */
  vmas(): MappingView[] {
    return this.#space === undefined ? [] : mappingViews(this.#space);
  }

  /** Text of /proc/PID/maps. */
  mapsText(): string {
    return this.#space === undefined ? '' : mapsText(this.#space);
  }

  /** Text of /proc/PID/smaps. */
  smapsText(): string {
    return this.#space === undefined ? '' : smapsText(this.#space);
  }

  /** Pages of the shared memory mapped at `page` that hold data, whoever put it there; undefined for other mappings. */
  populatedPages(page: number): PageRange[] | undefined {
    return populatedPages(this.#living(), page);
  }

  /** Pages in memory (VmRSS). */
  residentPages(): number {
    return this.#space === undefined ? 0 : residentPages(this.#space);
  }

  /** Faults so far, as in /proc/PID/stat. */
  minorFaults(): number {
    return this.#space?.minorFaults ?? 0;
  }

  #pagemap(second: boolean): PagemapFile {
    const { pagemapLayout, features } = this.kernel;
    return new PagemapFile(this.#space, pagemapLayout, second, features.pagemapScan);
  }

  /** A direct read stores zeros to the part of the buffer that lies behind the end of the file (iomap_dio_hole_iter). */
  #zeroBuffer(startPage: number, endPage: number): void {
    const space = this.#living();
    for (let page = startPage; page < endPage; page++) {
      const frame = this.#pinForRead(page);
      if (frame < 0) return;
      space.machine.frames.fill(frame, 0);
    }
  }

  #pinForRead(page: number): number {
    const space = this.#living();
    const vma = space.vmas.lookup(page);
    if (vma === undefined) return -ERRNO.EFAULT;
    return getUserPage(space, vma, page, { write: true });
  }

  #peekFrame(page: number): number {
    const space = this.#living();
    const vma = space.vmas.lookup(page);
    if (vma === undefined) return 0;
    const found = space.tables.find(Math.floor(page / TABLE_ENTRIES));
    if (found !== undefined) {
      const index = page % TABLE_ENTRIES;
      const flags = found.huge ? found.flags : found.flags[index]!;
      if (flags & PTE.special) return 0;
      if (flags & PTE.present) return found.huge ? found.frame + index : found.values[index]!;
      if (flags & PTE.swap && !found.huge) return space.machine.swap.frames[found.values[index]!]!;
    }
    return vma.file === null ? 0 : peekFilePage(space.machine, vma.file.node, vma.offsetOf(page));
  }

  #living(): AddressSpace {
    if (this.#space === undefined) throw this.#gone();
    return this.#space;
  }

  #gone(): RangeError {
    return new RangeError(`process ${this.pid} (${this.name}) has exited`);
  }
}
