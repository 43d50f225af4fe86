import { digestTargetMemory, prepareRevival, takeCheckpoint } from '../../checkpoint/index.ts';
import type { CodecPool } from '../../codec/index.ts';
import { CkptError, IntegrityError, PeerError } from '../../core/index.ts';
import type { Store } from '../../store/index.ts';
import {
  bootId,
  isDeadState,
  readTaskStat,
  restoreSimulatedTarget,
  type SimulatedTarget,
  type Target,
  type TargetIdentity,
  type TargetState,
} from '../../target/index.ts';
import type { StartedProcess } from './records.ts';
import type { RanOn, ReceiveOptions } from './request.ts';

/** A target that has come whole, and that nothing but `start` lets run. */
export interface PreparedTarget {
  /** Why it cannot run here, as sentences; `start` is not called then. */
  readonly obstacles: readonly string[];
  /** The root of a live target, in the making. */
  readonly process: StartedProcess | null;
  /** Lets it run. To be called once, after the commit is on disk. @returns the PID of a live target's root */
  start(): number | null;
  /** Makes sure that it never runs. */
  abort(): void;
}

/**
 * The simulated target that a state describes, proved to have the memory that was received: the state's own copy of it
 * is not believed.
 * @throws IntegrityError if its memory has another digest, PeerError if it is another target than was announced.
 */
export async function restoreProved(
  state: TargetState,
  identity: TargetIdentity,
  memoryDigest: string,
  pool: CodecPool,
): Promise<SimulatedTarget> {
  const target = restoreSimulated(state, identity);
  const found = await digestTargetMemory(target, pool);
  if (found !== memoryDigest) {
    throw new IntegrityError(
      'the state of the target that was received does not belong to the memory that was received',
      {
        data: { received: memoryDigest, restored: found },
      },
    );
  }
  return target;
}

/** @throws PeerError if the state cannot be restored, or is that of another target than was announced */
export function restoreSimulated(state: TargetState, identity: TargetIdentity): SimulatedTarget {
  const target = restoreOrRefuse(state);
  if (target.identity.fingerprint === identity.fingerprint && identity.kind === 'simulated') return target;
  throw new PeerError(
    `the other end announced ${identity.name} and sent the state of ${target.identity.name}`,
  );
}

function restoreOrRefuse(state: TargetState): SimulatedTarget {
  try {
    return restoreSimulatedTarget(state);
  } catch (cause) {
    // Bytes that somebody made up can fail in any way.
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new PeerError(`the state of the target cannot be restored: ${why}`, { cause });
  }
}

/** A simulated target starts by standing ready: it lives in its newest checkpoint until somebody lets it run. */
export const preparedSimulated: PreparedTarget = {
  obstacles: [],
  process: null,
  start: () => null,
  abort: () => undefined,
};

/** Lets a simulated target run on, and rest as a further checkpoint. */
export async function runOn(
  target: Target,
  store: Store,
  pool: CodecPool,
  microseconds: number,
  signal: AbortSignal | undefined,
): Promise<RanOn> {
  await target.run(microseconds, signal);
  return rest(target, store, pool, microseconds);
}

/**
 * Takes a further checkpoint of a simulated target that has run on for so long. Its pages are compared, since a tracker
 * would leave marks that nobody has asked for.
 */
export async function rest(
  target: Target,
  store: Store,
  pool: CodecPool,
  microseconds: number,
): Promise<RanOn> {
  const { checkpoint, memoryDigest } = await takeCheckpoint(target, store, pool, {
    incremental: true,
    tracker: 'compare',
  });
  return { microseconds, nowMicroseconds: target.nowMicroseconds(), checkpoint, memoryDigest };
}

/**
 * The processes of a live target's checkpoint, made anew and standing still, or what stands in the way.
 * @param isProved its memory digest has been compared with that of the source just now
 * @throws IntegrityError, UnsupportedError, StoreUnusableError
 */
export async function prepareLive(
  storeDirectory: string,
  checkpoint: number,
  options: Pick<ReceiveOptions, 'force' | 'onEvent'>,
  pool: CodecPool,
  isProved: boolean,
): Promise<PreparedTarget> {
  let obstacles: readonly string[] = [];
  try {
    const revival = await prepareRevival({
      storeDirectory,
      checkpoint,
      pool,
      isProved,
      streams: 'null',
      detached: true,
      force: options.force === true,
      onObstacles: (found) => {
        obstacles = found;
      },
      onNote: (text) => options.onEvent?.({ kind: 'note', text }),
    });
    return {
      obstacles,
      process: identify(revival.pid),
      start: () => revival.release().revived.pid,
      abort: () => revival.abort(),
    };
  } catch (error) {
    if (!(error instanceof CkptError) || error instanceof IntegrityError) throw error;
    return notRunnable(obstacles.length > 0 ? obstacles : [error.message]);
  }
}

function notRunnable(obstacles: readonly string[]): PreparedTarget {
  return { ...preparedSimulated, obstacles };
}

function identify(pid: number): StartedProcess {
  return { pid, startTicks: startTicksOf(pid) ?? '', bootId: bootId() };
}

/** Whether exactly this process still exists. */
export function stillExists({ pid, startTicks, bootId: boot }: StartedProcess): boolean {
  return boot === bootId() && startTicksOf(pid) === startTicks;
}

function startTicksOf(pid: number): string | undefined {
  const stat = readTaskStat(pid);
  return stat === undefined || isDeadState(stat.state) ? undefined : String(stat.startTicks);
}
