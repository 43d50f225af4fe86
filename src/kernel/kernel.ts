import { ERRNO } from './abi.ts';
import type { AddressSpace } from './address-space.ts';
import type { ContentProvider } from './content.ts';
import { DEFAULT_COSTS, type FaultKind, type KernelCosts } from './costs.ts';
import { newProgram } from './exec.ts';
import { forkSpace } from './fork.ts';
import { scanDuplicates, unmergeAll } from './ksm/scan.ts';
import { Machine, type MachineSettings, type WriteListener } from './machine.ts';
import { dropCaches, dropFile, punchFile, syncFile, truncateFile, writeFile } from './memory/file-ops.ts';
import type { FileNode, OpenFile } from './memory/files.ts';
import { cachePage } from './memory/page-cache.ts';
import type { PinnedBuffer } from './memory/pins.ts';
import { zapRange } from './pagetable/unmap.ts';
import type { PagemapLayout } from './proc/pagemap.ts';
import { Process } from './process.ts';
import { swapOff, swapOn } from './reclaim/swapoff.ts';
import { decodeKernel, encodeKernel, type SavedProcess } from './save/kernel-state.ts';
import { Userfaultfd } from './uffd/userfaultfd.ts';
import { FEATURES, type ForceOverride, type KernelFeatures, type KernelVersion } from './version.ts';
import { releaseMapping } from './vma/remove.ts';

export interface KernelOptions {
  /** Default 6.1. */
  readonly version?: KernelVersion;
  /** CONFIG_MEM_SOFT_DIRTY; default true. Without it bit 55 is always 0 and a clear does nothing. */
  readonly softDirty?: boolean;
  /** Write protection by userfaultfd; default true. */
  readonly uffdWriteProtect?: boolean;
  /** What describes page contents; by default a provider that knows zeros only. */
  readonly content?: ContentProvider;
  readonly pagemapLayout?: PagemapLayout;
  /** proc_mem.force_override; the default is that of the recorded kernel. */
  readonly forceOverride?: ForceOverride;
  /** Prices in virtual nanoseconds that differ from DEFAULT_COSTS. */
  readonly costs?: Partial<KernelCosts>;
}

/** How many faults of each kind there were, and what the kernel's work cost in virtual nanoseconds. */
export interface KernelCounters {
  readonly faults: Readonly<Record<FaultKind, number>>;
  readonly nanoseconds: number;
}

/** Describes nothing but zeros, so every stored byte is kept. */
const BYTES_ONLY: ContentProvider = {
  sourceAfterStore: () => -1,
  render: (_source, _key, _stores, out) => {
    out.fill(0);
  },
  apply: (stream, key, storeNumber, bytes) => {
    bytes[key % bytes.length] = (stream + storeNumber) & 255;
  },
};

const FIRST_PID = 100;

/** A simulated Linux machine as far as its memory management can be observed. */
export class Kernel {
  readonly version: KernelVersion;
  readonly features: KernelFeatures;
  readonly pagemapLayout: PagemapLayout;
  /** Whether /proc/PID/mem may ignore the protection of a mapping. */
  readonly forcesMemoryAccess: boolean;
  readonly machine: Machine;
  readonly #processes = new Map<number, Process>();
  #nextPid = FIRST_PID;

  constructor(options: KernelOptions & { readonly machine?: Machine } = {}) {
    this.version = options.version ?? '6.1';
    this.features = FEATURES[this.version];
    this.pagemapLayout = options.pagemapLayout ?? 'modern';
    this.forcesMemoryAccess = (options.forceOverride ?? this.features.forceOverride) === 'always';
    this.machine =
      options.machine ??
      new Machine(this.features, {
        softDirty: options.softDirty ?? true,
        uffdWriteProtect: options.uffdWriteProtect ?? true,
        content: options.content ?? BYTES_ONLY,
        costs: { ...DEFAULT_COSTS, ...options.costs },
      });
  }

  get listener(): WriteListener | undefined {
    return this.machine.listener;
  }

  set listener(listener: WriteListener | undefined) {
    this.machine.listener = listener;
  }

  // Processes.

  /** The open userfaultfds of living address spaces, in the order of opening (to find them after a restore). */
  userfaultfds(): Userfaultfd[] {
    return [...this.machine.uffds.values()].map((context) => new Userfaultfd(context));
  }

