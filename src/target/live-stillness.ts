import { readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { machineClock, TargetError } from '../core/index.ts';
import { goneError, isDeadState, readTaskStat, threadIds } from './live-files.ts';
import type { StopRequest } from './live-freezer.ts';
import type { TreeMember } from './live-tree.ts';

/** How long to ask without a pause: most targets stop within this time, and a pause would last longer. */
const IMPATIENT_MICROSECONDS = 3_000;

/**
 * Waits until no thread of the process runs any more. One that ends meanwhile stands still, too.
 * @param isFrozen whether the kernel itself vouches for the stop; without it the states of the threads are looked at
 * @throws TargetError if it does not stand still in time, or is not to any more
 */
export async function waitUntilStill(
  pid: number,
  request: StopRequest,
  isFrozen?: () => boolean,
): Promise<void> {
  const { timeoutMicroseconds, isWanted } = request;
  const began = machineClock();
  for (;;) {
    const moving = movingThread(pid, isFrozen);
    if (moving === undefined) return;
    const elapsed = machineClock() - began;
    if (elapsed > timeoutMicroseconds) throw tooSlow(pid, moving, timeoutMicroseconds);
    if (elapsed > IMPATIENT_MICROSECONDS) await setTimeout(1);
    if (!isWanted()) throw new TargetError(`process ${pid} was let go before it stood still`);
  }
}

interface MovingThread {
  readonly id: number;
  readonly state: string;
}

function tooSlow(pid: number, { id, state }: MovingThread, timeoutMicroseconds: number): TargetError {
  return new TargetError(
    `process ${pid} did not stop within ${timeoutMicroseconds / 1e6} s: thread ${id} is in state ${state}`,
    {
      hint:
        state === 'D'
          ? 'it waits in the kernel for a device or for a child of vfork; try again later'
          : 'see whether a debugger or another tool holds it',
      data: { pid, thread: id, state },
    },
  );
}

function movingThread(pid: number, isFrozen: (() => boolean) | undefined): MovingThread | undefined {
  for (const id of threadIds(pid)) {
    const state = readTaskStat(pid, id)?.state;
    if (state === undefined || isDeadState(state)) continue;
    const still = isFrozen === undefined ? state === 'T' || state === 't' : isFrozen();
    if (!still) return { id, state };
  }
  return undefined;
}

/**
 * Counts how often each thread of the processes has been put on a processor or taken off it. The same text twice means
 * that in between no thread has executed anything.
 */
export function activityOf(members: readonly TreeMember[]): string {
  return members
    .flatMap(({ pid }) => threadIds(pid).map((id) => `${pid} ${id} ${contextSwitches(pid, id)}`))
    .join('\n');
}

/** @throws TargetError if one of the processes has run or ended since its activity was counted */
export function requireSameActivity(members: readonly TreeMember[], activity: string): void {
  for (const { pid, stat } of members) {
    const now = readTaskStat(pid);
    if (now === undefined || now.startTicks !== stat.startTicks || isDeadState(now.state)) {
      throw goneError(pid);
    }
  }
  const now = activityOf(members);
  if (now === activity) return;
  const [before, after] = [activity.split('\n'), now.split('\n')];
  const line = after.find((text, index) => text !== before[index]) ?? '';
  const pid = Number.parseInt(line, 10) || members[0]!.pid;
  throw new TargetError(`process ${pid} was continued by somebody else while it was being dumped`, {
    hint: 'take the checkpoint again',
    data: { pid },
  });
}

function contextSwitches(pid: number, thread: number): string {
  try {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'latin1');
    return [...status.matchAll(/^(?:non)?voluntary_ctxt_switches:\s*(\d+)$/gm)].map(([, n]) => n).join(' ');
  } catch {
    return 'gone';
  }
}
