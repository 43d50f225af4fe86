import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { PAGE_SIZE, type PageRange, PageRangeList } from '../core/index.ts';
import type { Vma } from './view.ts';

const CHUNK_PAGES = 256;
/** Unit of st_blocks. */
const BLOCK_BYTES = 512;

/**
 * Finds the pages that the object behind a shared mapping holds, mapped by the process or not, without bringing holes
 * into being: reading the object's file through map_files returns zeros for a hole and leaves it one, which reading
 * the process's memory would not (mm/shmem.c, shmem_file_read_iter). `mapped` are the pages that pagemap shows; the
 * object's block count often tells that these are all. An allocated page of zeros may be left out: it reads the same.
 *
 * @returns undefined if the object cannot be opened, which takes CAP_CHECKPOINT_RESTORE
 */
export function pagesOfObject(
  pid: number,
  vma: Vma,
  mapped: PageRangeList,
): readonly PageRange[] | undefined {
  const range = `${vma.startPage.toString(16)}000-${vma.endPage.toString(16)}000`;
  let descriptor: number;
  try {
    descriptor = openSync(`/proc/${pid}/map_files/${range}`, 'r');
  } catch {
    return undefined;
  }
  try {
    const { blocks, size } = fstatSync(descriptor);
    const allocatedPages = Math.floor((blocks * BLOCK_BYTES) / PAGE_SIZE);
    const objectPages = Math.ceil(size / PAGE_SIZE) - vma.offsetPages;
    const endPage = Math.min(vma.endPage, vma.startPage + Math.max(0, objectPages));
    const found = findData(descriptor, vma, endPage, mapped, allocatedPages - mapped.pageCount);
    return [...mapped.union(found)];
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Remembers, while the target stands still, which pages the objects behind shared mappings hold: every process of a
 * tree may map the same one, and finding out means reading it.
 */
export class KnownObjects {
  readonly #pages = new Map<string, readonly PageRange[] | undefined>();
  #remembers = false;

  /** Call it when the target has come to stand still. */
  begin(): void {
    this.#remembers = true;
  }

  /** Call it before the target goes on. */
  end(): void {
    this.#remembers = false;
    this.#pages.clear();
  }

  /** What `find` finds, or what it found for another mapping of the same part of the object at the same place. */
  pagesOf(vma: Vma, find: () => readonly PageRange[] | undefined): readonly PageRange[] | undefined {
    if (!this.#remembers || vma.inode === 0) return find();
    const { startPage, endPage, offsetPages, deviceMajor, deviceMinor, inode } = vma;
    const key = [startPage, endPage, offsetPages, deviceMajor, deviceMinor, inode].join();
    if (!this.#pages.has(key)) this.#pages.set(key, find());
    return this.#pages.get(key);
  }
}

/** Reads what is not in `mapped` and returns the pages with data, at most `wanted` of them. */
function findData(
  descriptor: number,
  vma: Vma,
  endPage: number,
  mapped: PageRangeList,
  wanted: number,
): PageRangeList {
  const found = new PageRangeList();
  const chunk = Buffer.alloc(CHUNK_PAGES * PAGE_SIZE);
  const zeros = Buffer.alloc(chunk.length);
  for (let page = vma.startPage; page < endPage && found.pageCount < wanted; page += CHUNK_PAGES) {
    const count = Math.min(CHUNK_PAGES, endPage - page);
    if (mapped.within(page, page + count).pageCount === count) continue;
    const position = (page - vma.startPage + vma.offsetPages) * PAGE_SIZE;
    const bytes = readSync(descriptor, chunk, 0, count * PAGE_SIZE, position);
    if (chunk.compare(zeros, 0, bytes, 0, bytes) === 0) continue;
    for (let index = 0; index * PAGE_SIZE < bytes; index++) {
      const [from, to] = [index * PAGE_SIZE, Math.min(bytes, (index + 1) * PAGE_SIZE)];
      const isZero = chunk.compare(zeros, from, to, from, to) === 0;
      if (!isZero && !mapped.has(page + index)) found.append(page + index, page + index + 1);
    }
  }
  return found;
}
