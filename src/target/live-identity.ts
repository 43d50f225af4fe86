import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { UnsupportedError } from '../core/index.ts';
import type { TaskStat } from '../procfs/index.ts';
import { procError } from './live-files.ts';
import type { TargetIdentity } from './view.ts';

/** What of a live target has to stay the same, in the order in which a difference is looked for. */
const PARTS = [
  { name: 'boot', difference: 'the machine has been restarted since' },
  { name: 'pid', difference: undefined },
  { name: 'start', difference: 'the process has ended since and its PID belongs to another one now' },
  { name: 'exe', difference: 'the process has executed another program since' },
  { name: 'image', difference: 'the process has executed its program anew since' },
] as const;

/** What of each of its processes has to stay the same. */
const PROCESS_PARTS = PARTS.slice(2);

/**
 * Names the process that `stat` describes. The fingerprint has a readable part for each thing that must stay the same:
 * boot id, PID, start time, inode of the program, and where exec put it in memory (hashed, for it tells of the
 * address layout).
 */
export function liveIdentity(stat: TaskStat): TargetIdentity {
  const { pid } = stat;
  return {
    kind: 'live',
    name: `${pid} (${stat.name})`,
    fingerprint: joinParts([bootId(), String(pid), ...processParts(stat)]),
  };
}

/**
 * Tells a process of a target from a later one with its PID, and from itself before an exec: the parts of an identity
 * that say so.
 */
export function processFingerprint(stat: TaskStat): string {
  return joinParts(processParts(stat), PARTS.length - PROCESS_PARTS.length);
}

function processParts(stat: TaskStat): readonly string[] {
  const image = shortHash(`${bootId()} ${stat.startCode} ${stat.startStack}`);
  return [String(stat.startTicks), exeInode(stat.pid), image];
}

/** @param from index in PARTS of the first value */
function joinParts(values: readonly string[], from = 0): string {
  return values.map((value, index) => `${PARTS[from + index]!.name}=${value}`).join(' ');
}

/** Of a checkpoint, whatever it is of. */
type RecordedIdentity = Omit<TargetIdentity, 'kind'> & { readonly kind: string };

/**
 * Why a checkpoint of `before` cannot be the parent of one of `now`, as a clause for a sentence; undefined if it can.
 */
export function identityDifference(before: RecordedIdentity, now: TargetIdentity): string | undefined {
  if (before.kind === now.kind && before.fingerprint === now.fingerprint) return undefined;
  return changeSince(before, now) ?? `it is of ${before.name}`;
}

/**
 * Why a process of an older checkpoint is not the one that has its PID now, as a clause for a sentence; undefined if it
 * is, as it is where one of the fingerprints is absent.
 */
export function processDifference(before: string | undefined, now: string | undefined): string | undefined {
  if (before === undefined || now === undefined || before === now) return undefined;
  const [earlier, later] = [before.split(' '), now.split(' ')];
  const different = PROCESS_PARTS.find((_, index) => earlier[index] !== later[index]);
  return different?.difference ?? 'it is another process';
}

/** What happened to the same target; undefined if it is another one. */
function changeSince(before: RecordedIdentity, now: TargetIdentity): string | undefined {
  if (before.kind !== now.kind) return undefined;
  if (now.kind === 'simulated') {
    return before.name === now.name ? 'the workload file was changed since' : undefined;
  }
  const [earlier, later] = [before.fingerprint.split(' '), now.fingerprint.split(' ')];
  return PARTS.find((_, index) => earlier[index] !== later[index])?.difference;
}

/**
 * Random for each boot of the machine.
 * @throws UnsupportedError where /proc/sys is hidden: without it a process cannot be told from one before a reboot
 */
export function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch (error) {
    throw new UnsupportedError(
      '/proc/sys/kernel/random/boot_id cannot be read, so no process can be known again',
      {
        hint: 'mount the whole of /proc (without subset=pid)',
        cause: error,
      },
    );
  }
}

function exeInode(pid: number): string {
  try {
    const { dev, ino } = statSync(`/proc/${pid}/exe`, { bigint: true });
    return `${dev}:${ino}`;
  } catch (error) {
    throw procError(error, pid, 'see the program');
  }
}

function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
