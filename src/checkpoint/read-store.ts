import { CodecPool } from '../codec/index.ts';
import { TargetError, UnsupportedError } from '../core/index.ts';
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

/** @throws UnsupportedError if the checkpoint came out of CRIU's images, which only criu makes processes of. */
export function requireOwnDump({ manifest }: CheckpointReader): void {
  const { number, target } = manifest;
  if (target.kind !== 'criu') return;
  throw new UnsupportedError(
    `checkpoint ${number} is of ${target.name} as CRIU dumped it: ckpt does not run it`,
    {
      hint: `'ckpt export --format criu --at ${number} -o DIR' writes images that criu restores; --to DIR and --format core work here`,
      data: { checkpoint: number },
    },
  );
}

/** Why a checkpoint cannot be restored, and what to do. */
const WHY_NOT = {
  'pre-dump': {
    why: 'is a pre-dump: its pages are not of one instant',
    hint: 'restore the next checkpoint of its chain, which makes them good',
  },
  'pages-only': {
    why: 'has pages alone: the rest is still in the images directory of the criu that sent them',
    hint: "'ckpt adopt DIR' joins that directory to it",
  },
  deduplicated: {
    why: 'lacks the pages that criu removed from its images because a later one has them anew (--auto-dedup)',
    hint: 'restore a later checkpoint of its chain, which is whole',
  },
} as const;

/**
 * @throws TargetError if the checkpoint is a pre-dump, whose pages may be torn between each other, or lacks a part of
 * what a restore needs.
 */
export function requireRestorable({ manifest }: CheckpointReader): void {
  const { number, preDump, notRestorable } = manifest;
  const reason = preDump ? 'pre-dump' : notRestorable;
  if (reason === undefined) return;
  const { why, hint } = WHY_NOT[reason];
  throw new TargetError(`checkpoint ${number} ${why}`, { hint, data: { checkpoint: number, reason } });
}
