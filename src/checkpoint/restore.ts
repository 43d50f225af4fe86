import { rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { formatPageAddress, IntegrityError, PAGE_SIZE } from '../core/index.ts';
import type { StoredProcess } from '../image/index.ts';
import { formatMapsLine } from '../procfs/index.ts';
import { type CheckpointReader, makeDirectory, type PageRun } from '../store/index.ts';
import type { WorkProgress } from './dump-types.ts';
import { requireEmpty, VmaFiles } from './memory-files.ts';
import { proveMemoryDigest } from './memory-proof.ts';
import { attempt } from './output-error.ts';
import { type CheckpointName, openDamaged, openNamed, readStore, requireRestorable } from './read-store.ts';

/** What to restore, and to where. */
export interface RestoreRequest {
  readonly storeDirectory: string;
  readonly checkpoint: CheckpointName;
  /** Must not exist, or be empty. */
  readonly outputDirectory: string;
  /** Of a damaged store: bring back what can be proved, leave holes for the rest, and list it. */
  readonly salvage?: boolean;
  /** Decompression threads; by default one for each core. */
  readonly workers?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: WorkProgress) => void;
}

/** Pages that a salvage could not bring back. */
export interface LostPages {
  readonly pid: number;
  readonly startPage: number;
  /** Exclusive. */
  readonly endPage: number;
  readonly why: string;
}

/** What a restore wrote. */
export interface RestoreResult {
  readonly checkpoint: number;
  readonly directory: string;
  /**
   * One file for each mapping, beside `maps`; in a folder for each PID, and `shared-memory-ID` for each object of shared
   * memory, if there is more than one process.
   */
  readonly files: number;
  readonly pages: number;
  readonly bytes: number;
  /** Blocks read from packs; each that is needed is read once. */
  readonly blocksRead: number;
  readonly memoryDigest: string;
  /** Empty unless a salvage met damage; then the memory is not the one of the digest. */
  readonly lost: readonly LostPages[];
  readonly microseconds: number;
}

/**
 * Writes the memory of a checkpoint: for every mapping a sparse file `<start>-<end>.mem` in which absent pages are holes,
 * and `maps`. Every page is proved by its digest, and the whole by the memory digest. The directory appears
 * complete, or not at all. A salvage that lost pages lists them in the file `lost`.
 * @throws IntegrityError if anything is damaged (in a salvage: if the manifest is), OutputError if the files cannot be written.
 */
export async function restoreToDirectory(request: RestoreRequest): Promise<RestoreResult> {
  const started = performance.now();
  return readStore(
    request.storeDirectory,
    async (store) => {
      const open = request.salvage === true ? openDamaged : openNamed;
      const reader = await open(store, request.checkpoint);
      requireRestorable(reader);
      await requireEmpty(request.outputDirectory);
      const partial = join(
        dirname(request.outputDirectory),
        `.${basename(request.outputDirectory)}.partial-${process.pid}`,
      );
      try {
        if (request.salvage !== true) await proveMemoryDigest(reader);
        const lost: LostPages[] = [];
        const written = await writeProcesses(reader, partial, request, lost);
        if (lost.length > 0) await writeLost(partial, lost);
        else if (request.salvage === true) await proveMemoryDigest(reader);
        await attempt(request.outputDirectory, () => rename(partial, request.outputDirectory));
        return {
          checkpoint: reader.manifest.number,
          directory: request.outputDirectory,
          ...written,
          bytes: written.pages * PAGE_SIZE,
          blocksRead: reader.statistics.blocksRead,
          memoryDigest: reader.manifest.memoryDigest,
          lost,
          microseconds: Math.round((performance.now() - started) * 1000),
        };
      } finally {
        await rm(partial, { recursive: true, force: true });
      }
    },
    request.workers,
  );
}

async function writeProcesses(
  reader: CheckpointReader,
  directory: string,
  request: RestoreRequest,
  lost: LostPages[],
): Promise<{ files: number; pages: number }> {
  const { processes, pages } = reader.manifest;
  const progress = { done: 0, total: pages.present };
  let files = 0;
  for (const stored of processes) {
    const folder = processes.length === 1 ? directory : join(directory, folderNameOf(stored));
    await attempt(folder, () => makeDirectory(folder));
    const pages = request.salvage === true ? salvaged(reader, stored, lost) : reader.pages(stored.pid);
    files += await writeProcess(pages, stored, folder, request, progress);
  }
  return { files, pages: progress.done };
}

function folderNameOf({ pid, sharedMemory }: StoredProcess): string {
  return sharedMemory === undefined ? String(pid) : `shared-memory-${sharedMemory}`;
}

/** The pages of a process that can be proved; the others go to `lost`. */
async function* salvaged(
  reader: CheckpointReader,
  { pid, vmas }: StoredProcess,
  lost: LostPages[],
): AsyncGenerator<PageRun> {
  try {
    yield* reader.salvage(pid, (startPage, endPage, { message }) =>
      addLost(lost, pid, startPage, endPage, message),
    );
  } catch (cause) {
    if (!(cause instanceof IntegrityError)) throw cause;
    // Without the root of its index nothing of the process can be found.
    for (const { startPage, endPage } of vmas) addLost(lost, pid, startPage, endPage, cause.message);
  }
}

/** Adds lost pages, joined to the last ones where they adjoin for the same reason. */
function addLost(lost: LostPages[], pid: number, startPage: number, endPage: number, why: string): void {
  const last = lost.at(-1);
  if (last?.pid === pid && last.endPage === startPage && last.why === why) {
    lost[lost.length - 1] = { ...last, endPage };
  } else lost.push({ pid, startPage, endPage, why });
}

async function writeLost(directory: string, lost: readonly LostPages[]): Promise<void> {
  const lines = lost.map(
    ({ pid, startPage, endPage, why }) =>
      `${pid} ${formatPageAddress(startPage)}-${formatPageAddress(endPage)} ${why}\n`,
  );
  await attempt(directory, () => writeFile(join(directory, 'lost'), lines.join(''), { mode: 0o600 }));
}

async function writeProcess(
  runs: AsyncIterable<PageRun>,
  stored: StoredProcess,
  folder: string,
  request: RestoreRequest,
  progress: { done: number; readonly total: number },
): Promise<number> {
  const maps = stored.vmas.map((vma) => `${formatMapsLine(vma)}\n`).join('');
  await attempt(folder, () => writeFile(join(folder, 'maps'), maps, { mode: 0o600 }));
  const writer = new VmaFiles(folder, stored.vmas);
  try {
    for await (const { startPage, pageCount, bytes } of runs) {
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
