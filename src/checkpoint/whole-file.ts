import { type FileHandle, lstat, open, rename, rm } from 'node:fs/promises';
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
