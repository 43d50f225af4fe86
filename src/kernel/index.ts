import type { MapsEntry, PagemapScanRequest, PagemapScanResult } from '../procfs/index.ts';
import type { ContentProvider } from './content.ts';

export * from './abi.ts';
export type { ContentProvider } from './content.ts';

export type KernelVersion = '6.1' | '6.12' | '6.18' | '7.2';
export const KERNEL_VERSIONS: readonly KernelVersion[] = ['6.1', '6.12', '6.18', '7.2'];

export type PagemapLayout = 'modern' | 'switching' | 'pagemap2';

export interface KernelOptions {
  readonly version?: KernelVersion;
  /** CONFIG_MEM_SOFT_DIRTY; default true. */
  readonly softDirty?: boolean;
  /** userfaultfd write protection (CONFIG_HAVE_ARCH_USERFAULTFD_WP); default true. */
  readonly uffdWriteProtect?: boolean;
  readonly content?: ContentProvider;
  readonly pagemapLayout?: PagemapLayout;
  /** proc_mem.force_override; default as the recorded kernel of that version. */
  readonly forceOverride?: 'always' | 'ptrace' | 'never';
  /** Prices in virtual nanoseconds; the defaults are documented at `DEFAULT_COSTS`. */
  readonly costs?: Partial<KernelCosts>;
}

export interface KernelCosts {
  readonly [kind: string]: number;
}

/** How many faults of each kind happened, and what the kernel's work has cost in virtual nanoseconds. */
export interface KernelCounters {
  readonly faults: Readonly<Record<FaultKind, number>>;
  readonly nanoseconds: number;
}
export type FaultKind =
  | 'anonymousZero'
  | 'anonymousNew'
  | 'copyOnWrite'
  | 'writeProtect'
  | 'fileRead'
  | 'fileCopy'
  | 'fileShared'
  | 'swapIn'
  | 'huge'
  | 'userfault'
  | 'signal';

/** An open file description; neighbours in memory merge only if they share one. */
export declare class OpenFile {
  readonly path: string;
  readonly writable: boolean;
}

/** Store events, for trackers that listen to writes instead of asking afterwards. */
export interface WriteListener {
  /** A store (of the program or of the kernel on its behalf) took a fault. */
  storeFault?(pid: number, page: number): void;
  /** Any store by the program. */
  store?(pid: number, page: number): void;
}

export declare class Kernel {
  constructor(options?: KernelOptions);
  readonly version: KernelVersion;
  listener: WriteListener | undefined;
  /** A new program, as after exec: text, data, heap, stack, vvar, vdso. */
  spawn(options?: { readonly name?: string; readonly parent?: Process }): Process;
  process(pid: number): Process | undefined;
  /** All processes, zombies too, by pid. */
  processes(): Process[];
  /** Waits for a zombie: it vanishes. */
  reap(pid: number): void;

  // Files. Paths under /mnt/ are ext4, others tmpfs. Results: >= 0 or -errno.
  createFile(path: string, pageCount: number, fillByte: number): number;
  openFile(path: string, writable: boolean): OpenFile | number;
  writeFile(path: string, offsetBytes: number, bytes: Uint8Array): number;
  truncateFile(path: string, pageCount: number): number;
  punchFile(path: string, startPage: number, pageCount: number): number;
  /** fsync and POSIX_FADV_DONTNEED. */
  dropFile(path: string): number;

  // Machine settings.
  setThp(mode: 'always' | 'madvise' | 'never'): void;
  setThpZeroPage(on: boolean): void;
  setSharedThp(mode: 'always' | 'within_size' | 'advise' | 'never' | 'deny' | 'force'): void;
  setHugePages(count: number): void;
  /** /sys/kernel/mm/ksm/run; 1 scans until nothing changes any more. */
  setKsmRun(value: 0 | 1 | 2): void;
  setKsmZeroPages(on: boolean): void;
  swapOff(): number;
  swapOn(): number;
  compact(): void;
  dropCaches(): void;

  counters(): KernelCounters;
  /** Virtual cost so far, in nanoseconds. */
  readonly nanoseconds: number;
  /** /proc/kpagecount words (mapping counts) of frames; frames read. */
  readKpagecount(startFrame: number, frameCount: number, counts: Uint32Array): number;

  save(): Uint8Array;
  static restore(bytes: Uint8Array, options?: KernelOptions): Kernel;
}

/** An open /proc/PID/pagemap: bound to the address space at open. */
export declare class PagemapFile {
  /** pread: bytes read (0 at the end) or -errno. `into` may be omitted if only the result matters. */
  read(offsetBytes: bigint, lengthBytes: number, into?: Uint8Array): number;
  /** ioctl(PAGEMAP_SCAN) with the raw structure. */
  ioctlScan(argument: RawScanArgument): RawScanResult;
}

/** struct pm_scan_arg with addresses in bytes; `vectorLength` 0 means a null vector. */
export interface RawScanArgument {
  readonly sizeBytes: number;
  readonly flags: bigint;
  readonly startBytes: bigint;
  readonly endBytes: bigint;
  readonly vectorLength: number;
  readonly maximumPages: number;
  readonly categoryInverted: bigint;
  readonly categoryMask: bigint;
  readonly categoryAnyOfMask: bigint;
  readonly returnMask: bigint;
}
export interface RawScanResult extends PagemapScanResult {
  /** Number of regions or -errno. */
  readonly result: number;
}

