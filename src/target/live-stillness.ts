import { readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { machineClock, TargetError } from '../core/index.ts';
import { goneError, isDeadState, readTaskStat, threadIds } from './live-files.ts';
import type { Freezer } from './live-freezer.ts';

/** How long to ask without a pause: most targets stop within this time, and a pause would last longer. */
const IMPATIENT_MICROSECONDS = 3_000;

/**
 * Waits until no thread of the process runs any more.
 * @param isWanted false once the target was let go again meanwhile
 * @throws TargetError if it ends, or does not stand still in time
 */
export async function waitUntilStill(
  pid: number,
  freezer: Freezer,
  timeoutMicroseconds: number,
  isWanted: () => boolean,
): Promise<void> {
  const began = machineClock();
  for (;;) {
    const moving = movingThread(pid, freezer);
    if (moving === undefined) return;
    const elapsed = machineClock() - began;
    if (elapsed > timeoutMicroseconds) {
      throw new TargetError(
        `process ${pid} did not stop within ${timeoutMicroseconds / 1e6} s: thread ${moving.id} is in state ${moving.state}`,
        {
          hint:
            moving.state === 'D'
              ? 'it waits in the kernel for a device or for a child of vfork; try again later'
              : 'see whether a debugger or another tool holds it',
          data: { pid, thread: moving.id, state: moving.state },
        },
      );
    }
    if (elapsed > IMPATIENT_MICROSECONDS) await setTimeout(1);
    if (!isWanted()) throw new TargetError(`process ${pid} was let go before it stood still`);
  }
}

interface MovingThread {
  readonly id: number;
  readonly state: string;
}

function movingThread(pid: number, freezer: Freezer): MovingThread | undefined {
  const threads = threadIds(pid);
  if (threads.length === 0) throw goneError(pid);
  let alive = 0;
  for (const id of threads) {
    const state = readTaskStat(pid, id)?.state;
    if (state === undefined || isDeadState(state)) continue;
    alive++;
    const still = freezer.isFrozen === undefined ? state === 'T' || state === 't' : freezer.isFrozen();
    if (!still) return { id, state };
  }
  if (alive === 0) throw goneError(pid);
  return undefined;
}

/**
 * Counts how often each thread has been put on a processor or taken off it. The same text twice means that in
 * between no thread has executed anything.
 */
export function activityOf(pid: number): string {
  return threadIds(pid)
    .map((id) => `${id} ${contextSwitches(pid, id)}`)
    .join('\n');
}

function contextSwitches(pid: number, thread: number): string {
  try {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'latin1');
    return [...status.matchAll(/^(?:non)?voluntary_ctxt_switches:\s*(\d+)$/gm)].map(([, n]) => n).join(' ');
  } catch {
    return 'gone';
  }
}
