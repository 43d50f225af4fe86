import { createHash } from 'node:crypto';
import { readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { StoreNotFoundError } from '../../core/index.ts';
import type { StoredIdentity } from '../../image/index.ts';
import type { Store } from '../../store/index.ts';
import { chainOf } from './images/chain.ts';
import { checkImages } from './images/check-images.ts';
import { openImageDirectory } from './images/directory.ts';
import { SharedObjectNumbers } from './images/shared-objects.ts';
import type { ImageDirectory } from './images/types.ts';
import { type ImportLevel, planImport } from './import-levels.ts';
import { type OpenedStore, withStore } from './import-store.ts';
import type { ImportedCheckpoint, ImportRequest, ImportResult } from './import-types.ts';
import { type ImportParts, writeLevels } from './import-writer.ts';
import { findKnownLevels, type KnownLevel } from './known-levels.ts';

/** What is to be written, and what need not be. */
interface Plan {
  /** Of a chain, oldest first. */
  readonly known: readonly KnownLevel[];
  /** Empty if everything is known. */
  readonly levels: readonly ImportLevel[];
  readonly target: StoredIdentity;
}

/**
 * Takes a directory that CRIU wrote into a store, with its parents or with what it needs of them. Everything is read
 * and checked first; then all becomes visible in the store at one moment, or nothing does. Directories of a chain that
 * the store has already stay as they are there.
 * @param opened the store, if it is open already; otherwise one is made once everything is known to be there.
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
  const root = request.archiveRoot === undefined ? undefined : await realpath(request.archiveRoot);
  const newest = await openImageDirectory(request.path);
  const chain = await chainOf(newest, { root, onNote: note });
  const planWith = (store?: Store) => plan({ request, root, chain, note }, store);
  const write = async ({ store, pool }: OpenedStore, planned?: Plan): Promise<Plan & Written> => {
    for (const text of store.notices) note(text);
    const { known, levels, target } = planned ?? (await planWith(store));
    const parent = known.at(-1)?.reader.manifest.number;
    const parts = { request, root, chain, levels, parent, target, pool, note };
    return { known, levels, target, checkpoints: levels.length === 0 ? [] : await writeLevels(parts, store) };
  };
  const { known, target, checkpoints } = await (opened === undefined
    ? writeInto(request, write, planWith)
    : write(opened));
  const microseconds = Math.round((performance.now() - started) * 1000);
  const { storeDirectory, path } = request;
  const told = known.map(({ index, reader }) => ({
    checkpoint: reader.manifest.number,
    path: chain[index]!.path,
  }));
  return { storeDirectory, path, target: target.name, known: told, checkpoints, notes, microseconds };
}

interface Written {
  readonly checkpoints: readonly ImportedCheckpoint[];
}

/** What a store knows of a chain is asked first; a new store is made only when all is known to be sound. */
async function writeInto<Result>(
  request: ImportRequest,
  write: (opened: OpenedStore, planned?: Plan) => Promise<Result>,
  planWith: () => Promise<Plan>,
): Promise<Result> {
  if (request.chain === true) {
    try {
      return await withStore(request, write, 'write');
    } catch (error) {
      if (!(error instanceof StoreNotFoundError)) throw error;
    }
  }
  const planned = await planWith();
  return withStore(request, (opened) => write(opened, planned));
}

async function plan(
  { request, root, chain, note }: Pick<ImportParts, 'request' | 'root' | 'chain' | 'note'>,
  store: Store | undefined,
): Promise<Plan> {
  const { signal } = request;
  const whole = request.chain === true;
  const fingerprint = await fingerprintOf(chain);
  const wanted = { chain, root, fingerprint, signal, note };
  const known = whole && store !== undefined ? await findKnownLevels(wanted, store) : [];
  const stored = known.at(-1);
  if (stored?.index === chain.length - 1) return { known, levels: [], target: stored.reader.manifest.target };
  const first = stored === undefined ? 0 : stored.index + 1;
  for (const directory of chain.slice(whole ? first : -1)) {
    for (const text of await checkImages(directory, signal)) note(text);
  }
  const levels = await planImport(chain, whole, numbersOf(known), stored);
  return { known, levels, target: { kind: 'criu', name: nameOf(levels.at(-1)!), fingerprint } };
}

/** Objects keep the numbers that they have in the store. */
function numbersOf(known: readonly KnownLevel[]): SharedObjectNumbers {
  const numbers = new SharedObjectNumbers();
  for (const { listing } of known.toReversed()) {
    for (const { sharedMemory, pid } of listing.memories)
      if (sharedMemory !== null) numbers.keep(sharedMemory, pid);
  }
  return numbers;
}

async function fingerprintOf(chain: readonly ImageDirectory[]): Promise<string> {
  const oldest = chain[0]!;
  const hash = createHash('sha256').update(await readFile(join(oldest.path, 'inventory.img')));
  for (const { name, pagesId, presentPages } of oldest.memories)
    hash.update(`${name} ${pagesId} ${presentPages}\n`);
  return hash.digest('hex').slice(0, 32);
}

function nameOf(newest: ImportLevel): string {
  const root = newest.processes.find(
    ({ parentPid, sharedMemory }) => parentPid === 0 && sharedMemory === undefined,
  );
  return root?.name || `process ${root?.pid ?? 0}`;
}
