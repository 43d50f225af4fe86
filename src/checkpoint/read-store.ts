import { CodecPool } from '../codec/index.ts';
import { TargetError } from '../core/index.ts';
import { type CheckpointReader, Store } from '../store/index.ts';

/** A checkpoint by its number, or the newest. */
export type CheckpointName = number | 'latest';

/**
 * Opens a store for reading, lends it to `use`, and closes it.
 * @param workers threads for decoding; 0 decodes on the calling thread, which is enough for manifests.
 * @throws StoreNotFoundError, StoreUnusableError, StoreVersionError.
 */
export async function readStore<Result>(
  directory: string,
  use: (store: Store, pool: CodecPool) => Promise<Result>,
  workers?: number,
): Promise<Result> {
  const pool = new CodecPool(workers === undefined ? {} : { workers });
  try {
    return await readStoreWith(directory, pool, use);
  } finally {
    await pool.close();
  }
}

/** The same with threads that run already: starting them takes longer than reading a little. @throws as `readStore` */
export async function readStoreWith<Result>(
  directory: string,
  pool: CodecPool,
  use: (store: Store, pool: CodecPool) => Promise<Result>,
): Promise<Result> {
  const store = await Store.open(directory, { access: 'read', command: 'ckpt', codec: pool });
  try {
    return await use(store, pool);
  } finally {
    await store.close();
  }
}

/**
 * Opens a checkpoint by name.
 * @throws CheckpointNotFoundError, IntegrityError.
 */
export async function openNamed(store: Store, name: CheckpointName): Promise<CheckpointReader> {
  return store.openCheckpoint(await numberOf(store, name));
}

/**
 * The same for a checkpoint of which files may be damaged, to salvage what can be proved.
 * @throws CheckpointNotFoundError; IntegrityError if the manifest is damaged.
 */
export async function openDamaged(store: Store, name: CheckpointName): Promise<CheckpointReader> {
  return store.openDamagedCheckpoint(await numberOf(store, name));
}

async function numberOf(store: Store, name: CheckpointName): Promise<number> {
  return name === 'latest' ? ((await store.numbers()).at(-1) ?? 1) : name;
}

/** @throws TargetError if the checkpoint ends in a pre-dump, whose pages may be torn between each other. */
export function requireRestorable(reader: CheckpointReader): void {
  const { number, preDump } = reader.manifest;
  if (!preDump) return;
  throw new TargetError(`checkpoint ${number} is a pre-dump: its pages are not of one instant`, {
    hint: 'restore the next checkpoint of its chain, which makes them good',
    data: { checkpoint: number },
  });
}
