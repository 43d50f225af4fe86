import type { CodecPool } from '../codec/index.ts';
import { PAGE_SIZE, PageRangeList, TargetError, UnsupportedError } from '../core/index.ts';
import type { StoredProcess } from '../image/index.ts';
import type { CheckpointReader, Store } from '../store/index.ts';
import {
  decodeLiveState,
  Launch,
  type LaunchObstacle,
  type LaunchPlan,
  type LaunchSource,
  type LiveState,
  planLaunch,
  type StandardStreams,
} from '../target/index.ts';
import type { WorkProgress } from './dump-types.ts';
import { proveMemoryDigest } from './memory-proof.ts';
import {
  type CheckpointName,
  openNamed,
  readStore,
  readStoreWith,
  requireOwnDump,
  requireRestorable,
} from './read-store.ts';

/** Which checkpoint becomes a new process, and how. */
export interface ReviveRequest {
  readonly storeDirectory: string;
  readonly checkpoint: CheckpointName;
  /** What becomes of standard streams that led outside. */
  readonly streams: StandardStreams;
  /** Apart from ckpt, in a session of its own; otherwise a child of ckpt, which `waitForEnd` waits for. */
  readonly detached: boolean;
  /** Leaves the new processes as after SIGSTOP. */
  readonly leaveStopped?: boolean;
  /** Goes on despite obstacles of the kind that the program may not mind. */
  readonly force?: boolean;
  /** Threads that run already; otherwise some are started. */
  readonly pool?: CodecPool;
  /** The memory digest was computed from these very pages just now, when they were written: it is not proved again. */
  readonly isProved?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: WorkProgress) => void;
  /** Told what stands in the way, as sentences, before that is thrown. */
  readonly onObstacles?: (obstacles: readonly string[]) => void;
  /** Told what is different from before, once it is settled that the processes will be made. */
  readonly onNote?: (note: string) => void;
}

/** A process, in short. */
export interface ProcessOutline {
  readonly pid: number;
  readonly name: string;
  readonly threads: number;
}

/** New processes, running. */
export interface Revived {
  readonly checkpoint: number;
  readonly pid: number;
  readonly processes: readonly ProcessOutline[];
  readonly pages: number;
  readonly bytes: number;
  readonly memoryDigest: string;
  /** What is different from before, as sentences. */
  readonly notes: readonly string[];
  readonly microseconds: number;
}

/** The new processes, and the end of their root for who is its parent. */
export interface Revival {
  readonly revived: Revived;
  /** Whether Ctrl-C reaches the new process as it reaches ckpt; otherwise it has to be passed on. */
  readonly sharesProcessGroup: boolean;
  /** Not for a detached one. @returns its exit code, or 128 and the signal that killed it */
  waitForEnd(): Promise<number>;
}

/** New processes that are whole and stand still. They die with ckpt unless they are released. */
export interface PreparedRevival {
  readonly pid: number;
  /** Lets them go on. */
  release(): Revival;
  /** Ends them. */
  abort(): void;
}

/**
 * Makes the processes of a checkpoint anew, under their PIDs: all obstacles are found before anything is started, and
 * until all is in place a failure, or the end of ckpt, leaves nothing behind.
 * @throws TargetError listing every obstacle, UnsupportedError for a checkpoint without the state of a live target,
 *   IntegrityError if the store is damaged
 */
export async function reviveCheckpoint(request: ReviveRequest): Promise<Revival> {
  const prepared = await prepareRevival(request);
  return prepared.release();
}

/**
 * Does all that `reviveCheckpoint` does but the last step, which takes no time.
 * @throws as `reviveCheckpoint`
 */
export async function prepareRevival(request: ReviveRequest): Promise<PreparedRevival> {
  const started = performance.now();
  const { storeDirectory, pool } = request;
  const read: typeof readStore = (directory, use) =>
    pool === undefined ? readStore(directory, use) : readStoreWith(directory, pool, use);
  return read(storeDirectory, async (store) => {
    const { reader, state, plan } = await prepare(store, request);
    const notes = [...settleObstacles(plan, reader.manifest.number, request), ...plan.notes];
    for (const note of notes) request.onNote?.(note);
    const launch = await Launch.begin(plan, { detached: request.detached });
    try {
      const pages = await writeMemory(reader, launch, request);
      const skipped = launch.finish();
      for (const note of skipped) request.onNote?.(note);
      request.signal?.throwIfAborted();
      const facts = {
        checkpoint: reader.manifest.number,
        pid: launch.rootPid,
        processes: outlineOf(state),
        pages,
        bytes: pages * PAGE_SIZE,
        memoryDigest: reader.manifest.memoryDigest,
        notes: [...notes, ...skipped],
      };
      return {
        pid: launch.rootPid,
        release: () => release(launch, request, { facts, started }),
        abort: () => launch.abort(),
      };
    } catch (error) {
      launch.abort();
      throw error;
    }
  });
}

function release(
  launch: Launch,
  { leaveStopped }: ReviveRequest,
  { facts, started }: { facts: Omit<Revived, 'microseconds'>; started: number },
): Revival {
  try {
    launch.release(leaveStopped === true);
  } catch (error) {
    launch.abort();
    throw error;
  }
  const microseconds = Math.round((performance.now() - started) * 1000);
  const { sharesProcessGroup } = launch;
  return { revived: { ...facts, microseconds }, sharesProcessGroup, waitForEnd: () => launch.waitForEnd() };
}

