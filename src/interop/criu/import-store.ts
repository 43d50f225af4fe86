import { CodecPool } from '../../codec/index.ts';
import { Store } from '../../store/index.ts';
import type { ImportRequest } from './import-types.ts';

/** A store that is open for writing, and the threads that encode for it. */
export interface OpenedStore {
  readonly store: Store;
  readonly pool: CodecPool;
}

/**
 * Opens the store of an import and closes it afterwards.
 * @param access whether a store is made if there is none
 * @throws StoreNotFoundError, StoreUnusableError, StoreFullError, StoreLockedError, and whatever `use` throws.
 */
export async function withStore<Result>(
  { storeDirectory, workers }: Pick<ImportRequest, 'storeDirectory' | 'workers'>,
  use: (opened: OpenedStore) => Promise<Result>,
  access: 'create' | 'write' = 'create',
): Promise<Result> {
  const pool = new CodecPool(workers === undefined ? {} : { workers });
  try {
    const store = await Store.open(storeDirectory, { access, command: 'ckpt import', codec: pool });
    try {
      return await use({ store, pool });
    } finally {
      await store.close();
    }
  } finally {
    await pool.close();
  }
}
