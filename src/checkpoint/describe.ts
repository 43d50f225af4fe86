import type { Manifest, StoredProcess } from '../image/index.ts';
import type { CheckpointReader } from '../store/index.ts';
import { decideMapping, type LiveState, type MappingDecision } from '../target/index.ts';
import { readLiveState } from './read-state.ts';
import { type CheckpointName, openNamed, readStore } from './read-store.ts';

/** Everything about a checkpoint but its pages. */
export interface CheckpointDescription {
  readonly manifest: Manifest;
  readonly processes: readonly ProcessDescription[];
  /** Of a live target: everything beyond its memory. Absent if it was recorded in a format of older ckpt. */
  readonly state?: LiveState;
}

/** One process, mapping by mapping. */
export interface ProcessDescription {
  readonly process: StoredProcess;
  readonly mappings: readonly MappingDescription[];
}

/** A mapping, why it is kept or not, and which of its pages the checkpoint has. */
export interface MappingDescription extends MappingDecision {
  readonly presentPages: number;
  readonly zeroPages: number;
  /** Stored by this checkpoint, not by an older one. */
  readonly ownPages: number;
}

/**
 * The manifests of a store, ascending.
 * @throws StoreNotFoundError, IntegrityError if a manifest is damaged.
 */
export async function listCheckpoints(storeDirectory: string): Promise<Manifest[]> {
  return readStore(storeDirectory, (store) => store.manifests(), 0);
}

/**
 * Describes a checkpoint.
 * @throws CheckpointNotFoundError, IntegrityError.
 */
export async function describeCheckpoint(
  storeDirectory: string,
  checkpoint: CheckpointName,
): Promise<CheckpointDescription> {
  return readStore(
    storeDirectory,
    async (store) => {
      const reader = await openNamed(store, checkpoint);
      const processes: ProcessDescription[] = [];
      for (const process of reader.manifest.processes) processes.push(await describeProcess(reader, process));
      const state = await readLiveState(reader);
      return { manifest: reader.manifest, processes, ...(state === undefined ? {} : { state }) };
    },
    0,
  );
}

async function describeProcess(
  reader: CheckpointReader,
  process: StoredProcess,
): Promise<ProcessDescription> {
  const mappings = process.vmas.map((vma) => ({
    ...decideMapping(vma),
    presentPages: 0,
    zeroPages: 0,
    ownPages: 0,
  }));
  const index = await reader.index(process.pid);
  let next = 0;
  for (const reference of index.segments) {
    const { segment } = await index.load(reference);
    for (let entry = 0; entry < segment.count; entry++) {
      const page = segment.startPage + segment.offsets[entry]!;
      while (next < mappings.length && mappings[next]!.vma.endPage <= page) next++;
      const mapping = mappings[next];
      if (mapping === undefined) break;
      mapping.presentPages++;
      if (segment.packs[entry] === 0) mapping.zeroPages++;
      else if ((segment.deltaPacks[entry] || segment.packs[entry]) === reader.manifest.pack)
        mapping.ownPages++;
    }
  }
  return { process, mappings };
}
