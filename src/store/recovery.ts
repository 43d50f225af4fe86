import { IntegrityError } from '../core/index.ts';
import { decodeManifest, decodePruning, type Manifest } from '../image/index.ts';
import type { StoreFiles } from './files.ts';
import {
  checkpointOfFileName,
  manifestFileName,
  PRUNING_FILE,
  packFileName,
  packOfFileName,
} from './layout.ts';
import type { PendingCheckpoints } from './pending-checkpoints.ts';

/** The checkpoints of a store. */
export interface CheckpointNumbers {
  /** Ascending. */
  readonly numbers: number[];
  /** The highest number that a manifest has, be it one that a prune is about to remove; 0 if there is none. */
  readonly highest: number;
}

/** Lists the checkpoints; what an unfinished prune has removed does not count, even if its files are still there. */
export async function checkpointsOf(files: StoreFiles): Promise<CheckpointNumbers> {
  const removed = new Set(await unfinishedPruning(files));
  const all = (await files.list('checkpoints')).flatMap((name) => checkpointOfFileName(name) ?? []);
  all.sort((a, b) => a - b);
  return { numbers: all.filter((number) => !removed.has(number)), highest: all.at(-1) ?? 0 };
}

/** Numbers of all pack files, ascending. */
export async function packsOf(files: StoreFiles): Promise<number[]> {
  return (await files.list('packs')).flatMap((name) => packOfFileName(name) ?? []).sort((a, b) => a - b);
}

async function unfinishedPruning(files: StoreFiles): Promise<number[]> {
  const text = await files.readText(PRUNING_FILE);
  return text === undefined ? [] : decodePruning(text, files.pathOf(PRUNING_FILE));
}

/**
 * Removes what killed writers left: drafts in tmp/, the rest of a prune, packs that no checkpoint needs. To be called
 * with the lock held.
 * @returns what was removed, in words.
 */
export async function cleanUp(files: StoreFiles): Promise<string[]> {
  const notices: string[] = [];
  for (const name of await files.list('tmp')) {
    await files.remove(`tmp/${name}`, 'clean-up');
    notices.push(`removed tmp/${name}, a leftover of a command that was killed`);
  }
  const removed = await unfinishedPruning(files);
  if ((await files.readText(PRUNING_FILE)) !== undefined) {
    await removeManifests(files, removed);
    await finishPruning(files);
    notices.push('removed checkpoints, as a command that was killed had begun to or had not completed them');
  }
  for (const pack of await removeUnneededPacks(files)) {
    notices.push(`removed ${packFileName(pack)}, which no checkpoint needs`);
  }
  return notices;
}

/** Removes manifests and makes their removal durable. */
export async function removeManifests(files: StoreFiles, checkpoints: readonly number[]): Promise<void> {
  for (const checkpoint of checkpoints)
    await files.remove(manifestFileName(checkpoint), 'pruning-remove-manifest');
  await files.syncDirectory('checkpoints', 'pruning-sync-directory');
}

/** Ends a prune whose files are all removed. */
export async function finishPruning(files: StoreFiles): Promise<void> {
  await files.remove(PRUNING_FILE, 'pruning-finish');
  await files.syncDirectory('.', 'pruning-sync-directory');
}

/**
 * Removes the packs that no manifest names.
 * @param pending checkpoints under way, whose packs stay
 * @returns the packs that were removed.
 */
export async function removeUnneededPacks(
  files: StoreFiles,
  pending?: PendingCheckpoints,
): Promise<number[]> {
  const look = () => unneededPacks(files);
  const unneeded = (await (pending?.seen(look) ?? look())).filter((pack) => pending?.hasPack(pack) !== true);
  for (const pack of unneeded) await files.remove(packFileName(pack), 'pruning-remove-pack');
  if (unneeded.length > 0) await files.syncDirectory('packs', 'pruning-sync-directory');
  return unneeded;
}

/** The packs that no manifest names. If one manifest cannot be read there are none: it might name any. */
export async function unneededPacks(files: StoreFiles): Promise<number[]> {
  const needed = new Set<number>();
  for (const number of (await checkpointsOf(files)).numbers) {
    const manifest = await readableManifest(files, number);
    if (manifest === undefined) return [];
    for (const pack of manifest.packs) needed.add(pack);
  }
  return (await packsOf(files)).filter((pack) => !needed.has(pack));
}

async function readableManifest(files: StoreFiles, number: number): Promise<Manifest | undefined> {
  const text = await files.readText(manifestFileName(number));
  if (text === undefined) return undefined;
  try {
    return decodeManifest(text, number);
  } catch (cause) {
    if (cause instanceof IntegrityError) return undefined;
    throw cause;
  }
}
