import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { relative, sep } from 'node:path';
import type { NewFiles } from '../../store/index.ts';
import { keptFilesAround } from './images/directory.ts';
import type { ImageDirectory, KeptFile } from './images/types.ts';
import type { ImportLevel } from './import-levels.ts';
import { encodeListing, LISTING_FORMAT, type ListedFile, type ListedMemory } from './listing.ts';
import { unreadable } from './read-fully.ts';

/** Bytes that are read at once. */
const PIECE_BYTES = 1024 * 1024;

/** What is kept of a directory beside its pages. */
export interface LevelFiles {
  readonly newFiles: NewFiles;
  readonly count: number;
  readonly bytes: number;
  readonly notes: readonly string[];
}

/**
 * The files of a directory, to be kept in its checkpoint; with the newest one goes everything else of its archive.
 * @throws UsageError if something cannot be read
 */
export async function filesOfLevel(
  { directory, memories, index }: ImportLevel,
  chain: readonly ImageDirectory[],
  archiveRoot: string | undefined,
  signal?: AbortSignal,
): Promise<LevelFiles> {
  const { files, notes, imagesPath } = await keptOfLevel(directory, index, chain, archiveRoot);
  const listed = memories.map((memory) => memory.listed);
  return { ...newFilesOf(files, imagesPath, listed, signal), count: files.length, notes };
}

/**
 * Files as they are kept: with a listing of them and of the pagemaps beside them.
 * @param signal ends the reading of their content, which may be that of a whole container
 */
export function newFilesOf(
  files: readonly KeptFile[],
  imagesPath: string,
  memories: readonly ListedMemory[],
  signal?: AbortSignal,
): { readonly newFiles: NewFiles; readonly bytes: number } {
  let bytes = 0;
  const listed = files.map(({ path: _, ...file }): ListedFile => {
    const offset = bytes;
    bytes += file.bytes;
    return { ...file, offset };
  });
  const listing = encodeListing({ imagesPath, files: listed, memories });
  return { newFiles: { format: LISTING_FORMAT, listing, content: contentOf(files, signal) }, bytes };
}

/**
 * Lists the files that are kept of a directory of a chain.
 * @throws UsageError if something cannot be read
 */
export async function keptOfLevel(
  directory: ImageDirectory,
  index: number,
  chain: readonly ImageDirectory[],
  archiveRoot: string | undefined,
): Promise<{ files: readonly KeptFile[]; notes: readonly string[]; imagesPath: string }> {
  if (archiveRoot === undefined) {
    return { files: directory.otherFiles, notes: directory.notes, imagesPath: '' };
  }
  const imagesPath = relative(archiveRoot, directory.path).split(sep).join('/');
  if (index < chain.length - 1) {
    const files = directory.otherFiles.map((file) => ({ ...file, name: `${imagesPath}/${file.name}` }));
    return { files, notes: directory.notes, imagesPath };
  }
  const parents = chain.slice(0, -1).map(({ path }) => path);
  return { ...(await keptFilesAround(archiveRoot, directory, parents)), imagesPath };
}

/** The content of files, one behind the other. @throws IntegrityError, as soon as one cannot be read to its end */
export async function* contentOf(
  files: readonly KeptFile[],
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  for (const file of files) {
    if (file.kind !== 'file' || file.bytes === 0) continue;
    for await (const piece of piecesOf(file)) {
      signal?.throwIfAborted();
      yield piece;
    }
  }
}

async function* piecesOf({ path, bytes }: KeptFile): AsyncGenerator<Uint8Array> {
  // What was a file when it was listed must not have become a link to another one.
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW).catch((cause: unknown) => {
    throw unreadable(path, 0, (cause as Error).message, cause);
  });
  try {
    for (let done = 0; done < bytes; ) {
      const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, bytes - done));
      const { bytesRead } = await file.read(piece, 0, piece.length, done);
      if (bytesRead === 0) throw unreadable(path, done, 'it became shorter while it was read');
      done += bytesRead;
      yield piece.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}
