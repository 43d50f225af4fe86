import { PAGE_SIZE, TargetError } from '../../src/core/index.ts';
import { PAGEMAP_HIGH } from '../../src/procfs/index.ts';
import type { ProcessView, Target, TargetState, TrackingAbilities, Vma } from '../../src/target/index.ts';

/** A page of one repeated byte pair, cheap to tell apart. */
export function patternPage(value: number): Uint8Array {
  const page = new Uint8Array(PAGE_SIZE);
  if (value === 0) return page;
  for (let at = 0; at < PAGE_SIZE; at += 8) page[at] = (value + (at >> 6)) & 0xff;
  page[0] = value & 0xff;
  page[1] = value >> 8;
  return page;
}

/** A private anonymous read-write mapping. */
export function anonymousVma(startPage: number, endPage: number): Vma {
  return {
    startPage,
    endPage,
    read: true,
    write: true,
    execute: false,
    shared: false,
    offsetPages: 0,
    deviceMajor: 0,
    deviceMinor: 0,
    inode: 0,
    pathname: '',
    flags: ['rd', 'wr', 'mr', 'mw', 'me', 'ac'],
  };
}

/** One process whose memory is a plain Map, with soft-dirty bits kept as simply as can be. */
export class MemoryProcess implements ProcessView {
  readonly pid: number;
  readonly parentPid: number;
  readonly name = 'memory';
  readonly pages = new Map<number, Uint8Array>();
  readonly dirty = new Set<number>();
  readonly unreadable = new Set<number>();
  mappings: Vma[] = [];
  /** Called before each read, to change memory in the middle of a dump. */
  beforeRead: ((startPage: number) => void) | undefined;

  constructor(pid: number, parentPid = 0) {
    this.pid = pid;
    this.parentPid = parentPid;
  }

  store(page: number, bytes: Uint8Array): void {
    this.pages.set(page, bytes.slice());
    this.dirty.add(page);
  }

  unmap(page: number): void {
    this.pages.delete(page);
  }

  vmas(): Vma[] {
    return this.mappings;
  }

  readPagemap(startPage: number, pageCount: number, words: Uint32Array): number {
    for (let index = 0; index < pageCount; index++) {
      const page = startPage + index;
      const present = this.pages.has(page);
      words[index * 2] = present ? page % 2 ** 32 : 0;
      let high = present ? PAGEMAP_HIGH.present | PAGEMAP_HIGH.exclusive : 0;
      if (this.dirty.has(page)) high |= PAGEMAP_HIGH.softDirty;
      words[index * 2 + 1] = high;
    }
    return pageCount;
  }

  clearReferences(): void {
    this.dirty.clear();
  }

  readMemory(startPage: number, pageCount: number, into: Uint8Array): number {
    this.beforeRead?.(startPage);
    for (let index = 0; index < pageCount; index++) {
      const page = this.pages.get(startPage + index);
      if (page === undefined || this.unreadable.has(startPage + index)) return index;
      into.set(page, index * PAGE_SIZE);
    }
    return pageCount;
  }
}

/** A target of such processes. */
export class MemoryTarget implements Target {
  readonly identity = { kind: 'live', name: 'memory', fingerprint: 'memory' } as const;
  readonly list: MemoryProcess[];
  readonly #softDirty: boolean;
  frozen = false;
  freezes = 0;
  /** Called while the target stands still, before anything is looked at. */
  onFreeze: (() => void) | undefined;
  /** Called when the target runs again. */
  onThaw: (() => void) | undefined;

  constructor(list: MemoryProcess[], softDirty: boolean) {
    this.list = list;
    this.#softDirty = softDirty;
  }

  abilities(): TrackingAbilities {
    return {
      softDirty: this.#softDirty,
      frameNumbers: true,
      kernelRelease: 'memory',
      softDirtyProblem: 'switched off',
      writeProtectionProblem: 'memory has none',
    };
  }

  processes(): MemoryProcess[] {
    return this.list;
  }

  async freeze(): Promise<void> {
    if (this.frozen) throw new TargetError('frozen twice');
    this.frozen = true;
    this.freezes++;
    this.onFreeze?.();
  }

  thaw(): void {
    if (!this.frozen) return;
    this.frozen = false;
    this.onThaw?.();
  }

  async run(): Promise<void> {}

  nowMicroseconds(): number {
    return 0;
  }

  captureState(): TargetState {
    return { format: 'memory-1', bytes: new Uint8Array(3), summary: {} };
  }

  async close(): Promise<void> {
    this.thaw();
  }
}
