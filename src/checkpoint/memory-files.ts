import { type FileHandle, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { formatPageAddress, OutputError, PAGE_SIZE, pageCountOf } from '../core/index.ts';
import type { StoredVma } from '../image/index.ts';
import { GatheredWriter } from './gathered-writer.ts';
import { attempt, outputError } from './output-error.ts';

/** The files of one process's mappings, written in address order. */
export class VmaFiles {
  readonly #folder: string;
  readonly #vmas: readonly StoredVma[];
  readonly #writer = new GatheredWriter();
  #next = 0;
  #file: FileHandle | undefined;

  constructor(folder: string, vmas: readonly StoredVma[]) {
    this.#folder = folder;
    this.#vmas = vmas;
  }

  /** Writes adjacent pages; `bytes` is undefined for zeros, which a sparse file has already. */
  async write(startPage: number, pageCount: number, bytes: Uint8Array | undefined): Promise<void> {
    let page = startPage;
    while (page < startPage + pageCount) {
      const vma = await this.#vmaOf(page);
      const count = Math.min(vma.endPage, startPage + pageCount) - page;
      const from = (page - startPage) * PAGE_SIZE;
      if (bytes !== undefined) {
        await this.#writer.put(
          (page - vma.startPage) * PAGE_SIZE,
          bytes.subarray(from, from + count * PAGE_SIZE),
        );
      }
      page += count;
    }
  }

  /** Creates the files of the mappings that are left, without contents. */
  async finish(): Promise<void> {
    while (this.#next < this.#vmas.length) await this.#openNext();
    await this.#closeFile();
  }

  async close(): Promise<void> {
    await this.#writer.settle();
    await this.#file?.close();
    this.#file = undefined;
  }

  /** Moves on to the file of the mapping that `page` lies in. */
  async #vmaOf(page: number): Promise<StoredVma> {
    for (;;) {
      const current = this.#vmas[this.#next - 1];
      if (current !== undefined && page >= current.startPage && page < current.endPage) return current;
      if (this.#next >= this.#vmas.length) {
        throw new OutputError(
          `page ${formatPageAddress(page)} of the checkpoint lies in none of its mappings`,
        );
      }
      await this.#openNext();
    }
  }

  async #openNext(): Promise<void> {
    await this.#closeFile();
    const vma = this.#vmas[this.#next++]!;
    const path = join(this.#folder, memoryFileName(vma));
    this.#file = await attempt(path, () => open(path, 'wx', 0o600));
    const file = this.#file;
    await attempt(path, () => file.truncate(pageCountOf(vma) * PAGE_SIZE));
    this.#writer.begin(file, path);
  }

  async #closeFile(): Promise<void> {
    await this.#writer.finish();
    await this.close();
  }
}

/** `7f35a4a00000-7f35a4a21000.mem`: the addresses as the maps line has them, eight digits at least. */
export function memoryFileName(vma: { readonly startPage: number; readonly endPage: number }): string {
  const address = (page: number) => formatPageAddress(page).slice(2).padStart(8, '0');
  return `${address(vma.startPage)}-${address(vma.endPage)}.mem`;
}

/** @throws OutputError if something is in the directory already. */
export async function requireEmpty(directory: string): Promise<void> {
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw outputError(directory, error);
  });
  if (names.length === 0) return;
  throw new OutputError(`the output directory ${directory} is not empty`, {
    hint: 'name a directory that does not exist yet; ckpt overwrites nothing',
    data: { path: directory },
  });
}
