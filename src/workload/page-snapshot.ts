import { PAGE_SIZE } from '../core/index.ts';
import type { Kernel, Process } from '../kernel/index.ts';
import { PAGEMAP_HIGH, pagemapFrame } from '../procfs/index.ts';

/** The pages that a checkpoint of one process would keep, in address order, with a hash of 64 bits of each. */
export interface PageSnapshot {
  readonly pages: Float64Array;
  readonly low: Uint32Array;
  readonly high: Uint32Array;
  /** 1 for pages of shared memory, which others may change unseen. */
  readonly shared: Uint8Array;
  /** Pages that bit 55 names, in address order. */
  readonly softDirty: Float64Array;
  /** pagemap words that were looked at. */
  readonly scannedWords: number;
}

const READ_PAGES = 4096;

/**
 * Looks at everything a process has, without touching it. What counts as a page is what CRIU keeps: present or
 * swapped, not the shared page of zeros; of a private file mapping only what has been copied, of a shared one nothing:
 * the file has it.
 */
export function snapshotPages(process: Process, zeroFrame: number, withContents: boolean): PageSnapshot {
  const pages: number[] = [];
  const shared: number[] = [];
  const dirty: number[] = [];
  const words = new Uint32Array(READ_PAGES * 2);
  let scannedWords = 0;
  for (const vma of process.vmas()) {
    if (vma.pathname.startsWith('[v') || (vma.shared && !vma.pathname.startsWith('/dev/zero'))) continue;
    for (let start = vma.startPage; start < vma.endPage; start += READ_PAGES) {
      const count = process.readPagemapWords(start, Math.min(READ_PAGES, vma.endPage - start), words);
      scannedWords += count;
      for (let index = 0; index < count; index++) {
        if (!isKept(words, index, vma.shared, zeroFrame)) continue;
        pages.push(start + index);
        shared.push(vma.shared ? 1 : 0);
        if ((words[index * 2 + 1]! & PAGEMAP_HIGH.softDirty) !== 0) dirty.push(start + index);
      }
    }
  }
  const low = new Uint32Array(withContents ? pages.length : 0);
  const high = new Uint32Array(low.length);
  if (withContents) hashPages(process, pages, low, high);
  return {
    pages: Float64Array.from(pages),
    low,
    high,
    shared: Uint8Array.from(shared),
    softDirty: Float64Array.from(dirty),
    scannedWords,
  };
}

/** Snapshots of all processes of a machine that are alive, by PID. */
export function snapshotAll(
  kernel: Kernel,
  zeroFrame: number,
  withContents: boolean,
): Map<number, PageSnapshot> {
  const alive = kernel.processes().filter((process) => process.state === 'running');
  return new Map(
    alive.map((process) => [process.pid, snapshotPages(process, zeroFrame, withContents)] as const),
  );
}

function isKept(words: Uint32Array, index: number, shared: boolean, zeroFrame: number): boolean {
  const flags = words[index * 2 + 1]!;
  if ((flags & (PAGEMAP_HIGH.present | PAGEMAP_HIGH.swapped)) === 0) return false;
  if (!shared && (flags & PAGEMAP_HIGH.file) !== 0) return false;
  return (flags & PAGEMAP_HIGH.present) === 0 || pagemapFrame(words, index) !== zeroFrame;
}

function hashPages(process: Process, pages: readonly number[], low: Uint32Array, high: Uint32Array): void {
  const bytes = new Uint8Array(PAGE_SIZE);
  const words = new Uint32Array(bytes.buffer);
  for (let index = 0; index < pages.length; index++) {
    if (!process.peekPage(pages[index]!, bytes)) bytes.fill(0);
    let first = 0x811c9dc5;
    let second = 0x5bd1e995;
    for (let word = 0; word < words.length; word++) {
      first = Math.imul(first ^ words[word]!, 0x01000193);
      second = Math.imul((second << 13) | (second >>> 19), 5) + words[word]!;
    }
    low[index] = first;
    high[index] = second;
  }
}
