import { type FileHandle, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { formatPageAddress, OutputError, PAGE_SIZE, pageCountOf } from '../core/index.ts';
import type { StoredVma } from '../image/index.ts';

/** Bytes gathered before they are written. */
const WRITE_BYTES = 1024 * 1024;

/** The files of one process's mappings, written in address order. */
export class VmaFiles {
  readonly #folder: string;
  readonly #vmas: readonly StoredVma[];
  /** One is filled while the other is written. */
  #filling = new Uint8Array(WRITE_BYTES);
  #spare = new Uint8Array(WRITE_BYTES);
  #writing: Promise<void> = Promise.resolve();
  #buffered = 0;
  #bufferOffset = 0;
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
        await this.#put((page - vma.startPage) * PAGE_SIZE, bytes.subarray(from, from + count * PAGE_SIZE));
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
    // A failure was, or will be, thrown where the bytes were handed over.
    await this.#writing.catch(() => undefined);
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
  }

  async #put(offsetBytes: number, bytes: Uint8Array): Promise<void> {
    const fits = this.#buffered + bytes.length <= WRITE_BYTES;
    if (this.#bufferOffset + this.#buffered !== offsetBytes || !fits) {
      await this.#flush();
      this.#bufferOffset = offsetBytes;
    }
    this.#filling.set(bytes, this.#buffered);
    this.#buffered += bytes.length;
  }

  /** Begins to write what was gathered, after waiting for the write before. */
  async #flush(): Promise<void> {
    await this.#writing;
    const file = this.#file;
    if (file === undefined || this.#buffered === 0) return;
    const full = this.#filling.subarray(0, this.#buffered);
    this.#writing = this.#writeOut(file, full, this.#bufferOffset);
    // Observed here so that a failure which is met by the next flush is not reported as unhandled in the meantime.
    this.#writing.catch(() => undefined);
    [this.#filling, this.#spare] = [this.#spare, this.#filling];
    this.#buffered = 0;
  }

  async #writeOut(file: FileHandle, bytes: Uint8Array, offsetBytes: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await attempt(this.#folder, () =>
        file.write(bytes, done, bytes.length - done, offsetBytes + done),
      );
      done += bytesWritten;
    }
  }

  async #closeFile(): Promise<void> {
    await this.#flush();
    await this.#writing;
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

/** Does something with a file; failures become OutputErrors that name it. */
export async function attempt<Result>(path: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw outputError(path, error);
  }
}

function outputError(path: string, error: unknown): OutputError {
  const { code, message } = error as NodeJS.ErrnoException;
  const hint =
    code === 'ENOSPC' || code === 'EDQUOT'
      ? 'free some space, or restore to a larger file system'
      : code === 'EFBIG'
        ? 'the file system cannot hold a sparse file as large as this mapping; restore to another one, such as a tmpfs'
        : 'choose another --to directory';
  return new OutputError(`cannot write ${path}: ${message}`, { hint, data: { path }, cause: error });
}
