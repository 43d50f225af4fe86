import { PageRangeList, TargetError, UsageError } from '../core/index.ts';
import type { Manifest } from '../image/index.ts';
import type { CheckpointReader, KnownPages, ProcessIndex, Store } from '../store/index.ts';
import { identityDifference, type TargetIdentity } from '../target/index.ts';
import type { ParentPages } from '../tracker/index.ts';

/** What a delta needs of one process of its parent, fetched before the freeze. */
export interface ParentProcess {
  readonly index: ProcessIndex;
  readonly pages: ParentPages;
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
  known: KnownPages,
): Promise<Parent> {
  const manifest = await requireNewest(store);
  requireSameTarget(manifest, identity);
  const reader = await store.openCheckpoint(manifest.number);
  known.reserve(manifest.processes.reduce((sum, { index }) => sum + index.dataPages, 0));
  const processes = new Map<number, ParentProcess>();
  for (const { pid } of manifest.processes) {
    const index = await reader.index(pid);
    const present = await learnPages(index, known);
    const trackerState = manifest.tracker === trackerKind ? await reader.trackerState(pid) : undefined;
    processes.set(pid, { index, pages: { present, trackerState } });
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

/** One pass over an index: which pages exist, and which contents lie where. */
async function learnPages(index: ProcessIndex, known: KnownPages): Promise<PageRangeList> {
  const present = new PageRangeList();
  for (const reference of index.segments) {
    const { segment } = await index.load(reference);
    for (let entry = 0; entry < segment.count; entry++) {
      const page = segment.startPage + segment.offsets[entry]!;
      present.append(page, page + 1);
      if (segment.packs[entry] !== 0 && segment.deltaPacks[entry] === 0) {
        known.add(segment.digests, entry * 16, segment.packs[entry]!, segment.positions[entry]!);
      }
    }
  }
  return present;
}
