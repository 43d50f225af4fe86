import { machineClock, PageRangeList } from '../core/index.ts';
import type { DumpWarning, Manifest, NotRestorable, StoredIdentity } from '../image/index.ts';
import type { CheckpointReader, CheckpointWriter, NewFiles, NewProcess, Store } from '../store/index.ts';
import type { TargetState } from '../target/index.ts';
import { IndexFeeder, unchangedPages } from './index-feeder.ts';
import { PreviousPages } from './previous-pages.ts';
import { objectsFirst, SharedObjects } from './shared-objects.ts';

/** What a checkpoint becomes while its pages stay. */
export interface Rewriting {
  readonly checkpoint: number;
  /** All processes and objects of shared memory. Pages that lie in none of their VMAs go away. */
  readonly processes: readonly NewProcess[];
  readonly preDump: boolean;
  readonly notRestorable?: NotRestorable | undefined;
  readonly target: StoredIdentity;
  readonly warnings: readonly DumpWarning[];
  readonly state?: TargetState | undefined;
  readonly files?: NewFiles | undefined;
}

/**
 * Writes a checkpoint anew in its place, in one step: with the pages that it has, and with what was not known when they
 * were stored. Number, parent and time stay, and so do the checkpoints on top of it.
 * @throws CheckpointNotFoundError, IntegrityError, StoreFullError; the checkpoint is then as it was
 */
export async function rewriteCheckpoint(store: Store, rewriting: Rewriting): Promise<Manifest> {
  const reader = await store.openCheckpoint(rewriting.checkpoint);
  const { manifest } = reader;
  const { parent, codec } = manifest;
  const writer = await store.beginCheckpoint({ parent, compression: codec, rewrites: manifest });
  try {
    return await rewrite(reader, writer, rewriting);
  } catch (cause) {
    await writer.abort();
    throw cause;
  }
}

async function rewrite(
  reader: CheckpointReader,
  writer: CheckpointWriter,
  rewriting: Rewriting,
): Promise<Manifest> {
  const started = machineClock();
  const { createdAt, tracker, microseconds } = reader.manifest;
  const { scanned, dirty, shared, written } = reader.manifest.pages;
  const { processes, state, files, ...facts } = rewriting;
  const objects = new SharedObjects();
  for (const process of objectsFirst(processes)) await rewriteProcess(reader, writer, process, objects);
  if (state !== undefined) await writer.setState(state);
  if (files !== undefined) await writer.setFiles(files);
  const total = () => microseconds.total + Math.round(machineClock() - started);
  return writer.commit({
    ...facts,
    createdAt,
    tracker,
    pages: { scanned, dirty, shared, written },
    times: () => ({ ...microseconds, total: total() }),
  });
}

async function rewriteProcess(
  reader: CheckpointReader,
  writer: CheckpointWriter,
  process: NewProcess,
  objects: SharedObjects,
): Promise<void> {
  const { pid, vmas, sharedMemory } = process;
  const isKnown = reader.manifest.processes.some((known) => known.pid === pid);
  const index = isKnown ? await reader.index(pid) : undefined;
  const before = (await index?.present()) ?? new PageRangeList();
  const kept = before.intersection(PageRangeList.of(...vmas));
  const builder = writer.buildIndex(index);
  const { sources } = objects.shownBy(process, kept);
  await new IndexFeeder({ builder, log: undefined }, [unchangedPages(kept, undefined), ...sources]).finish();
  await writer.finishProcess(process, builder);
  if (sharedMemory !== undefined) objects.add(pid, kept, new PreviousPages([], index));
}
