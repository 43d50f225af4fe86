import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CkptError, UsageError } from '../../../core/index.ts';
import { importImages } from '../import.ts';
import { type OpenedStore, withStore } from '../import-store.ts';
import type { ImportRequest, ImportResult } from '../import-types.ts';
import { openArchive } from './archive-stream.ts';
import { type UnpackedArchive, withUnpackedArchive } from './unpack.ts';

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
      await requireParent(unpacked, path);
      return importUnpacked(request, unpacked, opened);
    });
  });
}

/** podman ships a pre-checkpoint apart from the checkpoint, and what did not change is only there. */
async function requireParent({ imagesPath }: UnpackedArchive, archivePath: string): Promise<void> {
  const names = await readdir(imagesPath);
  const parent = join(imagesPath, 'parent');
  if (!names.includes('parent') || (await stat(parent).catch(() => undefined)) !== undefined) return;
  throw new UsageError(`${archivePath} needs the archive of its pre-checkpoint`, {
    hint: "name it by --import-previous, as for 'podman container restore'",
    data: { path: archivePath },
  });
}

/** What is told of files names them by where they are in the archive: where they were unpacked to is soon gone. */
async function importUnpacked(
  request: CheckpointImportRequest,
  { rootPath, imagesPath }: UnpackedArchive,
  opened: OpenedStore,
): Promise<ImportResult> {
  const { path, onNote } = request;
  const inArchive = (text: string) => text.replaceAll(rootPath, path);
  try {
    const result = await importImages(
      {
        ...request,
        path: imagesPath,
        archiveRoot: rootPath,
        onNote: (note) => onNote?.(inArchive(note)),
      },
      opened,
    );
    const placed = <One extends { readonly path: string }>(one: One) => ({
      ...one,
      path: inArchive(one.path),
    });
    const { known, checkpoints } = result;
    return {
      ...result,
      path,
      known: known.map(placed),
      checkpoints: checkpoints.map(placed),
      notes: result.notes.map(inArchive),
    };
  } catch (error) {
    if (!(error instanceof CkptError)) throw error;
    const data = Object.entries(error.data).map(([name, value]) => [
      name,
      typeof value === 'string' ? inArchive(value) : value,
    ]);
    throw Object.assign(error, { message: inArchive(error.message), data: Object.fromEntries(data) });
  }
}
