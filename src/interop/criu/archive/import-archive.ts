import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { UsageError } from '../../../core/index.ts';
import { importImages } from '../import.ts';
import { withStore } from '../import-store.ts';
import type { ImportedCheckpoint, ImportRequest, ImportResult } from '../import-types.ts';
import { openArchive } from './archive-stream.ts';
import { withUnpackedArchive } from './unpack.ts';

/** What to take into a store, be it a directory of images or an archive of a container. */
export interface CheckpointImportRequest extends Omit<ImportRequest, 'archiveRoot'> {
  /** The archive of the pre-checkpoint, if `path` is one that needs it. */
  readonly previousPath?: string | undefined;
  /** The most that archives may unpack to; see `withUnpackedArchive`. */
  readonly maxUnpackedBytes?: number | undefined;
}

/**
 * Takes what CRIU dumped into a store: a directory of images, or an archive of podman, CRI-O or containerd with all that
 * is in it. All becomes visible in the store at one moment, or nothing does.
 * @throws as `importImages` and `withUnpackedArchive`
 */
export async function importCheckpoints(request: CheckpointImportRequest): Promise<ImportResult> {
  const { path, previousPath } = request;
  if (!(await isDirectory(path))) return importArchive(request);
  if (previousPath === undefined) return importImages(request);
  throw new UsageError(`${path} is a directory: it has no previous archive`, {
    hint: 'CRIU finds the parents of a directory by its link parent',
    data: { path },
  });
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (cause) {
    throw new UsageError(`cannot read ${path}: ${(cause as Error).message}`, { data: { path }, cause });
  }
}

async function importArchive(request: CheckpointImportRequest): Promise<ImportResult> {
  const { path, previousPath } = request;
  // What is no archive at all is not to leave a new store behind.
  for (const archive of previousPath === undefined ? [path] : [path, previousPath])
    await openArchive(archive);
  return withStore(request, (opened) => {
    const scratchDirectory = opened.store.scratchDirectory;
    return withUnpackedArchive({ ...request, archivePath: path, scratchDirectory }, async (unpacked) => {
      const { rootPath, imagesPath } = unpacked;
      const images = { ...request, path: imagesPath, archiveRoot: rootPath };
      const result = await importImages(images, opened);
      return { ...result, path, checkpoints: result.checkpoints.map((one) => asMember(one, path)) };
    });
  });
}

/** Names a checkpoint by where its images are in the archive, which is what stays. */
function asMember(checkpoint: ImportedCheckpoint, archivePath: string): ImportedCheckpoint {
  return { ...checkpoint, path: join(archivePath, basename(checkpoint.path)) };
}
