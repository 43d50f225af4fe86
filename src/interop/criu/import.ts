import { createHash } from 'node:crypto';
import { readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import type { StoredIdentity } from '../../image/index.ts';
import { chainOf } from './images/chain.ts';
import { checkImages } from './images/check-images.ts';
import { openImageDirectory } from './images/directory.ts';
import { SharedObjectNumbers } from './images/shared-objects.ts';
import type { ImageDirectory } from './images/types.ts';
import { type ImportLevel, planImport } from './import-levels.ts';
import { type OpenedStore, withStore } from './import-store.ts';
import type { ImportRequest, ImportResult } from './import-types.ts';
import { writeLevels } from './import-writer.ts';

/**
 * Takes a directory that CRIU wrote into a store, with its parents or with what it needs of them. Everything is read
 * and checked first; then all becomes visible in the store at one moment, or nothing does.
 * @param opened the store, if it is open already; otherwise it is opened once everything is known to be there.
 * @throws UsageError if there are no images; IntegrityError naming file and offset; UnsupportedError for images of a
 *   later layout; StoreUnusableError, StoreFullError, StoreLockedError; the signal's reason
 */
export async function importImages(request: ImportRequest, opened?: OpenedStore): Promise<ImportResult> {
  const started = performance.now();
  const notes: string[] = [];
  const note = (text: string) => {
    notes.push(text);
    request.onNote?.(text);
  };
  const whole = request.chain === true;
  const root = request.archiveRoot === undefined ? undefined : await realpath(request.archiveRoot);
  const newest = await openImageDirectory(request.path);
  const chain = await chainOf(newest, { root, onNote: note });
  for (const directory of whole ? chain : [newest]) {
    for (const text of await checkImages(directory, request.signal)) note(text);
  }
  const levels = await planImport(chain, whole, new SharedObjectNumbers());
  const target = await identityOf(chain, levels.at(-1)!);
  const write = ({ store, pool }: OpenedStore) =>
    writeLevels({ request, root, chain, levels, target, pool, note }, store);
  const checkpoints = await (opened === undefined ? withStore(request, write) : write(opened));
  const microseconds = Math.round((performance.now() - started) * 1000);
  const { storeDirectory, path } = request;
  return { storeDirectory, path, target: target.name, checkpoints, notes, microseconds };
}

async function identityOf(chain: readonly ImageDirectory[], newest: ImportLevel): Promise<StoredIdentity> {
  const oldest = chain[0]!;
  const hash = createHash('sha256').update(await readFile(join(oldest.path, 'inventory.img')));
  for (const { name, pagesId, presentPages } of oldest.memories)
    hash.update(`${name} ${pagesId} ${presentPages}\n`);
  const root = newest.processes.find(
    ({ parentPid, sharedMemory }) => parentPid === 0 && sharedMemory === undefined,
  );
  return {
    kind: 'criu',
    name: root?.name || `process ${root?.pid ?? 0}`,
    fingerprint: hash.digest('hex').slice(0, 32),
  };
}
