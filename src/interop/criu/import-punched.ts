import { join } from 'node:path';
import { PAGE_SIZE, PageRangeList } from '../../core/index.ts';
import { messagesOf } from './images/messages.ts';
import { pagesFlagged } from './images/resolved-pages.ts';
import type { MemoryImage } from './images/types.ts';
import type { ImportLevel } from './import-levels.ts';
import { PAGE_FLAGS } from './page-server/protocol.ts';
import { memoryOfImages } from './state/memory-of-images.ts';

/** Bits of an address that name its page; higher ones are not those of user space (x86-64). */
const STACK_PAGE = 0x7fff_ffff_f000n;

const ZERO_PAGE = new Uint8Array(PAGE_SIZE);

/** So many pages that all became something else than zeros at once are no coincidence, also in a file without holes. */
const UNLIKELY_PAGES = 16;

/** Pages that a later directory has anew. */
interface Rewritten {
  readonly level: ImportLevel;
  /** By PID. */
  readonly pages: ReadonlyMap<number, PageRangeList>;
}

/**
 * Finds out from which directories of a chain CRIU has punched pages (`--auto-dedup`, `criu dedup`; criu/cr-dedup.c).
 * Their pagemaps say nothing of it: what the directory that deduplicated has anew reads as zeros in all before it. A
 * target that ran in between has written at least to its stack, which was no page of zeros; so a directory that has
 * nothing but zeros where a later one has pages was punched.
 */
export class PunchedPages {
  readonly #rewritten: readonly Rewritten[];
  readonly #anew: ReadonlyMap<number, PageRangeList>;
  readonly #zeros = new Map<number, [startPage: number, endPage: number][]>();
  readonly #hasHoles: boolean;

  /** @param later the levels behind it */
  constructor(level: ImportLevel, later: readonly ImportLevel[]) {
    this.#rewritten = later.map((other) => ({ level: other, pages: rewrittenBy(level, other) }));
    const anew = new Map<number, PageRangeList>();
    for (const { pages } of this.#rewritten) {
      for (const [pid, some] of pages) anew.set(pid, anew.get(pid)?.union(some) ?? some);
    }
    this.#anew = anew;
    this.#hasHoles = level.memories.some(({ image }) => image.hasHoles);
  }

  /** Looks at pages of a process or object of the level. */
  see(pid: number, pages: PageRangeList, content: Uint8Array): void {
    const anew = this.#anew.get(pid);
    if (anew === undefined) return;
    let at = 0;
    for (const { startPage, endPage } of pages) {
      const inRange = anew.within(startPage, endPage);
      for (const part of inRange) {
        for (let page = part.startPage; page < part.endPage; page++) {
          const from = at + (page - startPage) * PAGE_SIZE;
          if (isZero(content.subarray(from, from + PAGE_SIZE))) this.#addZero(pid, page);
        }
      }
      at += (endPage - startPage) * PAGE_SIZE;
    }
  }

  /**
   * The last level, as an index of the chain, that punched pages out of this one; undefined if none did. All levels up
   * to that one are not what they were. Call it when every page was seen.
   */
  lastPuncher(): number | undefined {
    const zeros = new Map([...this.#zeros].map(([pid, runs]) => [pid, sorted(runs)]));
    let last: number | undefined;
    for (const { level, pages } of this.#rewritten) {
      let count = 0;
      let isPunched = true;
      for (const [pid, some] of pages) {
        count += some.pageCount;
        if (some.difference(zeros.get(pid) ?? new PageRangeList()).pageCount > 0) isPunched = false;
      }
      if (isPunched && count >= (this.#hasHoles ? 1 : UNLIKELY_PAGES)) last = level.index;
    }
    return last;
  }

  #addZero(pid: number, page: number): void {
    const runs = this.#zeros.get(pid) ?? [];
    const last = runs.at(-1);
    if (last?.[1] === page) last[1] = page + 1;
    else runs.push([page, page + 1]);
    this.#zeros.set(pid, runs);
  }
}

/**
 * Whether pages were punched out of a directory of which no later one is known: the page of a thread's stack pointer,
 * which is hardly ever one of zeros, then reads as zeros. A copy may have filled the holes: then it must be so for all.
 */
export async function isPunchedItself({ directory, memories }: ImportLevel): Promise<boolean> {
  if (directory.isPreDump) return false;
  const hasHoles = memories.some(({ image }) => image.hasHoles);
  const read = memoryOfImages([directory]);
  let seen = 0;
  let zeros = 0;
  for (const { pid, threads } of directory.processes) {
    for (const tid of threads) {
      const [core] = await messagesOf(join(directory.path, `core-${tid}.img`), 'CORE');
      const stackPointer = core?.message('thread_info')?.message('gpregs')?.big('sp');
      if (stackPointer === undefined) continue;
      const page = await read(pid, Number(stackPointer & STACK_PAGE), PAGE_SIZE);
      if (page === undefined) continue;
      seen++;
      if (isZero(page)) zeros++;
    }
  }
  return zeros > 0 && (hasHoles || zeros === seen);
}

function rewrittenBy(level: ImportLevel, later: ImportLevel): ReadonlyMap<number, PageRangeList> {
  const images = new Map<number, MemoryImage>(later.memories.map(({ pid, image }) => [pid, image]));
  const pages = new Map<number, PageRangeList>();
  for (const { pid, image } of level.memories) {
    const other = images.get(pid);
    if (other === undefined) continue;
    const present = pagesFlagged(other.entries, PAGE_FLAGS.present);
    const both = pagesFlagged(image.entries, PAGE_FLAGS.present).intersection(present);
    if (both.pageCount > 0) pages.set(pid, both);
  }
  return pages;
}

function sorted(runs: readonly [startPage: number, endPage: number][]): PageRangeList {
  const list = new PageRangeList();
  for (const [startPage, endPage] of [...runs].sort((a, b) => a[0] - b[0])) list.append(startPage, endPage);
  return list;
}

function isZero(page: Uint8Array): boolean {
  return page[0] === 0 && Buffer.compare(page, ZERO_PAGE) === 0;
}
