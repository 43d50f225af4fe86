import type { CodecPool } from '../../codec/index.ts';
import { Store } from '../../store/index.ts';
import { prepareLive, stillExists } from './prepared.ts';
import type { MigrationRecord, MigrationRecords, WrittenCheckpoint } from './records.ts';
import type { ReceiveOptions } from './request.ts';

/**
 * Removes checkpoints that a migration wrote.
 * @throws StoreFullError, StoreUnusableError
 */
export async function removeCheckpoints(store: Store, written: readonly WrittenCheckpoint[]): Promise<void> {
  const existing = new Set(await store.numbers());
  const checkpoints: number[] = [];
  for (const { number, createdAt } of written) {
    if (existing.has(number) && (await store.manifest(number)).createdAt === createdAt) {
      checkpoints.push(number);
    }
  }
  if (checkpoints.length > 0) await store.prune({ checkpoints, rewrites: [] });
}

/**
 * Ends what an earlier `ckpt receive` left unfinished in a store: a migration that was not committed has failed, and
 * nothing of it stays; one that was committed runs here.
 * @throws StoreLockedError, StoreUnusableError, IntegrityError
 */
export async function recoverMigrations(
  storeDirectory: string,
  records: MigrationRecords,
  pool: CodecPool,
  options: ReceiveOptions,
): Promise<void> {
  const unfinished = (await records.all()).filter(
    ({ status }) => status === 'receiving' || status === 'committed' || status === 'fetching',
  );
  if (unfinished.length === 0) return;
  const store = await Store.open(storeDirectory, { access: 'write', command: 'ckpt receive', codec: pool });
  try {
    for (const record of unfinished) {
      const { target, since, status } = record;
      const name = `the migration of ${target.name} of ${since}`;
      const text =
        status === 'committed'
          ? await carryOut(storeDirectory, records, record, { options, pool, name })
          : await removeUnfinished(store, records, record, name);
      options.onEvent?.({ kind: 'note', text });
    }
  } finally {
    await store.close();
  }
}

async function removeUnfinished(
  store: Store,
  records: MigrationRecords,
  record: MigrationRecord,
  name: string,
): Promise<string> {
  await removeCheckpoints(store, record.checkpoints);
  const detail = 'ckpt receive ended in the middle of it';
  await records.write({ ...record, status: 'failed', detail, checkpoints: [] });
  return `${name} was not finished: removed what had come of it`;
}

/**
 * It was told to run here. Whether it does yet is not known: perhaps ckpt was killed just before it was let go. Where it
 * was let go just before, and has ended since, it runs once more: nothing tells the two apart, and it must not be lost.
 */
async function carryOut(
  storeDirectory: string,
  records: MigrationRecords,
  record: MigrationRecord,
  {
    options,
    pool,
    name,
  }: { readonly options: ReceiveOptions; readonly pool: CodecPool; readonly name: string },
): Promise<string> {
  const { target, process, checkpoints } = record;
  if (target.kind === 'simulated' || (process !== null && stillExists(process))) {
    await records.write({ ...record, status: 'started' });
    return `${name} was committed: it is here`;
  }
  const prepared = await prepareLive(storeDirectory, checkpoints.at(-1)!.number, options, pool, false);
  if (prepared.obstacles.length > 0) {
    const detail = prepared.obstacles.join('; ');
    await records.write({ ...record, status: 'kept', detail });
    return `${name} was committed, but cannot be made to run here: ${detail}`;
  }
  await records.write({ ...record, process: prepared.process });
  const pid = prepared.start();
  await records.write({ ...record, process: prepared.process, status: 'started' });
  return `${name} was committed: it runs now, as process ${pid}`;
}
