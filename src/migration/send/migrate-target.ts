import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { openFreshTarget, parseTarget, rehearseFreeze } from '../../checkpoint/index.ts';
import { CodecPool } from '../../codec/index.ts';
import { CkptError, UsageError } from '../../core/index.ts';
import type { Target } from '../../target/index.ts';
import { isTracked, removeTracking } from '../trace/tracking.ts';
import type { Channel } from '../wire/channel.ts';
import { connectChannel } from '../wire/connect.ts';
import type { ConnectOptions, PeerAddress } from '../wire/options.ts';
import { ModelledTime, RealTime } from './migration-time.ts';
import { rulesOf } from './rules.ts';
import { sendTarget } from './send-target.ts';
import type { Migration, SendOptions } from './send-types.ts';
import { SourceRecordFile } from './source-record.ts';

/** One `ckpt migrate`. */
export interface MigrateRequest
  extends Omit<SendOptions, 'migrationId' | 'time' | 'scratchDirectory' | 'onCommit'> {
  /** `sim:FILE` or a PID. */
  readonly target: string;
  readonly to: PeerAddress;
  readonly connect: ConnectOptions;
  /** The live process alone, without its descendants. */
  readonly single?: boolean;
  /** Let a simulated target run this long first. */
  readonly waitMicroseconds?: number;
  /** A simulated target's time passes as if so many bytes a second were sent; by default as time passes. */
  readonly virtualBytesPerSecond?: number;
  /** Compression threads; by default one for each core. */
  readonly workers?: number;
  /** Where it is noted that a live target stays stopped; by default SOURCE_RECORDS_DIRECTORY. */
  readonly recordsDirectory?: string;
  /** Given what lets a stopped target go on at once; returns what takes that back. */
  readonly onStop?: (release: () => void) => () => void;
}

/**
 * Migrates a target to the `ckpt receive` at an address.
 * @throws as `sendTarget`, and what opening the target throws
 */
export async function migrateTarget(request: MigrateRequest): Promise<Migration> {
  // Rules that nobody can follow are refused before anything is touched.
  rulesOf(request.choice);
  const pool = new CodecPool(request.workers === undefined ? {} : { workers: request.workers });
  try {
    // The threads start while the target is opened; the first job meets what fails.
    pool.start().catch(() => undefined);
    const target = await openFreshTarget(parseTarget(request.target), request);
    return await migrateOpened(target, pool, request);
  } finally {
    await pool.close();
  }
}

async function migrateOpened(target: Target, pool: CodecPool, request: MigrateRequest): Promise<Migration> {
  const isLive = target.identity.kind === 'live';
  const migrationId = randomBytes(16).toString('hex');
  const record = new SourceRecordFile(migrationId, request.recordsDirectory);
  const withdraw = request.onStop?.(() => target.thaw());
  let staysStopped = false;
  let goesOn = true;
  let wasTracked = true;
  try {
    await target.prepareFreeze?.();
    wasTracked = target.processes().some(isTracked);
    if (isLive) await rehearseFreeze(request.tracker ?? 'auto');
    else await target.run(request.waitMicroseconds ?? 0, request.signal);
    const time = timeOf(request, isLive);
    const channel = await connectTo(request);
    const migration = await sendTarget(target, channel, pool, {
      ...request,
      migrationId,
      time,
      scratchDirectory: tmpdir(),
      onCommit: () => {
        // From here on a signal must not let it go.
        withdraw?.();
        if (isLive) record.write(migrationId, target);
      },
    });
    goesOn = migration.end !== 'moved';
    staysStopped = migration.end === 'moved' && request.leaveStopped === true;
    record.remove();
    return migration;
  } catch (error) {
    staysStopped = error instanceof CkptError && error.data['inDoubt'] === true;
    if (!staysStopped) record.remove();
    throw error;
  } finally {
    if (isLive && goesOn && !staysStopped && !wasTracked) await removeTracking(target);
    withdraw?.();
    await target.close({ leaveStopped: staysStopped });
  }
}

/** A signal ends the attempt to connect; what it means later is not for the channel to say. */
async function connectTo({ to, connect, signal }: MigrateRequest): Promise<Channel> {
  const attempt = new AbortController();
  const onAbort = () => attempt.abort(signal?.reason);
  signal?.throwIfAborted();
  signal?.addEventListener('abort', onAbort);
  try {
    return await connectChannel(to, { ...connect, signal: attempt.signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

function timeOf({ virtualBytesPerSecond }: MigrateRequest, isLive: boolean) {
  if (virtualBytesPerSecond === undefined) return new RealTime();
  if (isLive) {
    throw new UsageError('--virtual-bandwidth is for simulated targets: the time of a process is real');
  }
  return new ModelledTime(virtualBytesPerSecond);
}
