import { type CheckpointName, rewriteCheckpoint } from '../../checkpoint/index.ts';
import { CodecPool } from '../../codec/index.ts';
import { machineClock } from '../../core/index.ts';
import type { StoredIdentity } from '../../image/index.ts';
import { Store } from '../../store/index.ts';
import { findPairs, type ProvedPair } from './adopt-pairs.ts';
import { newFilesOf } from './import-files.ts';
import { storedProcesses } from './import-processes.ts';
import { objectNumbersOf } from './page-server/received-images.ts';
import type { DirectoryState } from './state/types.ts';

/** What to join to what. */
export interface AdoptRequest {
  readonly storeDirectory: string;
  /** Where the dumper wrote its images, all but the pages. */
  readonly path: string;
  readonly checkpoint: CheckpointName;
  readonly workers?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told things worth knowing that are no failures. */
  readonly onNote?: ((note: string) => void) | undefined;
}

/** A checkpoint that is whole now. */
export interface AdoptedCheckpoint {
  readonly checkpoint: number;
  readonly path: string;
  readonly preDump: boolean;
  readonly processes: number;
  readonly sharedMemoryObjects: number;
  readonly files: { readonly count: number; readonly bytes: number };
  readonly memoryDigest: string;
}

/** What an adoption did. */
export interface AdoptResult {
  readonly storeDirectory: string;
  readonly target: string;
  /** Oldest first: the pre-dumps before the dump, as far as their directories are there. */
  readonly checkpoints: readonly AdoptedCheckpoint[];
  readonly notes: readonly string[];
  readonly microseconds: number;
}

/**
 * Joins the images directory of a `criu dump --page-server` to the pages that a page server received of it, in their
 * checkpoint. Where its parents are at hand, they are joined to the pre-dumps before.
 * @throws UsageError if there are no images, or they have pages of their own; TargetError if they are not of that
 *   checkpoint; IntegrityError naming file and offset; CheckpointNotFoundError, StoreLockedError; then nothing has
 *   changed. StoreFullError, StoreUnusableError; each checkpoint is then as it was or whole.
 */
export async function adoptImages(request: AdoptRequest): Promise<AdoptResult> {
  const { storeDirectory, workers } = request;
  const codec = new CodecPool(workers === undefined ? {} : { workers });
  try {
    const store = await Store.open(storeDirectory, { access: 'write', command: 'ckpt adopt', codec });
    try {
      return await adoptInto(store, request);
    } finally {
      await store.close();
    }
  } finally {
    await codec.close();
  }
}

async function adoptInto(store: Store, request: AdoptRequest): Promise<AdoptResult> {
  const started = machineClock();
  const notes: string[] = [];
  const note = (text: string) => {
    notes.push(text);
    request.onNote?.(text);
  };
  for (const text of store.notices) note(text);
  const pairs = await findPairs(store, request.path, request.checkpoint, note);
  const newest = pairs[0]!;
  const root = newest.known.processes.find(({ parentPid }) => parentPid === 0);
  const target = { ...newest.manifest.target, ...(root?.name ? { name: root.name } : {}) };
  const checkpoints: AdoptedCheckpoint[] = [];
  for (const pair of pairs.toReversed()) {
    request.signal?.throwIfAborted();
    for (const text of pair.directory.notes) note(text);
    checkpoints.push(await adopt(store, pair, newest.known, target));
  }
  const microseconds = Math.round(machineClock() - started);
  return { storeDirectory: request.storeDirectory, target: target.name, checkpoints, notes, microseconds };
}

/** Writes one checkpoint anew, with the pages that it has. */
async function adopt(
  store: Store,
  { manifest, directory, memories, listing, known }: ProvedPair,
  newest: DirectoryState,
  target: StoredIdentity,
): Promise<AdoptedCheckpoint> {
  const processes = storedProcesses(memories, known, newest, objectNumbersOf(listing.memories));
  // Without the checkpoint before it there is nothing that the link could lead to.
  const kept = directory.otherFiles.filter(({ name }) => manifest.parent !== null || name !== 'parent');
  const { newFiles, bytes } = newFilesOf(kept, '', listing.memories);
  const { number, memoryDigest, preDump } = await rewriteCheckpoint(store, {
    checkpoint: manifest.number,
    processes,
    preDump: manifest.preDump,
    target,
    warnings: manifest.warnings,
    state: known.state,
    files: newFiles,
  });
  const objects = processes.filter(({ sharedMemory }) => sharedMemory !== undefined).length;
  return {
    checkpoint: number,
    path: directory.path,
    preDump,
    processes: processes.length - objects,
    sharedMemoryObjects: objects,
    files: { count: kept.length, bytes },
    memoryDigest,
  };
}
