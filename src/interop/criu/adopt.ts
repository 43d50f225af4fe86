import { type CheckpointName, rewriteCheckpoint } from '../../checkpoint/index.ts';
import { CodecPool } from '../../codec/index.ts';
import { machineClock } from '../../core/index.ts';
import type { StoredIdentity } from '../../image/index.ts';
import { Store } from '../../store/index.ts';
import { PRE_DUMP_MODE } from './adopt-checks.ts';
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
  /** What may be wrong with the memory, which nobody here can find out. */
  readonly warnings: readonly string[];
  readonly microseconds: number;
}

/**
 * Seen with CRIU 3.17.1: pages are read into a buffer, whose pages are given to the socket without a copy, and the buffer
 * is used again before the other end has them (criu/page-xfer.c, page_xfer_predump_pages). They count as sent, so they
 * are not sent again.
 */
const READ_MODE_WARNING =
  'a pre-dump of mode read came through a page server: CRIU has been seen to overwrite pages before they were sent, so memory may be wrong; pre-dump with --pre-dump-mode splice';

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
  const warnings: string[] = [];
  for (const pair of pairs.toReversed()) {
    request.signal?.throwIfAborted();
    for (const text of pair.directory.notes) note(text);
    const isRead = pair.directory.inventory.preDumpMode === PRE_DUMP_MODE.read;
    if (isRead && warnings.length === 0) warnings.push(READ_MODE_WARNING);
    checkpoints.push(await adopt(store, pair, newest.known, target, warnings, request.signal));
  }
  const microseconds = Math.round(machineClock() - started);
  const { storeDirectory } = request;
  return { storeDirectory, target: target.name, checkpoints, notes, warnings, microseconds };
}

/** Writes one checkpoint anew, with the pages that it has. */
async function adopt(
  store: Store,
  { manifest, directory, memories, listing, known }: ProvedPair,
  newest: DirectoryState,
  target: StoredIdentity,
  warnings: readonly string[],
  signal: AbortSignal | undefined,
): Promise<AdoptedCheckpoint> {
  const processes = storedProcesses(memories, known, newest, objectNumbersOf(listing.memories));
  const pid = Math.min(...processes.map((process) => process.pid));
  // Without the checkpoint before it there is nothing that the link could lead to.
  const kept = directory.otherFiles.filter(({ name }) => manifest.parent !== null || name !== 'parent');
  const { newFiles, bytes } = newFilesOf(kept, '', listing.memories, signal);
  const { number, memoryDigest, preDump } = await rewriteCheckpoint(store, {
    checkpoint: manifest.number,
    processes,
    preDump: manifest.preDump,
    target,
    warnings: [
      ...manifest.warnings,
      ...warnings.map((reason) => ({ pid, startPage: 0, endPage: 0, reason })),
    ],
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
