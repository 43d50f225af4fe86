import type { FileHandle } from 'node:fs/promises';
import {
  type CheckpointName,
  openNamed,
  proveMemoryDigest,
  readStore,
  requireRestorable,
  type WorkProgress,
  writeWholeFile,
} from '../checkpoint/index.ts';
import { PAGE_SIZE } from '../core/index.ts';
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
  const { reader, facts } = await writeWholeFile(outputFile, (file) =>
    withCheckpoint(request, async (reader, plan) => ({
      reader,
      facts: await fillCore(reader, plan, file, outputFile, request),
    })),
  );
  return {
    ...facts,
    file: outputFile,
    memoryDigest: reader.manifest.memoryDigest,
    microseconds: Math.round((performance.now() - started) * 1000),
  };
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
