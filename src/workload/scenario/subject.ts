import {
  ERRNO,
  type Kernel,
  MAP,
  type OpenFile,
  type PinnedBuffer,
  PROT,
  type Process,
  type Userfaultfd,
} from '../../kernel/index.ts';
import type { PageName } from './arguments.ts';

/** The arena begins at 0x100000000000. */
export const ARENA_START_PAGE = 2 ** 32;
/** mmap of the arena, as snap prints it, ends here. */
export const ARENA_PAGES = 2 ** 20;
/** Pages that one page table maps, and a huge page has. */
const BLOCK_PAGES = 512;
const HEAP_PAGE_IN_BLOCK = 83;
/** ENXIO: unregistering io_uring buffers that are not registered. */
const ENXIO = 6;

/** Something with a descriptor: it ends when the last process that holds it lets go. */
class Shared<Resource> {
  #holders = 0;
  readonly resource: Resource;
  readonly #end: (resource: Resource) => void;

  constructor(resource: Resource, end: (resource: Resource) => void) {
    this.resource = resource;
    this.#end = end;
  }

  hold(): this {
    this.#holders++;
    return this;
  }

  release(): void {
    if (--this.#holders === 0) this.#end(this.resource);
  }
}

interface Ring {
  buffer: PinnedBuffer | undefined;
}

/** One process of a scenario, with what the interpreter inside it remembers. */
export class Subject {
  readonly name: string;
  readonly process: Process;
  readonly parent: Subject | undefined;
  /** Its pid is gone; it was no longer a zombie that /proc knows. */
  reaped = false;
  /** mlockall(MCL_FUTURE) is in force: new mappings are populated at once. */
  locksFuture = false;
  /** Minor faults at the last `faults`. */
  countedFaults = 0;
  readonly #kernel: Kernel;
  #heapPage: number;
  /** One open file per name and mode, so that neighbours can merge. */
  readonly #files = new Map<string, OpenFile>();
  /** Every descriptor this process holds, lost ones included. */
  readonly #held = new Set<Shared<Userfaultfd> | Shared<Ring>>();
  #uffd: Shared<Userfaultfd> | undefined;
  #ring: Shared<Ring> | undefined;

  private constructor(kernel: Kernel, name: string, process: Process, parent: Subject | undefined) {
    this.#kernel = kernel;
    this.name = name;
    this.process = process;
    this.parent = parent;
    this.#heapPage = parent?.heapPage ?? process.breakPage;
  }

  /** The controller: a fresh program. */
  static start(kernel: Kernel): Subject {
    const subject = new Subject(kernel, 'controller', kernel.spawn({ name: 'sdops' }), undefined);
    // Shared with all subjects: where they leave their pids. It takes the topmost place below vvar.
    subject.process.mmap(0, 1, PROT.read | PROT.write, MAP.shared | MAP.anonymous);
    subject.#heapPage = subject.#settleHeap();
    return subject;
  }

  /** The program that made the recordings is larger than a fresh one here; its heap begins at this place of a block. */
  #settleHeap(): number {
    const { breakPage } = this.process;
    const ahead = (HEAP_PAGE_IN_BLOCK - breakPage) % BLOCK_PAGES;
    const page = breakPage + (ahead < 0 ? ahead + BLOCK_PAGES : ahead);
    this.process.brk(page);
    return page;
  }

  /** First page of the heap that operations name H0. */
  get heapPage(): number {
    return this.#heapPage;
  }

  pageNumber(page: PageName): number {
    return page.index + (page.heap ? this.heapPage : ARENA_START_PAGE);
  }

  fork(name: string): Subject {
    const child = new Subject(this.#kernel, name, this.process.fork(), this);
    for (const [key, file] of this.#files) child.#files.set(key, file);
    for (const descriptor of this.#held) child.#held.add(descriptor.hold());
    child.#uffd = this.#uffd;
    child.#ring = this.#ring;
    return child;
  }

  exec(): number {
    this.#closeAll();
    this.#files.clear();
    this.locksFuture = false;
    const result = this.process.exec();
    this.#heapPage = this.#settleHeap();
    return result;
  }

  exit(): void {
    this.process.exit();
    this.#closeAll();
  }

  #closeAll(): void {
    for (const descriptor of this.#held) descriptor.release();
    this.#held.clear();
    this.#uffd = undefined;
    this.#ring = undefined;
  }

  openFile(path: string, readOnly: boolean, separate: boolean): OpenFile | number {
    const key = `${readOnly ? 'r' : 'w'}${path}`;
    const known = separate ? undefined : this.#files.get(key);
    if (known !== undefined) return known;
    const file = this.#kernel.openFile(path, !readOnly);
    if (typeof file !== 'number' && !separate) this.#files.set(key, file);
    return file;
  }

  openUserfaultfd(features: number): number {
    const uffd = this.process.userfaultfd(features);
    if (typeof uffd === 'number') {
      this.#uffd = undefined;
      return uffd;
    }
    this.#uffd = new Shared(uffd, (last) => last.close()).hold();
    this.#held.add(this.#uffd);
    return 0;
  }

  /** Calls the userfaultfd, or fails with EBADF if there is none. */
  withUserfaultfd(use: (uffd: Userfaultfd) => number): number {
    return this.#uffd === undefined ? -ERRNO.EBADF : use(this.#uffd.resource);
  }

  closeUserfaultfd(): void {
    if (this.#uffd === undefined) return;
    this.#held.delete(this.#uffd);
    this.#uffd.release();
    this.#uffd = undefined;
  }

  /** Opens an io_uring and registers one buffer with it; a ring opened before stays as it is, out of reach. */
  pin(startPage: number, pageCount: number): number {
    const ring: Ring = { buffer: undefined };
    this.#ring = new Shared(ring, (last) => last.buffer?.release()).hold();
    this.#held.add(this.#ring);
    const buffer = this.process.pin(startPage, pageCount);
    if (typeof buffer === 'number') return buffer;
    ring.buffer = buffer;
    return 0;
  }

  unpin(): number {
    const shared = this.#ring;
    if (shared === undefined) return -ERRNO.EBADF;
    const { buffer } = shared.resource;
    shared.resource.buffer = undefined;
    const result = buffer === undefined ? -ENXIO : buffer.release();
    this.#ring = undefined;
    this.#held.delete(shared);
    shared.release();
    return result;
  }
}
