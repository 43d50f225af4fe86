import { PAGE_DIGEST_BYTES } from '../codec/index.ts';
import { TargetError, UsageError } from '../core/index.ts';
import type { Manifest } from '../image/index.ts';
import type { CheckpointReader, KnownPages, ProcessIndex, Store } from '../store/index.ts';
import { identityDifference, type TargetIdentity } from '../target/index.ts';
import type { ParentPages } from '../tracker/index.ts';
import type { WantedDigests } from './wanted-digests.ts';

/** What a delta needs of one process of its parent, fetched before the freeze. */
export interface ParentProcess {
  readonly index: ProcessIndex;
  readonly pages: ParentPages;
  /** Absent where an equal PID says as much. */
  readonly fingerprint: string | undefined;
}

/** The checkpoint that a delta is taken on. */
export interface Parent {
  readonly manifest: Manifest;
  readonly reader: CheckpointReader;
  readonly processes: ReadonlyMap<number, ParentProcess>;
}

/**
 * Opens the newest checkpoint as the parent of a delta of `target` by `trackerKind`.
 * @throws UsageError if there is none, TargetError if it is of another target, IntegrityError if it is damaged.
 */
export async function openParent(
  store: Store,
  identity: TargetIdentity,
  trackerKind: string,
): Promise<Parent> {
  const manifest = await requireNewest(store);
  requireSameTarget(manifest, identity);
  const reader = await store.openCheckpoint(manifest.number);
  const processes = new Map<number, ParentProcess>();
  for (const { pid, fingerprint } of manifest.processes) {
    const index = await reader.index(pid);
    const present = await index.present();
    const trackerState = manifest.tracker === trackerKind ? await reader.trackerState(pid) : undefined;
    processes.set(pid, { index, pages: { present, trackerState }, fingerprint });
  }
  return { manifest, reader, processes };
}

/**
 * The newest checkpoint.
 * @throws UsageError if there is none.
 */
export async function requireNewest(store: Store): Promise<Manifest> {
  const manifest = await store.newest();
  if (manifest !== undefined) return manifest;
  throw new UsageError(`the store ${store.directory} has no checkpoint that a delta could be taken on`, {
    hint: "take a base first: the same command without '--incremental'",
  });
}

/** @throws TargetError saying what changed, if the checkpoint is not of the target with this identity. */
export function requireSameTarget(manifest: Manifest, identity: TargetIdentity): void {
  const { target, number } = manifest;
  const why = identityDifference(target, identity);
  if (why === undefined) return;
  throw new TargetError(`checkpoint ${number} cannot be the parent of a dump of ${identity.name}: ${why}`, {
    hint: "take a new base: the same command without '--incremental'",
    data: { checkpoint: number, storedTarget: target.name, target: identity.name },
  });
}

/**
 * Learns which contents the parent's pages have, and where: all of them, or those that may be wanted.
 * @throws IntegrityError
 */
export async function learnContents(
  parent: {
    readonly manifest: Manifest;
    readonly processes: ReadonlyMap<number, { readonly index: ProcessIndex }>;
  },
  known: KnownPages,
  wanted: WantedDigests | undefined,
): Promise<void> {
  if (wanted === undefined) {
    known.reserve(parent.manifest.processes.reduce((sum, { index }) => sum + index.dataPages, 0));
  }
  for (const { index } of parent.processes.values()) {
    for (const reference of index.segments) {
      const { segment } = await index.load(reference);
      const { packs, deltaPacks, positions, digests } = segment;
      for (let entry = 0; entry < segment.count; entry++) {
        if (packs[entry] === 0 || deltaPacks[entry] !== 0) continue;
        if (wanted?.mayHave(digests, entry) === false) continue;
        known.add(digests, entry * PAGE_DIGEST_BYTES, packs[entry]!, positions[entry]!);
      }
    }
  }
}
