import { type FileHandle, lstat, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import {
  attempt,
  type CheckpointName,
  openNamed,
  proveMemoryDigest,
  readStore,
  requireRestorable,
  type WorkProgress,
} from '../checkpoint/index.ts';
import { OutputError, PAGE_SIZE } from '../core/index.ts';
import type { CheckpointReader } from '../store/index.ts';
import { type CorePlan, planProcessCore } from './core-plan.ts';
import { writeCore } from './core-writer.ts';

/** Which process of which checkpoint. */
export interface CoreSource {
  readonly storeDirectory: string;
  readonly checkpoint: CheckpointName;
  /** The root of the target unless given. */
  readonly pid?: number | undefined;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: WorkProgress) => void;
}

/** A core file that is to be written. */
export interface CoreRequest extends CoreSource {
  /** Must not exist. */
  readonly outputFile: string;
}

/** What a core holds. */
export interface CoreFacts {
  readonly checkpoint: number;
  readonly pid: number;
  readonly threads: number;
  /** Program headers of memory. */
  readonly segments: number;
  readonly pages: number;
  /** Length of the file; its holes take no room. */
  readonly bytes: number;
  /** Path of the program, to be given to the debugger; null if nobody could tell. */
  readonly exe: string | null;
  readonly warnings: readonly string[];
}

/** What was written, and where. */
export interface CoreResult extends CoreFacts {
  readonly file: string;
  readonly memoryDigest: string;
  readonly microseconds: number;
}

/**
 * Writes one process of a checkpoint as an ELF core, for debuggers. Every page is proved by its digest. The file
 * appears complete, or not at all, and is for its owner alone.
 * @throws UnsupportedError if the checkpoint has no registers, TargetError for a pre-dump or an unknown process,
 *   IntegrityError if anything is damaged, OutputError if the file exists or cannot be written.
 */
export async function writeCoreFile(request: CoreRequest): Promise<CoreResult> {
  const started = performance.now();
  const { outputFile } = request;
  const partial = join(dirname(outputFile), `.${basename(outputFile)}.partial-${process.pid}`);
  await requireAbsent(outputFile);
  try {
    const { reader, facts } = await withCheckpoint(request, async (reader, plan) => {
      const file = await attempt(outputFile, () => open(partial, 'wx', 0o600));
      try {
        const facts = await fillCore(reader, plan, file, outputFile, request);
        await attempt(outputFile, () => file.sync());
        return { reader, facts };
      } finally {
        await file.close();
      }
    });
    await requireAbsent(outputFile);
    await attempt(outputFile, () => rename(partial, outputFile));
    await syncDirectory(dirname(outputFile));
    return {
      ...facts,
      file: outputFile,
      memoryDigest: reader.manifest.memoryDigest,
      microseconds: Math.round((performance.now() - started) * 1000),
    };
  } finally {
    await rm(partial, { force: true });
  }
}

/** Opens the checkpoint, proves what can be proved beforehand, and lends it to `use` with the plan of its core. */
export async function withCheckpoint<Result>(
  { storeDirectory, checkpoint, pid }: CoreSource,
  use: (reader: CheckpointReader, plan: CorePlan) => Promise<Result>,
): Promise<Result> {
  return readStore(storeDirectory, async (store) => {
    const reader = await openNamed(store, checkpoint);
    requireRestorable(reader);
    const plan = await planProcessCore(reader, pid);
    await proveMemoryDigest(reader);
    return use(reader, plan);
  });
}

/** Writes a planned core into an empty file. */
export async function fillCore(
  reader: CheckpointReader,
  { contents, process, threads, exe, warnings }: CorePlan,
  file: FileHandle,
  path: string,
  { signal, onProgress }: CoreSource,
): Promise<CoreFacts> {
  const totalPages = contents.present.pageCount;
  let donePages = 0;
  await writeCore(file, path, contents, reader.pages(process.pid), (pageCount) => {
    signal?.throwIfAborted();
    donePages += pageCount;
    onProgress?.({ phase: 'writing the core', donePages, totalPages, doneBytes: donePages * PAGE_SIZE });
  });
  return {
    checkpoint: reader.manifest.number,
    pid: process.pid,
    threads,
    segments: contents.layout.programHeaders - 1,
    pages: totalPages,
    bytes: contents.layout.sizeBytes,
    exe: exe?.path ?? null,
    warnings,
  };
}

/** @throws OutputError if there is something at `path` already. */
async function requireAbsent(path: string): Promise<void> {
  const found = await lstat(path).then(
    () => true,
    () => false,
  );
  if (!found) return;
  throw new OutputError(`${path} exists already`, {
    hint: 'name a file that does not exist yet; ckpt overwrites nothing',
    data: { path },
  });
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await attempt(path, () => open(path, 'r'));
  try {
    await attempt(path, () => handle.sync());
  } finally {
    await handle.close();
  }
}
