import { mkdir, open, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { formatPageAddress, OutputError, PAGE_SIZE, pageCountOf } from '../core/index.ts';
import type { StoredProcess, StoredVma } from '../image/index.ts';
import { formatMapsLine } from '../procfs/index.ts';
import type { CheckpointReader } from '../store/index.ts';
import type { WorkProgress } from './dump-types.ts';
import { proveMemoryDigest } from './memory-proof.ts';
import { type CheckpointName, openNamed, readStore, requireRestorable } from './read-store.ts';

/** What to restore, and to where. */
export interface RestoreRequest {
  readonly storeDirectory: string;
  readonly checkpoint: CheckpointName;
  /** Must not exist, or be empty. */
  readonly outputDirectory: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: WorkProgress) => void;
}

/** What a restore wrote. */
export interface RestoreResult {
  readonly checkpoint: number;
  readonly directory: string;
  /** One file for each mapping, beside `maps`; in a folder for each PID if there are several processes. */
  readonly files: number;
  readonly pages: number;
  readonly bytes: number;
  /** Blocks read from packs; each that is needed is read once. */
  readonly blocksRead: number;
  readonly memoryDigest: string;
  readonly microseconds: number;
}

/**
 * Writes the memory of a checkpoint: for every mapping a sparse file `<start>-<end>.mem` in which absent pages are holes,
 * and `maps`. Every page is proved by its digest, and the whole by the memory digest. The directory appears
 * complete, or not at all.
 * @throws IntegrityError if anything is damaged, OutputError if the files cannot be written.
 */
export async function restoreToDirectory(request: RestoreRequest): Promise<RestoreResult> {
  const started = performance.now();
  return readStore(request.storeDirectory, async (store) => {
    const reader = await openNamed(store, request.checkpoint);
    requireRestorable(reader);
    await requireEmpty(request.outputDirectory);
    const partial = join(
      dirname(request.outputDirectory),
      `.${basename(request.outputDirectory)}.partial-${process.pid}`,
    );
    try {
      await proveMemoryDigest(reader);
      const written = await writeProcesses(reader, partial, request);
      await rename(partial, request.outputDirectory).catch((error: unknown) => {
        throw outputError(request.outputDirectory, error);
      });
      return {
        checkpoint: reader.manifest.number,
        directory: request.outputDirectory,
        ...written,
        bytes: written.pages * PAGE_SIZE,
        blocksRead: reader.statistics.blocksRead,
        memoryDigest: reader.manifest.memoryDigest,
        microseconds: Math.round((performance.now() - started) * 1000),
      };
    } finally {
      await rm(partial, { recursive: true, force: true });
    }
  });
}

async function writeProcesses(
  reader: CheckpointReader,
  directory: string,
  request: RestoreRequest,
): Promise<{ files: number; pages: number }> {
  const { processes, pages } = reader.manifest;
  const progress = { done: 0, total: pages.present };
  let files = 0;
  for (const stored of processes) {
    const folder = processes.length === 1 ? directory : join(directory, String(stored.pid));
    await attempt(folder, () => mkdir(folder, { recursive: true, mode: 0o700 }));
    files += await writeProcess(reader, stored, folder, request, progress);
  }
  return { files, pages: progress.done };
}

async function writeProcess(
  reader: CheckpointReader,
  stored: StoredProcess,
  folder: string,
  request: RestoreRequest,
  progress: { done: number; readonly total: number },
): Promise<number> {
  const maps = stored.vmas.map((vma) => `${formatMapsLine(vma)}\n`).join('');
  await attempt(folder, () => writeFile(join(folder, 'maps'), maps, { mode: 0o600 }));
  const writer = new VmaFiles(folder, stored.vmas);
  try {
    for await (const { startPage, pageCount, bytes } of reader.pages(stored.pid)) {
      request.signal?.throwIfAborted();
      await writer.write(startPage, pageCount, bytes);
      progress.done += pageCount;
      request.onProgress?.({
        phase: 'restoring',
        donePages: progress.done,
        totalPages: progress.total,
        doneBytes: progress.done * PAGE_SIZE,
      });
    }
    await writer.finish();
  } finally {
    await writer.close();
  }
  return stored.vmas.length;
}

/** Bytes gathered before they are written. */
const WRITE_BYTES = 1024 * 1024;

/** The files of one process's mappings, written in address order. */
class VmaFiles {
  readonly #folder: string;
  readonly #vmas: readonly StoredVma[];
  readonly #buffer = new Uint8Array(WRITE_BYTES);
  #buffered = 0;
  #bufferOffset = 0;
  #next = 0;
  #file: Awaited<ReturnType<typeof open>> | undefined;

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
    this.#buffer.set(bytes, this.#buffered);
    this.#buffered += bytes.length;
  }

  async #flush(): Promise<void> {
    const file = this.#file;
    for (let done = 0; file !== undefined && done < this.#buffered; ) {
      const { bytesWritten } = await attempt(this.#folder, () =>
        file.write(this.#buffer, done, this.#buffered - done, this.#bufferOffset + done),
      );
      done += bytesWritten;
    }
    this.#buffered = 0;
  }

  async #closeFile(): Promise<void> {
    await this.#flush();
    await this.close();
  }
}

/** `7f35a4a00000-7f35a4a21000.mem`: the addresses as the maps line has them, eight digits at least. */
export function memoryFileName(vma: { readonly startPage: number; readonly endPage: number }): string {
  const address = (page: number) => formatPageAddress(page).slice(2).padStart(8, '0');
  return `${address(vma.startPage)}-${address(vma.endPage)}.mem`;
}

async function requireEmpty(directory: string): Promise<void> {
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

async function attempt<Result>(path: string, work: () => Promise<Result>): Promise<Result> {
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
