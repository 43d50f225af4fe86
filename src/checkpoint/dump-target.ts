import { CodecPool } from '../codec/index.ts';
import { UsageError } from '../core/index.ts';
import { Store } from '../store/index.ts';
import type { Target } from '../target/index.ts';
import { takeCheckpoint } from './dump.ts';
import type { CheckpointOptions, DumpResult } from './dump-types.ts';
import { openTarget, parseTarget } from './open-target.ts';
import { rehearseFreeze } from './rehearse-freeze.ts';

/** One `ckpt dump`: a target, a store, and how many checkpoints. */
export interface DumpRequest extends CheckpointOptions {
  /** `sim:FILE` or a PID. */
  readonly target: string;
  readonly storeDirectory: string;
  /** The live process alone, without its descendants. */
  readonly single?: boolean;
  /** Let the target run this long, on its own clock, before the first checkpoint. */
  readonly waitMicroseconds?: number;
  /** Take further checkpoints, each a delta, this far apart. */
  readonly everyMicroseconds?: number;
  /** How many in all; without it, with `everyMicroseconds`, until the signal aborts. */
  readonly count?: number;
  /** Compression threads; by default one for each core. */
  readonly workers?: number;
  /** Given what lets a stopped target go on at once; returns what takes that back. */
  readonly onStop?: (release: () => void) => () => void;
  /** Told about each checkpoint when it exists. */
  readonly onCheckpoint?: (result: DumpResult) => void;
}

/**
 * Takes one checkpoint, or several, of a target into a store. A base creates the store if there is none.
 * @returns what each dump did.
 * @throws as `takeCheckpoint`, `openTarget` and `Store.open`.
 */
export async function dumpTarget(request: DumpRequest): Promise<DumpResult[]> {
  const specification = parseTarget(request.target);
  if (request.count !== undefined && request.everyMicroseconds === undefined) {
    throw new UsageError(
      '--count tells how many checkpoints to take, and needs --every to tell how far apart',
      {
        hint: 'for example --every 500ms --count 5',
      },
    );
  }
  const pool = new CodecPool(request.workers === undefined ? {} : { workers: request.workers });
  try {
    const access = request.incremental ? 'write' : 'create';
    const store = await Store.open(request.storeDirectory, { access, command: 'ckpt dump', codec: pool });
    try {
      for (const notice of store.notices) request.onNote?.(notice);
      // The threads start while the target is opened; the first job meets what fails.
      pool.start().catch(() => undefined);
      const target = await openTarget(specification, store, request);
      if (specification.kind === 'live') await rehearseFreeze(request.tracker ?? 'auto');
      return await dumpOpened(target, store, pool, request);
    } finally {
      await store.close();
    }
  } finally {
    await pool.close();
  }
}

async function dumpOpened(
  target: Target,
  store: Store,
  pool: CodecPool,
  request: DumpRequest,
): Promise<DumpResult[]> {
  const withdraw = request.onStop?.(() => target.thaw());
  const count = request.everyMicroseconds === undefined ? 1 : (request.count ?? Number.POSITIVE_INFINITY);
  const results: DumpResult[] = [];
  let succeeded = false;
  try {
    while (results.length < count) {
      const isFirst = results.length === 0;
      await letRun(target, isFirst ? request.waitMicroseconds : request.everyMicroseconds, request);
      const result = await takeCheckpoint(target, store, pool, {
        ...request,
        incremental: request.incremental || !isFirst,
        leaveStopped: request.leaveStopped === true && results.length + 1 === count,
      });
      results.push(result);
      request.onCheckpoint?.(result);
    }
    succeeded = true;
    return results;
  } finally {
    withdraw?.();
    await target.close({ leaveStopped: succeeded && request.leaveStopped === true });
  }
}

async function letRun(target: Target, microseconds: number | undefined, request: DumpRequest): Promise<void> {
  if (microseconds === undefined || microseconds === 0) return;
  request.onProgress?.({ phase: 'letting the target run', donePages: 0, totalPages: 0, doneBytes: 0 });
  await target.run(microseconds, request.signal);
}