  /** The buffers that are pinned now, in the order of pinning (to find them after a restore). */
  pinnedBuffers(): PinnedBuffer[] {
    return [...this.machine.pinned];
  }

  /** Starts a program, as after exec: text, data, heap, stack, vvar, vdso. */
  spawn(options: { readonly name?: string; readonly parent?: Process } = {}): Process {
    const pid = this.#nextPid++;
    const space = newProgram(this.machine, pid);
    this.machine.spaces.push(space);
    return this.#add(new Process(this, pid, options.parent?.pid ?? 1, options.name ?? 'program', space));
  }

  process(pid: number): Process | undefined {
    return this.#processes.get(pid);
  }

  /** All processes, zombies too, by pid. */
  processes(): Process[] {
    return [...this.#processes.values()].sort((left, right) => left.pid - right.pid);
  }

  /** A parent has waited for a zombie: it vanishes. */
  reap(pid: number): void {
    if (this.#processes.get(pid)?.state === 'zombie') this.#processes.delete(pid);
  }

  /** fork(2), for Process. */
  forkProcess(parent: Process, name: string): Process {
    const space = parent.space;
    if (space === undefined) throw new RangeError(`process ${parent.pid} has exited`);
    const pid = this.#nextPid++;
    const copy = forkSpace(space, pid);
    this.machine.spaces.push(copy);
    return this.#add(new Process(this, pid, parent.pid, name, copy));
  }

  /** exec(2), for Process: the old address space goes, a new program begins. */
  replaceSpace(process: Process): AddressSpace {
    if (process.space !== undefined) this.tearDown(process.space);
    const space = newProgram(this.machine, process.pid);
    this.machine.spaces.push(space);
    return space;
  }

  /** exit_mmap. */
  tearDown(space: AddressSpace): void {
    for (const vma of space.vmas.items) zapRange(space, vma, vma.start, vma.end);
    for (const vma of space.vmas.items) releaseMapping(this.machine, vma);
    space.vmas.items.length = 0;
    space.tables.freeRange(0, 2 ** 35, 0, Number.MAX_SAFE_INTEGER);
    space.dead = true;
    for (const [id, context] of this.machine.uffds)
      if (context.space === space) this.machine.uffds.delete(id);
    this.machine.spaces.splice(this.machine.spaces.indexOf(space), 1);
  }

  // Files. Paths under /mnt/ are on ext4, all others on tmpfs. Results: >= 0, or a negative errno.

  /** Creates or truncates a file and writes `pageCount` pages of `fillByte`; pages written. */
  createFile(path: string, pageCount: number, fillByte: number): number {
    const { machine } = this;
    let node = machine.files.get(path);
    if (node === undefined) {
      node = machine.createNode(path, path.startsWith('/mnt/') ? 'ext4' : 'tmpfs', 0);
      machine.files.set(path, node);
    } else truncateFile(machine, node, 0);
    node.sizePages = pageCount;
    for (let index = 0; index < pageCount; index++) {
      machine.frames.fill(cachePage(machine, node, index, machine.settings.sharedThp === 'force'), fillByte);
    }
    return pageCount;
  }

  openFile(path: string, writable: boolean): OpenFile | number {
    const node = this.machine.files.get(path);
    return node === undefined ? -ERRNO.ENOENT : this.machine.open(node, writable);
  }

  /** pwrite(2). */
  writeFile(path: string, offsetBytes: number, bytes: Uint8Array): number {
    return this.#withFile(path, (node) => writeFile(this.machine, node, offsetBytes, bytes));
  }

  truncateFile(path: string, pageCount: number): number {
    return this.#withFile(path, (node) => truncateFile(this.machine, node, pageCount));
  }

  /** fallocate(PUNCH_HOLE). */
  punchFile(path: string, startPage: number, pageCount: number): number {
    return this.#withFile(path, (node) => punchFile(this.machine, node, startPage, pageCount));
  }

  /** fsync(2). */
  syncFile(path: string): number {
    return this.#withFile(path, (node) => syncFile(this.machine, node));
  }

  /** fsync(2), then POSIX_FADV_DONTNEED. */
  dropFile(path: string): number {
    return this.#withFile(path, (node) => dropFile(this.machine, node));
  }

  // Machine settings.

  setThp(mode: MachineSettings['thp']): void {
    this.machine.settings.thp = mode;
  }

  setThpZeroPage(on: boolean): void {
    this.machine.settings.thpZeroPage = on;
  }

  setSharedThp(mode: MachineSettings['sharedThp']): void {
    this.machine.settings.sharedThp = mode;
  }

  /** /proc/sys/vm/nr_hugepages. */
  setHugePages(count: number): void {
    this.machine.hugePool = Math.max(count, this.machine.hugePoolTaken);
  }

  /** /sys/kernel/mm/ksm/run. Here 1 scans until nothing is left to merge; 2 undoes all merging. */
  setKsmRun(value: 0 | 1 | 2): void {
    // A running scanner goes on until it is stopped; here it catches up at that moment.
    const catchesUp = value === 0 && this.machine.settings.ksmRun === 1;
    this.machine.settings.ksmRun = value;
    if (value === 1 || catchesUp) scanDuplicates(this.machine);
    else if (value === 2) unmergeAll(this.machine);
  }

  setKsmZeroPages(on: boolean): void {
    this.machine.settings.ksmZeroPages = on;
  }

  /** swapoff(2): 0 or a negative errno. */
  swapOff(): number {
    return swapOff(this.machine);
  }

  swapOn(): number {
    return swapOn(this.machine);
  }

  /** /proc/sys/vm/compact_memory: moves nothing, since memory here is never fragmented; recordings show none either. */
  compact(): void {}

  /** sync(1), then 3 to /proc/sys/vm/drop_caches. */
  dropCaches(): void {
    dropCaches(this.machine);
  }

  // Observation.

  counters(): KernelCounters {
    return { faults: { ...this.machine.ledger.faults }, nanoseconds: this.machine.ledger.nanoseconds };
  }

  /** Virtual cost so far, in nanoseconds. */
  get nanoseconds(): number {
    return this.machine.ledger.nanoseconds;
  }

  /** Mapping counts of frames as in /proc/kpagecount; frames read, fewer at the end of memory. */
  readKpagecount(startFrame: number, frameCount: number, counts: Uint32Array): number {
    const { frames } = this.machine;
    const end = Math.min(startFrame + frameCount, frames.next);
    for (let frame = startFrame; frame < end; frame++) counts[frame - startFrame] = frames.mappings(frame);
    return Math.max(0, end - startFrame);
  }

  /** The whole state of the machine. A listener is not part of it. */
  save(): Uint8Array {
    const processes = this.processes().map(
      ({ pid, parentPid, name, state }): SavedProcess => ({
        pid,
        parentPid,
        name,
        running: state === 'running',
      }),
    );
    return encodeKernel(this.machine, {
      version: this.version,
      pagemapLayout: this.pagemapLayout,
      forceOverride: this.forcesMemoryAccess ? 'always' : 'never',
      nextPid: this.#nextPid,
      processes,
    });
  }

  /**
   * A kernel that goes on where `save` was called, to the same frame numbers and counters. The content provider must be
   * an equal one; version and configuration come from the saved state.
   * @throws IntegrityError for bytes that `save` did not write.
   */
  static restore(bytes: Uint8Array, options: Pick<KernelOptions, 'content' | 'costs'> = {}): Kernel {
    const { machine, identity } = decodeKernel(bytes, {
      content: options.content ?? BYTES_ONLY,
      costs: { ...DEFAULT_COSTS, ...options.costs },
    });
    const kernel = new Kernel({
      version: identity.version,
      pagemapLayout: identity.pagemapLayout,
      forceOverride: identity.forceOverride,
      machine,
    });
    kernel.#nextPid = identity.nextPid;
    for (const { pid, parentPid, name, running } of identity.processes) {
      const space = running ? machine.spaces.find((candidate) => candidate.pid === pid) : undefined;
      kernel.#add(new Process(kernel, pid, parentPid, name, space));
    }
    return kernel;
  }

  #add(process: Process): Process {
    this.#processes.set(process.pid, process);
    return process;
  }

  #withFile(path: string, act: (node: FileNode) => number): number {
    const node = this.machine.files.get(path);
    return node === undefined ? -ERRNO.ENOENT : act(node);
  }
}
