import type { FileHandle } from 'node:fs/promises';
import { pipeline } from 'node:stream';
import { createGzip } from 'node:zlib';
import {
  type CheckpointName,
  GatheredWriter,
  openNamed,
  proveMemoryDigest,
  readStore,
  type WorkProgress,
  writeWholeFile,
} from '../../../checkpoint/index.ts';
import { type CodecPool, compressZstdStream } from '../../../codec/index.ts';
import { PAGE_SIZE, UnsupportedError } from '../../../core/index.ts';
import type { Store } from '../../../store/index.ts';
import { type ExportLevel, planLevels } from '../export-levels.ts';
import type { CriuVersion } from '../export-types.ts';
import { type ArchiveProgress, archiveMembers } from './archive-members.ts';
import type { ArchiveCompression } from './archive-stream.ts';
import { writeTar } from './tar-writer.ts';

/** podman's own choice, as it passes it to its encoder. */
const ZSTD_LEVEL = 3;

/** What `podman container restore --import` restores a container by, beside its images. */
const NEEDED_BY_PODMAN = ['config.dump', 'spec.dump'] as const;

/** Which archive to write, and to where. */
export interface ArchiveExportRequest {
  readonly storeDirectory: string;
  readonly checkpoint: CheckpointName;
  /** Must not exist. */
  readonly outputPath: string;
  /** zstd unless given, as podman does. */
  readonly compression?: ArchiveCompression | undefined;
  /** Writes pagemaps as this version does; as every version can read them unless given. */
  readonly criuVersion?: CriuVersion | undefined;
  /** Threads that compress; one for each core unless given. */
  readonly workers?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: WorkProgress) => void) | undefined;
}

/** What an export wrote. */
export interface ArchiveExportResult {
  readonly checkpoint: number;
  readonly outputPath: string;
  readonly compression: ArchiveCompression;
  /** Members of the archive. */
  readonly members: number;
  /** In its pages files, those of zeros among them. */
  readonly pages: number;
  /** Of all files in it, unpacked. */
  readonly unpackedBytes: number;
  /** Of the archive. */
  readonly archiveBytes: number;
  /** What podman will miss, as sentences. */
  readonly warnings: readonly string[];
  readonly memoryDigest: string;
  readonly microseconds: number;
}

/**
 * Writes a checkpoint that came from a container archive as such an archive again, without parents: its images flat, and
 * all that stood around them as it was. It streams: memory use does not depend on sizes, and nothing is written twice.
 * The archive appears complete, or not at all, for its owner alone.
 * @throws UnsupportedError if the checkpoint came from no archive, TargetError if it cannot be restored, IntegrityError
 *   if anything is damaged, OutputError if there is something already or nothing can be written.
 */
export async function exportArchive(request: ArchiveExportRequest): Promise<ArchiveExportResult> {
  const started = performance.now();
  const { outputPath, checkpoint, compression = 'zstd' } = request;
  const write = async (store: Store, pool: CodecPool): Promise<ArchiveExportResult> => {
    const reader = await openNamed(store, checkpoint);
    const { levels } = await planLevels(store, reader, { layout: 'flat' });
    const level = levels[0]!;
    requireArchive(level);
    await proveMemoryDigest(reader);
    const totals: ArchiveProgress = { members: 0, donePages: 0, doneBytes: 0 };
    const members = archiveMembers(level, request.criuVersion, totals, () => report(request, level, totals));
    const tar = writeTar(members, new Date(reader.manifest.createdAt));
    const archiveBytes = await writeWholeFile(outputPath, (file) =>
      writeStream(file, outputPath, compressed(tar, compression, pool)),
    );
    return {
      checkpoint: reader.manifest.number,
      outputPath,
      compression,
      members: totals.members,
      pages: totals.donePages,
      unpackedBytes: totals.doneBytes,
      archiveBytes,
      warnings: warningsOf(level),
      memoryDigest: reader.manifest.memoryDigest,
      microseconds: Math.round((performance.now() - started) * 1000),
    };
  };
  return readStore(request.storeDirectory, write, request.workers);
}

function requireArchive({ listing, reader }: ExportLevel): void {
  if (listing.imagesPath !== '') return;
  const { number } = reader.manifest;
  throw new UnsupportedError(
    `checkpoint ${number} came from a directory of CRIU: it has nothing of a container beside its images`,
    { hint: `'ckpt export --format criu --at ${number}' writes the directory`, data: { checkpoint: number } },
  );
}

function warningsOf({ listing }: ExportLevel): string[] {
  const missing = NEEDED_BY_PODMAN.filter((needed) => !listing.files.some(({ name }) => name === needed));
  if (missing.length === 0) return [];
  return [
    `the archive that was imported had no ${missing.join(' and no ')}: podman will not restore this one`,
  ];
}

function report(
  { signal, onProgress }: ArchiveExportRequest,
  { memories }: ExportLevel,
  done: ArchiveProgress,
): void {
  signal?.throwIfAborted();
  onProgress?.({
    phase: 'exporting',
    donePages: done.donePages,
    totalPages: memories.reduce((sum, { stored }) => sum + stored.pageCount, 0),
    doneBytes: done.doneBytes,
  });
}

function compressed(
  tar: AsyncIterable<Uint8Array>,
  compression: ArchiveCompression,
  pool: CodecPool,
): AsyncIterable<Uint8Array> {
  if (compression === 'none') return tar;
  return compression === 'gzip' ? gzipped(tar) : compressZstdStream(tar, pool, ZSTD_LEVEL);
}

async function* gzipped(tar: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const gzip = createGzip({ chunkSize: 16 * PAGE_SIZE });
  // What fails comes out of the iterator below, too.
  pipeline(copies(tar), gzip, () => undefined);
  yield* gzip;
}

/** Pieces that stay as they are while they wait in a stream. */
async function* copies(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) yield Uint8Array.from(piece);
}

/** @returns how many bytes there were */
async function writeStream(
  file: FileHandle,
  path: string,
  bytes: AsyncIterable<Uint8Array>,
): Promise<number> {
  const writer = new GatheredWriter();
  writer.begin(file, path);
  let offsetBytes = 0;
  try {
    for await (const piece of bytes) {
      await writer.put(offsetBytes, piece);
      offsetBytes += piece.length;
    }
    await writer.finish();
  } finally {
    await writer.settle();
  }
  return offsetBytes;
}
