import {
  type ContentProvider,
  Kernel,
  type KernelOptions,
  MAP,
  OpenFile,
  PagemapFile,
  PROT,
  type Process,
  Userfaultfd,
} from '../../src/kernel/index.ts';
import { PAGEMAP_HIGH } from '../../src/procfs/index.ts';

/** Where the tests map things; aligned to 512 GiB, so page n of a test has its place in its huge block. */
export const ARENA = 0x100000000;

export const READ = PROT.read;
export const WRITABLE = PROT.read | PROT.write;

const FLAG_LETTERS: readonly (readonly [number, string])[] = [
  [PAGEMAP_HIGH.present, 'P'],
  [PAGEMAP_HIGH.swapped, 'W'],
  [PAGEMAP_HIGH.file, 'F'],
  [PAGEMAP_HIGH.guard, 'G'],
  [PAGEMAP_HIGH.uffdWriteProtected, 'U'],
  [PAGEMAP_HIGH.exclusive, 'X'],
  [PAGEMAP_HIGH.softDirty, 'D'],
];

/** Letters of the pagemap word of an arena page: `PXD`; `-` for nothing. */
export function word(process: Process, page: number): string {
  const words = new Uint32Array(2);
  process.readPagemapWords(ARENA + page, 1, words);
  return FLAG_LETTERS.map(([bit, letter]) => (words[1]! & bit ? letter : '')).join('') || '-';
}

/** The words of arena pages [first, end), joined by blanks. */
export function words(process: Process, first: number, end: number): string {
  return Array.from({ length: end - first }, (_, index) => word(process, first + index)).join(' ');
}

/** Arena mappings as `0-3 sd 4-7`. */
export function layout(process: Process): string {
  return process
    .vmas()
    .filter(({ startPage }) => startPage >= ARENA && startPage < ARENA + 2 ** 20)
    .map(({ startPage, endPage, flags }) => {
      const range = `${startPage - ARENA}-${endPage - ARENA - 1}`;
      return flags.includes('sd') ? `${range} sd` : range;
    })
    .join(', ');
}

export function start(options: KernelOptions = {}): { kernel: Kernel; process: Process } {
  const kernel = new Kernel(options);
  return { kernel, process: kernel.spawn() };
}

/** Maps private anonymous memory in the arena. */
export function mapPrivate(process: Process, page: number, count: number, prot = WRITABLE): number {
  return process.mmap(ARENA + page, count, prot, MAP.private | MAP.anonymous | MAP.fixed) - ARENA;
}

export function mapShared(process: Process, page: number, count: number): number {
  return process.mmap(ARENA + page, count, WRITABLE, MAP.shared | MAP.anonymous | MAP.fixed) - ARENA;
}

export function write(process: Process, page: number, count = 1, value = 119): void {
  for (let index = 0; index < count; index++) {
    const result = process.store(ARENA + page + index, 0, value);
    if (result !== 0) throw new Error(`store to page ${page + index}: ${result}`);
  }
}

export function read(process: Process, page: number): number {
  return process.load(ARENA + page);
}

export function opened(kernel: Kernel, path: string, writable = true): OpenFile {
  const file = kernel.openFile(path, writable);
  if (!(file instanceof OpenFile)) throw new Error(`open ${path}: ${file}`);
  return file;
}

export function pagemapOf(process: Process): PagemapFile {
  const file = process.openPagemap();
  if (!(file instanceof PagemapFile)) throw new Error(`open pagemap: ${file}`);
  return file;
}

export function userfaultfdOf(process: Process, features: number): Userfaultfd {
  const uffd = process.userfaultfd(features);
  if (!(uffd instanceof Userfaultfd)) throw new Error(`userfaultfd: ${uffd}`);
  return uffd;
}

/**
 * Sources 1 to 3: page `key` as `stores` stores of stream (source - 1) leave it. A store changes one byte, at a place
 * that key and store number choose. Mixed streams cannot be described.
 */
export const COUNTING_CONTENT: ContentProvider = {
  sourceAfterStore: (source, stream) => (source === 0 || source === stream + 1 ? stream + 1 : -1),
  render: (source, key, stores, out) => {
    out.fill(0);
    for (let store = 1; store <= stores; store++)
      out[(key * 31 + store * 7) % 4096] = (source - 1 + store) & 255;
  },
  apply: (stream, key, storeNumber, bytes) => {
    bytes[(key * 31 + storeNumber * 7) % 4096] = (stream + storeNumber) & 255;
  },
};
