import { closeSync, openSync, writeFileSync } from 'node:fs';
import { PAGE_SIZE, type PageRange, PageRangeList } from '../core/index.ts';
import { PAGEMAP_HIGH, PAGEMAP_WORD_BYTES } from '../procfs/index.ts';
import { errnoOf, goneError, isDeadState, procError, readAt, readTaskStat } from './live-files.ts';
import { pagesOfObject } from './live-object.ts';
import { LiveVmas } from './live-vmas.ts';
import type { ClearLedger, ProcessView, Vma } from './view.ts';

/** What a view has to know of its process and of the machine. */
export interface LiveProcessFacts {
  readonly pid: number;
  readonly name: string;
  readonly startTicks: number;
  readonly zeroFrame: number | undefined;
  readonly clearLedger: ClearLedger;
}

/**
 * A live process through /proc. pagemap and mem stay open for the whole life of the view: both are bound to the
 * address space that the process had when they were opened, so an exec cannot slip another one under a dump.
 */
export class LiveProcessView implements ProcessView {
  readonly pid: number;
  readonly parentPid = 0;
  readonly name: string;
  readonly zeroFrame?: number;
  readonly clearLedger: ClearLedger;
  readonly #startTicks: number;
  readonly #vmas: LiveVmas;
  readonly #pagemap: number;
  readonly #memory: number;
  #closed = false;

  /** @throws TargetError if the process is gone or not ours to look into */
  constructor(facts: LiveProcessFacts) {
    this.pid = facts.pid;
    this.name = facts.name;
    this.#startTicks = facts.startTicks;
    this.clearLedger = facts.clearLedger;
    if (facts.zeroFrame !== undefined) this.zeroFrame = facts.zeroFrame;
    this.#vmas = new LiveVmas(facts.pid);
    this.#pagemap = openProc(facts.pid, 'pagemap', 'look at the pages');
    try {
      this.#memory = openProc(facts.pid, 'mem', 'read the memory');
    } catch (error) {
      closeSync(this.#pagemap);
      throw error;
    }
  }

  /** Reads what is too slow for the freeze: the flags of the mappings. */
  prepare(): void {
    this.#vmas.refreshFlags();
  }

  vmas(): Vma[] {
    return this.#vmas.read();
  }

  readPagemap(startPage: number, pageCount: number, words: Uint32Array): number {
    const length = pageCount * PAGEMAP_WORD_BYTES;
    const bytes = this.#read(this.#pagemap, words, length, startPage * PAGEMAP_WORD_BYTES);
    // No words at all: the end of the address space, or of the process.
    if (bytes === 0) this.#requireAlive();
    return bytes / PAGEMAP_WORD_BYTES;
  }

  clearReferences(value: number): void {
    try {
      writeFileSync(`/proc/${this.pid}/clear_refs`, String(value));
    } catch (error) {
      throw procError(error, this.pid, 'clear the page marks');
    }
  }

  readMemory(startPage: number, pageCount: number, into: Uint8Array): number {
    const bytes = this.#read(this.#memory, into, pageCount * PAGE_SIZE, startPage * PAGE_SIZE);
    // A process that is killed loses its pages before its number: that must not look like unreadable memory.
    if (bytes < pageCount * PAGE_SIZE) this.#requireAlive();
    return Math.floor(bytes / PAGE_SIZE);
  }

  populatedPages(vma: Vma): readonly PageRange[] | undefined {
    return pagesOfObject(this.pid, vma, this.#mappedPages(vma));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.#pagemap);
    closeSync(this.#memory);
  }

  /** Bytes read at a position of pagemap or mem; 0 where nothing can be read. */
  #read(descriptor: number, into: Uint8Array | Uint32Array, length: number, position: number): number {
    try {
      return readAt(descriptor, into, length, position);
    } catch (error) {
      const code = errnoOf(error);
      if (code === 'EIO' || code === 'EFAULT') return 0;
      throw procError(error, this.pid, 'read the memory');
    }
  }

  #mappedPages(vma: Vma): PageRangeList {
    const pages = new PageRangeList();
    const words = new Uint32Array(65536);
    for (let page = vma.startPage; page < vma.endPage; page += words.length / 2) {
      const count = this.readPagemap(page, Math.min(words.length / 2, vma.endPage - page), words);
      for (let index = 0; index < count; index++) {
        if (words[index * 2 + 1]! >= PAGEMAP_HIGH.present) pages.append(page + index, page + index + 1);
      }
    }
    return pages;
  }

  #requireAlive(): void {
    const stat = readTaskStat(this.pid);
    if (stat === undefined || stat.startTicks !== this.#startTicks || isDeadState(stat.state)) {
      throw goneError(this.pid);
    }
  }
}

function openProc(pid: number, name: string, doing: string): number {
  try {
    return openSync(`/proc/${pid}/${name}`, 'r');
  } catch (error) {
    throw procError(error, pid, doing);
  }
}