/** Bound to the address space of the process that opened it, whoever holds it (a forked child may). */
export declare class Userfaultfd {
  register(startPage: number, pageCount: number, mode: number): number;
  unregister(startPage: number, pageCount: number): number;
  writeProtect(startPage: number, pageCount: number, on: boolean): number;
  /** One page; 0 or -errno. `bytes` 4096. */
  copy(page: number, bytes: Uint8Array, writeProtect: boolean): number;
  zeroPage(startPage: number, pageCount: number): number;
  move(sourcePage: number, destinationPage: number, pageCount: number): number;
  close(): void;
}

/** A registered io_uring buffer. */
export declare class PinnedBuffer {
  release(): number;
}

export declare class Process {
  readonly pid: number;
  readonly parentPid: number;
  name: string;
  readonly state: 'running' | 'zombie';
  /** First page of the heap: the initial break. */
  readonly heapStartPage: number;
  /** The current break, in pages. */
  readonly breakPage: number;

  // System calls: >= 0, or a negative errno. mmap and mremap return the start page.
  mmap(
    startPage: number,
    pageCount: number,
    prot: number,
    flags: number,
    file?: OpenFile,
    offsetPages?: number,
  ): number;
  munmap(startPage: number, pageCount: number): number;
  mprotect(startPage: number, pageCount: number, prot: number): number;
  mremap(oldPage: number, oldCount: number, newCount: number, flags?: number, newPage?: number): number;
  madvise(startPage: number, pageCount: number, advice: number): number;
  mlock(startPage: number, pageCount: number): number;
  munlock(startPage: number, pageCount: number): number;
  mlockall(flags: number): number;
  munlockall(): number;
  msync(startPage: number, pageCount: number): number;
  /** Sets the break; 0 or -ENOMEM. */
  brk(page: number): number;
  remapFilePages(startPage: number, pageCount: number, offsetPages: number): number;
  fork(name?: string): Process;
  exec(name?: string): number;
  /** Becomes a zombie until reaped. */
  exit(): void;
  userfaultfd(features: number): Userfaultfd | number;
  /** io_uring fixed buffer: pins for writing, long term. */
  pin(startPage: number, pageCount: number): PinnedBuffer | number;
  /** move_pages: number of the pages that are on `node` afterwards, or -errno. */
  migrate(startPage: number, pageCount: number, node: number): number;

  // The program's own accesses: >= 0, or ACCESS_SIGNAL.
  /** Stores one byte; 0. */
  store(page: number, byteOffset: number, value: number): number;
  /** Loads one byte; its value. */
  load(page: number, byteOffset?: number): number;
  /** Stores to every byte of a page; 0. */
  fill(page: number, value: number): number;
  /** A store whose content is described by a stream of the content provider; 0. The fast path. */
  storeFromStream(page: number, stream: number, key: number): number;
  /** A store fault whose content is described as (source, key) with store count 0; 0. */
  populate(page: number, source: number, key: number): number;
  /** A load of a whole page by the program: 0 or ACCESS_SIGNAL. */
  loadPage(page: number, into: Uint8Array): number;

  // Kernel copies on behalf of the process: bytes, or -EFAULT.
  /** read(2) and friends: into user memory. */
  copyIn(page: number, byteOffset: number, bytes: Uint8Array): number;
  /** write(2) and friends: out of user memory. */
  copyOut(page: number, byteOffset: number, into: Uint8Array): number;
  /** pread(2) from the start of a file; with O_DIRECT if `direct`. */
  readFileInto(page: number, pageCount: number, path: string, direct: boolean): number;

  // From outside: bytes or -errno (-EIO, -EFAULT).
  /** pwrite to /proc/PID/mem. */
  memWrite(page: number, byteOffset: number, bytes: Uint8Array): number;
  /** pread of /proc/PID/mem. */
  memRead(page: number, byteOffset: number, into: Uint8Array): number;
  vmWrite(page: number, byteOffset: number, bytes: Uint8Array): number;
  vmRead(page: number, byteOffset: number, into: Uint8Array): number;
  /** Contents without any side effect on the page tables; false if the page reads as a hole or cannot be read. */
  peekPage(page: number, into: Uint8Array): boolean;

  // /proc/PID.
  /** Writes to clear_refs: bytes taken, or -errno. */
  clearRefs(text: Uint8Array | string): number;
  /** Opens pagemap: a file, or -errno. */
  openPagemap(): PagemapFile | number;
  /** Words of pagemap, low half first; pages read, fewer only at the end of the address space. */
  readPagemapWords(startPage: number, pageCount: number, words: Uint32Array): number;
  /** PAGEMAP_SCAN with page numbers, from 6.7 on; negative errno otherwise. */
  scanPagemap(request: PagemapScanRequest): PagemapScanResult | number;
  /** The mappings, as in maps, with VmFlags codes. */
  vmas(): (MapsEntry & { readonly flags: readonly string[] })[];
  /** Text of /proc/PID/maps and smaps; undefined if there is nothing to open. */
  mapsText(): string;
  smapsText(): string;
  residentPages(): number;
  minorFaults(): number;
}
