import { PAGEMAP_HIGH, pagemapFrame } from '../procfs/index.ts';
import type { ProcessView, Vma } from './view.ts';

/** Neighbouring pages whose pagemap words differ in nothing but the frame. */
export interface PagemapRow {
  readonly pid: number;
  readonly startPage: number;
  /** Exclusive. */
  readonly endPage: number;
  readonly present: boolean;
  readonly swapped: boolean;
  readonly file: boolean;
  readonly exclusive: boolean;
  readonly softDirty: boolean;
  readonly writeProtected: boolean;
  /** Frame, or place in swap, of the first page; 0 for none. */
  readonly frame: number;
}

const READ_PAGES = 1 << 16;
const FLAG_MASK = ~PAGEMAP_HIGH.frameMask;

/** The pagemap of one process as rows, mapping by mapping; pages with an all-zero word are left out. */
export function pagemapRows(view: ProcessView, vmas: readonly Vma[] = view.vmas()): PagemapRow[] {
  const words = new Uint32Array(READ_PAGES * 2);
  return vmas.flatMap((vma) => rowsOfMapping(view, vma, words));
}

function rowsOfMapping(view: ProcessView, vma: Vma, words: Uint32Array): PagemapRow[] {
  const rows: PagemapRow[] = [];
  let row: PagemapRow | undefined;
  let rowFlags = 0;
  for (let start = vma.startPage; start < vma.endPage; ) {
    const count = view.readPagemap(start, Math.min(READ_PAGES, vma.endPage - start), words);
    if (count === 0) break;
    for (let index = 0; index < count; index++) {
      const flags = words[index * 2 + 1]! & FLAG_MASK;
      if (flags === rowFlags) continue;
      if (row !== undefined) rows.push({ ...row, endPage: start + index });
      rowFlags = flags;
      row = flags === 0 ? undefined : rowAt(view.pid, start + index, flags, pagemapFrame(words, index));
    }
    start += count;
  }
  if (row !== undefined) rows.push({ ...row, endPage: vma.endPage });
  return rows;
}

function rowAt(pid: number, startPage: number, flags: number, frame: number): PagemapRow {
  return {
    pid,
    startPage,
    endPage: startPage + 1,
    present: (flags & PAGEMAP_HIGH.present) !== 0,
    swapped: (flags & PAGEMAP_HIGH.swapped) !== 0,
    file: (flags & PAGEMAP_HIGH.file) !== 0,
    exclusive: (flags & PAGEMAP_HIGH.exclusive) !== 0,
    softDirty: (flags & PAGEMAP_HIGH.softDirty) !== 0,
    writeProtected: (flags & PAGEMAP_HIGH.uffdWriteProtected) !== 0,
    frame,
  };
}