/** What would become of a checkpoint. */
export interface Prospect {
  readonly checkpoint: number;
  readonly processes: readonly ProcessOutline[];
  /** What stands in the way; those that are `forcible` can be overridden. */
  readonly obstacles: readonly LaunchObstacle[];
  readonly notes: readonly string[];
}

/** Looks at everything that `reviveCheckpoint` would look at, and starts nothing. */
export async function examineRevival(
  request: Pick<ReviveRequest, 'storeDirectory' | 'checkpoint' | 'streams'>,
): Promise<Prospect> {
  return readStore(request.storeDirectory, async (store) => {
    const { reader, state, plan } = await prepare(store, request);
    const { obstacles, notes } = plan;
    return { checkpoint: reader.manifest.number, processes: outlineOf(state), obstacles, notes };
  });
}

async function prepare(
  store: Store,
  { checkpoint, streams, isProved }: Pick<ReviveRequest, 'checkpoint' | 'streams' | 'isProved'>,
): Promise<{ reader: CheckpointReader; state: LiveState; plan: LaunchPlan }> {
  const reader = await openNamed(store, checkpoint);
  requireOwnDump(reader);
  requireRestorable(reader);
  if (isProved !== true) await proveMemoryDigest(reader);
  const state = await liveStateOf(reader);
  return { reader, state, plan: await planRevival(reader, state, streams) };
}

function outlineOf({ processes }: LiveState): ProcessOutline[] {
  return processes.map(({ pid, name, threads }) => ({ pid, name, threads: threads.length }));
}

async function liveStateOf(reader: CheckpointReader): Promise<LiveState> {
  const { number, target } = reader.manifest;
  const bytes = await reader.state();
  if (target.kind !== 'live' || bytes === undefined) {
    throw new UnsupportedError(`checkpoint ${number} is not of a live process`, {
      hint: '--run DURATION lets a simulated process go on',
      data: { checkpoint: number },
    });
  }
  return decodeLiveState(bytes, `the state of checkpoint ${number}`);
}

async function planRevival(
  reader: CheckpointReader,
  state: LiveState,
  streams: StandardStreams,
): Promise<LaunchPlan> {
  const { processes, createdAt, number } = reader.manifest;
  const sources: LaunchSource[] = [];
  for (const process of state.processes) {
    const stored = processes.find(({ pid }) => pid === process.pid);
    if (stored === undefined) {
      throw new TargetError(`checkpoint ${number} does not hold the memory of process ${process.pid}`, {
        data: { checkpoint: number, pid: process.pid },
      });
    }
    sources.push({ state: process, vmas: stored.vmas, vdso: await vdsoOf(reader, stored) });
  }
  return planLaunch(state, sources, { takenAtMilliseconds: Date.parse(createdAt) }, streams);
}

async function vdsoOf(reader: CheckpointReader, { pid, vmas }: StoredProcess): Promise<Uint8Array> {
  const vma = vmas.find(({ pathname }) => pathname === '[vdso]');
  if (vma === undefined) return new Uint8Array();
  const contents = new Uint8Array((vma.endPage - vma.startPage) * PAGE_SIZE);
  const range = new PageRangeList();
  range.append(vma.startPage, vma.endPage);
  for await (const { startPage, bytes } of reader.pages(pid, range)) {
    if (bytes !== undefined) contents.set(bytes, (startPage - vma.startPage) * PAGE_SIZE);
  }
  return contents;
}

/** @returns the obstacles that are overridden, as notes. @throws TargetError if any stands in the way */
function settleObstacles(
  { obstacles }: LaunchPlan,
  checkpoint: number,
  { force, onObstacles }: ReviveRequest,
): string[] {
  const standing = force === true ? obstacles.filter(({ forcible }) => !forcible) : obstacles;
  if (standing.length === 0) return obstacles.map(sentenceOf);
  onObstacles?.(standing.map(sentenceOf));
  const list = standing.map((obstacle) => `\n  ${sentenceOf(obstacle)}`).join('');
  throw new TargetError(`checkpoint ${checkpoint} cannot become a new process:${list}`, {
    hint: hintFor(standing),
    data: { checkpoint, obstacles: standing.length },
  });
}

function hintFor(obstacles: readonly LaunchObstacle[]): string {
  const remedies = new Set(obstacles.map(({ remedy }) => remedy));
  const [remedy] = remedies;
  if (remedies.size === 1 && remedy !== undefined) return remedy;
  return obstacles.every(({ forcible }) => forcible)
    ? '--force makes it nevertheless; whether the program minds is its own affair'
    : 'CRIU (criu restore) knows how to restore more, from images of its own; ' +
        "'--format core' and '--to DIR' give the memory";
}

function sentenceOf({ pid, message }: LaunchObstacle): string {
  return `process ${pid}: ${message}`;
}

async function writeMemory(
  reader: CheckpointReader,
  launch: Launch,
  request: ReviveRequest,
): Promise<number> {
  const { processes, pages } = reader.manifest;
  let donePages = 0;
  for (const { pid } of processes) {
    for await (const { startPage, pageCount, bytes } of reader.pages(pid)) {
      request.signal?.throwIfAborted();
      launch.write(pid, startPage, pageCount, bytes);
      donePages += pageCount;
      request.onProgress?.({
        phase: 'restoring',
        donePages,
        totalPages: pages.present,
        doneBytes: donePages * PAGE_SIZE,
      });
    }
  }
  return donePages;
}
