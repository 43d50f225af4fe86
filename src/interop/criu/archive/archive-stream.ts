import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { decompressZstdStream } from '../../../codec/index.ts';
import { IntegrityError, UsageError } from '../../../core/index.ts';

/** How the tar of an archive is compressed. Names of files tell nothing: podman calls all of them `.tar.gz` at will. */
export type ArchiveCompression = 'none' | 'gzip' | 'zstd';

/** An archive that is about to be read. */
export interface ArchiveStream {
  readonly compression: ArchiveCompression;
  /** Of the file. */
  readonly fileBytes: number;
  /** Its tar; to be read once. */
  tar(): AsyncIterable<Uint8Array>;
}

const READ_BYTES = 1024 * 1024;
const HEAD_BYTES = 512;

/**
 * Opens an archive and looks at its first bytes.
 * @throws UsageError if it cannot be read or is nothing of the kind. Reading throws IntegrityError for a damaged one.
 */
export async function openArchive(path: string): Promise<ArchiveStream> {
  const { head, fileBytes } = await readHead(path);
  const compression = compressionOf(head);
  if (compression === undefined) {
    throw new UsageError(
      `${path} is no container archive: it is neither a tar nor compressed by gzip or zstd`,
      {
        hint: "name what 'podman container checkpoint --export' or the kubelet wrote, or a directory of CRIU images",
        data: { path },
      },
    );
  }
  return { compression, fileBytes, tar: () => tarOf(path, compression) };
}

async function readHead(path: string): Promise<{ head: Uint8Array; fileBytes: number }> {
  try {
    // Looked at first: opening a FIFO would wait for somebody to write to it.
    const status = await stat(path);
    if (!status.isFile()) throw new Error('it is no file');
    const handle = await open(path);
    try {
      const { bytesRead, buffer } = await handle.read(new Uint8Array(HEAD_BYTES), 0, HEAD_BYTES, 0);
      return { head: buffer.subarray(0, bytesRead), fileBytes: status.size };
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw new UsageError(`cannot read the archive ${path}: ${(cause as Error).message}`, {
      data: { path },
      cause,
    });
  }
}

function compressionOf(head: Uint8Array): ArchiveCompression | undefined {
  const begins = (...bytes: number[]) => bytes.every((byte, at) => head[at] === byte);
  if (begins(0x28, 0xb5, 0x2f, 0xfd)) return 'zstd';
  if (begins(0x1f, 0x8b)) return 'gzip';
  return Buffer.from(head.subarray(257, 262)).equals(Buffer.from('ustar')) ? 'none' : undefined;
}

function tarOf(path: string, compression: ArchiveCompression): AsyncIterable<Uint8Array> {
  const file = createReadStream(path, { highWaterMark: READ_BYTES });
  if (compression === 'zstd') return decompressZstdStream(file, path);
  return compression === 'gzip' ? gunzipped(file, path) : file;
}

async function* gunzipped(file: NodeJS.ReadableStream, path: string): AsyncGenerator<Uint8Array> {
  const gunzip = createGunzip({ chunkSize: 64 * 1024 });
  // Errors of the file come out of the iterator below, too.
  pipeline(file, gunzip, () => undefined);
  try {
    yield* gunzip;
  } catch (cause) {
    if (!(cause as NodeJS.ErrnoException).code?.startsWith('Z_')) throw cause;
    throw new IntegrityError(`${path} is damaged: gzip says ${(cause as Error).message}`, {
      data: { file: path, offsetBytes: gunzip.bytesWritten },
      cause,
    });
  }
}
