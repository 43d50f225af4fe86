import type { AddressSpace } from './address-space.ts';
import type { ContentProvider } from './content.ts';
import { type KernelCosts, Ledger } from './costs.ts';
import { type FileKind, FileNode, OpenFile } from './memory/files.ts';
import { FRAME, FrameTable } from './memory/frames.ts';
import type { PinnedBuffer } from './memory/pins.ts';
import { SwapArea } from './memory/swap.ts';
import type { UffdContext } from './uffd/context.ts';
import type { KernelFeatures } from './version.ts';

/** Knobs of /sys and /proc/sys. */
export interface MachineSettings {
  thp: 'always' | 'madvise' | 'never';
  thpZeroPage: boolean;
  sharedThp: 'always' | 'within_size' | 'advise' | 'never' | 'deny' | 'force';
  ksmRun: 0 | 1 | 2;
  ksmZeroPages: boolean;
}

/** Told of stores, for trackers that listen to writes instead of asking afterwards. */
export interface WriteListener {
  /** A store, of the program or of the kernel on its behalf, took a fault. */
  storeFault?(pid: number, page: number): void;
  /** Any store of the program. */
  store?(pid: number, page: number): void;
}

/** What all processes share: frames, swap, files, settings, prices. */
export class Machine {
  readonly features: KernelFeatures;
  /** CONFIG_MEM_SOFT_DIRTY. */
  readonly softDirty: boolean;
  readonly uffdWriteProtect: boolean;
  readonly frames: FrameTable;
  readonly swap = new SwapArea();
  readonly ledger: Ledger;
  readonly files = new Map<string, FileNode>();
  /** All inodes that are in use, named or not. */
  readonly nodes = new Map<number, FileNode>();
  /** Address spaces that still exist. */
  readonly spaces: AddressSpace[] = [];
  listener: WriteListener | undefined;
  settings: MachineSettings = {
    thp: 'never',
    thpZeroPage: true,
    sharedThp: 'never',
    ksmRun: 0,
    ksmZeroPages: false,
  };
  /** Huge pages in the hugetlb pool, how many of them are in use, and how many promised to mappings besides. */
  hugePool = 0;
  hugePoolTaken = 0;
  hugePoolPromised = 0;
  /** Open userfaultfds by id. */
  readonly uffds = new Map<number, UffdContext>();
  /** Buffers that are pinned for DMA. */
  readonly pinned = new Set<PinnedBuffer>();
  /** Contents of KSM pages to their frame. */
  readonly ksmStable = new Map<string, number>();
  /** The 3.11 to 4.1 switch of the pagemap layout: turned on by the first clear. */
  softDirtySwitch = false;
  #nextId = 1;

  constructor(
    features: KernelFeatures,
    options: { softDirty: boolean; uffdWriteProtect: boolean; content: ContentProvider; costs: KernelCosts },
  ) {
    this.features = features;
    this.softDirty = options.softDirty;
    this.uffdWriteProtect = options.uffdWriteProtect;
    this.frames = new FrameTable(options.content);
    this.ledger = new Ledger(options.costs);
  }

  /** A number for an object that needs an identity. */
  readonly nextId = (): number => this.#nextId++;

  get lastId(): number {
    return this.#nextId;
  }

  set lastId(id: number) {
    this.#nextId = id;
  }

  createNode(path: string, kind: FileKind, sizePages: number): FileNode {
    const node = new FileNode(this.nextId(), path, kind, sizePages);
    this.nodes.set(node.id, node);
    return node;
  }

  open(node: FileNode, writable: boolean): OpenFile {
    return new OpenFile(this.nextId(), node, writable);
  }

  /** Adds a mapping of a frame by a page-table entry. */
  mapFrame(frame: number): void {
    const { frames } = this;
    frames.mapCount[frame]!++;
    if (frames.flags[frame]! & FRAME.compound) frames.compounds.get(frame - (frame % 512))!.total++;
  }

  /** Takes a mapping by a page-table entry away; frees the frame if nothing holds it any more. */
  unmapFrame(frame: number): void {
    const { frames } = this;
    frames.mapCount[frame]!--;
    if (frames.flags[frame]! & FRAME.compound) {
      const head = frame - (frame % 512);
      frames.compounds.get(head)!.total--;
      this.releaseHugeIfUnused(head);
    } else this.releaseIfUnused(frame);
  }

  /** Frees a frame that nothing maps or refers to; a page with swap users stays in the swap cache. */
  releaseIfUnused(frame: number): void {
    const { frames } = this;
    const flags = frames.flags[frame]!;
    if (frames.mapCount[frame] !== 0 || frames.references[frame] !== 0 || flags & (FRAME.cached | FRAME.zero))
      return;
    if (flags & FRAME.swapCache && !this.leaveSwapCache(frame)) return;
    if (flags & FRAME.ksm) this.#forgetKsm(frame);
    frames.release(frame);
  }

  releaseHugeIfUnused(head: number): void {
    const { frames } = this;
    if (frames.flags[head]! & (FRAME.cached | FRAME.zero)) return;
    if (frames.compounds.get(head)!.total !== 0) return;
    for (let frame = head; frame < head + 512; frame++) if (frames.references[frame] !== 0) return;
    if (frames.flags[head]! & FRAME.hugeTlb) this.hugePoolTaken--;
    frames.releaseHuge(head);
  }

  /** folio_free_swap: takes a page out of the swap cache if its slot has no users; whether it is out. */
  leaveSwapCache(frame: number): boolean {
    const slot = this.swap.slotOfFrame.get(frame);
    if (slot === undefined) return true;
    if (this.swap.users[slot]! > 0) return false;
    this.swap.slotOfFrame.delete(frame);
    this.swap.releaseSlot(slot);
    this.frames.flags[frame]! &= ~FRAME.swapCache;
    this.frames.flags[frame]! |= FRAME.dirty;
    return true;
  }

  /** swap_free: one user of a slot less. */
  freeSwapUser(slot: number): void {
    const { swap, frames } = this;
    swap.users[slot]!--;
    if (swap.users[slot]! > 0) return;
    const frame = swap.frames[slot]!;
    if (frames.flags[frame]! & FRAME.swapCache) {
      if (frames.mapCount[frame] === 0) this.releaseIfUnused(frame);
      return;
    }
    swap.releaseSlot(slot);
    frames.release(frame);
  }

  #forgetKsm(frame: number): void {
    for (const [contents, known] of this.ksmStable) {
      if (known === frame) {
        this.ksmStable.delete(contents);
        return;
      }
    }
  }
}
