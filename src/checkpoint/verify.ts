import type { CodecPool } from '../codec/index.ts';
import type { Manifest } from '../image/index.ts';
import type { Store } from '../store/index.ts';
import { type Finding, findingOf } from './finding.ts';
import { CheckpointVerifier } from './verify-checkpoints.ts';
import { verifyFiles } from './verify-files.ts';
import { DamagedBlocks, verifyPack, verifyPackNames } from './verify-packs.ts';

/** Whom to tell, and when to stop. */
export interface VerifyOptions {
  /** Aborts between two blocks. */
  readonly signal?: AbortSignal;
  /** Bytes of packs read so far, and to be read. */
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

/**
 * Looks at every byte of a store: every file, every block of every pack in the order in which it lies there, every
 * index, every page's digest, every memory digest. All that is found is reported, each finding with its place.
 *
 * Packs are read once, from end to end; pages that are stored as differences are read again to be put together. No lock
 * is needed; a prune meanwhile may cause findings.
 */
export async function* verifyStore(
  store: Store,
  pool: CodecPool,
  options: VerifyOptions = {},
): AsyncGenerator<Finding> {
  yield* verifyFiles(store);
  const manifests: Manifest[] = [];
  for (const number of await store.numbers()) {
    try {
      manifests.push(await store.manifest(number));
    } catch (cause) {
      yield findingOf(`checkpoint ${number}`, cause);
    }
  }
  yield* verifyPackNames(store, manifests);
  const damaged = new DamagedBlocks();
  const packs = await store.packs();
  let totalBytes = 0;
  for (const pack of packs) totalBytes += await store.packBytes(pack);
  let doneBytes = 0;
  const onBytes = (bytes: number) => {
    options.signal?.throwIfAborted();
    doneBytes += bytes;
    options.onProgress?.(doneBytes, totalBytes);
  };
  for (const pack of packs) yield* verifyPack(store, pool, pack, { damaged, onBytes });
  yield* new CheckpointVerifier(store, manifests, damaged, options.signal).verify();
}
