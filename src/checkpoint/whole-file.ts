import { type FileHandle, lstat, mkdtemp, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { OutputError } from '../core/index.ts';
import { attempt } from './output-error.ts';

/**
 * Writes a file for the user that appears complete, or not at all, and is for its owner alone.
 * @param path must not exist.
 * @param fill writes into the empty file; if it throws, nothing is left behind.
 * @throws OutputError if the file exists or cannot be written, and whatever `fill` throws.
 */
export async function writeWholeFile<Result>(
  path: string,
  fill: (file: FileHandle) => Promise<Result>,
): Promise<Result> {
  const partial = join(dirname(path), `.${basename(path)}.partial-${process.pid}`);
  await requireAbsent(path);
  const file = await attempt(path, () => open(partial, 'wx', 0o600));
  try {
    let result: Result;
    try {
      result = await fill(file);
      await attempt(path, () => file.sync());
    } finally {
      await file.close();
    }
    await requireAbsent(path);
    await attempt(path, () => rename(partial, path));
    await syncDirectory(dirname(path));
    return result;
  } finally {
    await rm(partial, { force: true });
  }
}

/**
 * Writes a directory for the user that appears complete, or not at all, and is for its owner alone.
 * @param path must not exist.
 * @param fill writes into an empty directory, and sees that its files are on disk; if it throws, nothing is left behind.
 * @throws OutputError if there is something at `path` or it cannot be written, and whatever `fill` throws.
 */
export async function writeWholeDirectory<Result>(
  path: string,
  fill: (directory: string) => Promise<Result>,
): Promise<Result> {
  await requireAbsent(path);
  const partial = await attempt(path, () => mkdtemp(join(dirname(path), `.${basename(path)}.partial-`)));
  try {
    const result = await fill(partial);
    await syncTree(partial);
    await requireAbsent(path);
    await attempt(path, () => rename(partial, path));
    await syncDirectory(dirname(path));
    return result;
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}

/** @throws OutputError if there is something at `path` already. */
async function requireAbsent(path: string): Promise<void> {
  const found = await lstat(path).then(
    () => true,
    () => false,
  );
  if (!found) return;
  throw new OutputError(`${path} exists already`, {
    hint: 'name something that does not exist yet; ckpt overwrites nothing',
    data: { path },
  });
}

/** Sees that the names in a directory and below it are on disk. */
async function syncTree(path: string): Promise<void> {
  for (const entry of await attempt(path, () => readdir(path, { withFileTypes: true }))) {
    if (entry.isDirectory()) await syncTree(join(path, entry.name));
  }
  await syncDirectory(path);
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await attempt(path, () => open(path, 'r'));
  try {
    await attempt(path, () => handle.sync());
  } finally {
    await handle.close();
  }
}
