import { closeSync, openSync, writeFileSync } from 'node:fs';
import { type PageRange, PageRangeList } from '../core/index.ts';
import {
  PAGEMAP_HIGH,
  PAGEMAP_WORD_BYTES,
  type PagemapScanRequest,
  type PagemapScanResult,
} from '../procfs/index.ts';
import { errnoOf, goneError, isDeadState, procError, readAt, readTaskStat } from './live-files.ts';
import type { LiveHold } from './live-hold.ts';
import { LiveMemory } from './live-memory.ts';
import { type KnownObjects, pagesOfObject } from './live-object.ts';
import type { TreeMember } from './live-tree.ts';
import { LiveVmas } from './live-vmas.ts';
import { LiveWriteProtection } from './live-write-protection.ts';
import type { Native } from './native/calls.ts';
import { hasErrno } from './native/tracee.ts';
import { isRegistered, PageScanner } from './page-scan.ts';
import type { ClearLedger, ProcessView, Vma } from './view.ts';

/** What a view has to know of its process and of the machine. */
export interface LiveProcessFacts {
  readonly member: TreeMember;
  /** See `processFingerprint`. */
  readonly fingerprint: string;
  readonly zeroFrame: number | undefined;
  readonly clearLedger: ClearLedger;
  readonly native: Native | undefined;
  /** What is known of the memory objects of the target. */
  readonly objects: KnownObjects;
  /** Whether pages can be write-protected. */
  readonly mayProtect: boolean;
}

/**
 * A live process through /proc. pagemap and mem stay open for the whole life of the view: both are bound to the
 * address space that the process had when they were opened, so an exec cannot slip another one under a dump.
 */
export class LiveProcessView implements ProcessView {
  readonly pid: number;
  readonly fingerprint: string;
  readonly zeroFrame?: number;
  readonly clearLedger: ClearLedger;
  readonly writeProtection?: LiveWriteProtection;
  readonly scanPagemap?: (request: PagemapScanRequest) => PagemapScanResult;
  /** What was last seen of the process: its parent and its name may change. */
  member: TreeMember;
  readonly #vmas: LiveVmas;
  readonly #objects: KnownObjects;
  readonly #pagemap: number;
  readonly #memory: LiveMemory;
  /** Present while ptrace holds the process; whoever stops and continues it sets this. */
  hold: LiveHold | undefined;
  #closed = false;

  /** @throws TargetError if the process is gone or not ours to look into */
  constructor(facts: LiveProcessFacts) {
    const { pid } = facts.member;
    this.pid = pid;
    this.member = facts.member;
    this.fingerprint = facts.fingerprint;
    this.clearLedger = facts.clearLedger;
    if (facts.zeroFrame !== undefined) this.zeroFrame = facts.zeroFrame;
    this.#vmas = new LiveVmas(pid);
    this.#objects = facts.objects;
    this.#pagemap = openProc(pid, 'pagemap', 'look at the pages');
    try {
      const readPagemap = this.readPagemap.bind(this);
      const descriptor = openProc(pid, 'mem', 'read the memory');
      this.#memory = new LiveMemory(pid, descriptor, readPagemap, facts.native);
    } catch (error) {
      closeSync(this.#pagemap);
      throw error;
    }
    if (facts.native !== undefined && facts.mayProtect) {
      const scanner = new PageScanner(facts.native);
      this.scanPagemap = (request) => {
        this.#requireOpen();
        try {
          return scanner.scan(this.#pagemap, request);
        } catch (error) {
          throw hasErrno(error, 'ESRCH') ? goneError(pid, error) : error;
        }
      };
      this.writeProtection = new LiveWriteProtection({
        pid,
        owner: `${pid} ${facts.fingerprint}`,
        native: facts.native,
        isRegistered: (page) => isRegistered(scanner, this.#pagemap, page),
        hold: () => this.hold,
      });
    }
  }

  get parentPid(): number {
    return this.member.parentPid;
  }

  get name(): string {
    return this.member.stat.name;
  }

  /**
   * Our descriptor of its pagemap, open as long as this view. It is bound to the address space that the process had
   * when the view was made.
   */
  get pagemapDescriptor(): number {
    return this.#pagemap;
  }

  /**
   * Whether the process still has the address space that it had when the view was made: an exec that puts everything
   * where it was before leaves the fingerprint as it is.
   */
  isCurrent(): boolean {
    return this.#read(this.#pagemap, new Uint32Array(2), PAGEMAP_WORD_BYTES, 0) > 0;
  }

  /** Reads what is too slow for the freeze: the flags of the mappings. */
  prepare(): void {
    this.#vmas.refreshFlags();
    this.writeProtection?.prepare();
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
    this.#requireOpen();
    this.hold?.settle(this.pid);
    const read = this.#memory.read(startPage, pageCount, into);
    // A process that is killed loses its pages before its number: that must not look like unreadable memory.
    if (read < pageCount) this.#requireAlive();
    return read;
  }

  readPages(pages: Float64Array, from: number, pageCount: number, into: Uint8Array): number {
    this.#requireOpen();
    this.hold?.settle(this.pid);
    const read = this.#memory.readPages(pages, from, pageCount, into);
    if (read < pageCount) this.#requireAlive();
    return read;
  }

  populatedPages(vma: Vma): readonly PageRange[] | undefined {
    return this.#objects.pagesOf(vma, () => pagesOfObject(this.pid, vma, this.#mappedPages(vma)));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.#pagemap);
    this.#memory.close();
    this.writeProtection?.close();
  }

  /** Bytes read at a position of pagemap or mem; 0 where nothing can be read. */
  #read(descriptor: number, into: Uint8Array | Uint32Array, length: number, position: number): number {
    this.#requireOpen();
    try {
      return readAt(descriptor, into, length, position);
    } catch (error) {
      const code = errnoOf(error);
      if (code === 'EIO' || code === 'EFAULT') return 0;
      throw procError(error, this.pid, 'read the memory');
    }
  }

  /** The number of a closed descriptor may stand for another file by now. */
  #requireOpen(): void {
    if (this.#closed) throw goneError(this.pid);
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
    if (stat === undefined || stat.startTicks !== this.member.stat.startTicks || isDeadState(stat.state)) {
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
