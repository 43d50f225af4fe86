import type { PosixTimer, ProcessTimers } from '../live-state-format.ts';
import { errnoName, SystemCallError } from '../native/errno.ts';
import type { Caller } from './caller.ts';
import { words } from './words.ts';

/** ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF. */
const INTERVAL_TIMERS = [0, 1, 2] as const;
const MICROSECONDS = 1_000_000;
const NANOSECONDS = 1_000_000_000n;
/** prctl since Linux 6.15: timer_create takes the id that it finds where it leaves the new one. */
const PR_TIMER_CREATE_RESTORE_IDS = 77;
const SIGEV_BYTES = 64;

/** Sets the interval timers; those without a value are stopped. */
export function setIntervalTimers(caller: Caller, intervals: ProcessTimers['intervals']): void {
  if (intervals === null) return;
  for (const which of INTERVAL_TIMERS) {
    const timer = intervals.find((one) => one.which === which);
    const every = timer?.intervalMicroseconds ?? 0;
    // One that ran out during the stop starts again when its signal is taken: about an interval later.
    const value = timer?.valueMicroseconds || every;
    // struct itimerval: interval and value, each seconds and microseconds
    const address = caller.writeScratch(words(...secondsOf(every), ...secondsOf(value)));
    caller.call('setitimer', which, address, 0);
  }
}

function secondsOf(microseconds: number): [number, number] {
  return [Math.floor(microseconds / MICROSECONDS), microseconds % MICROSECONDS];
}

/** Starts (or stops) a timer that exists with the time that it had left. */
export function setPosixTimer(caller: Caller, timer: PosixTimer): void {
  const value = BigInt(timer.remainingNanoseconds ?? 0);
  const every = BigInt(timer.intervalNanoseconds ?? 0);
  const address = caller.writeScratch(
    words(every / NANOSECONDS, every % NANOSECONDS, value / NANOSECONDS, value % NANOSECONDS),
  );
  caller.call('timer_settime', timer.id, 0, address, 0);
}

export function deletePosixTimer(caller: Caller, id: number): void {
  caller.call('timer_delete', id);
}

/**
 * Creates timers under the ids that they had, and sets them.
 * @throws SystemCallError if the kernel cannot give a timer its id (before 6.15 it gives ids in order)
 */
export function createPosixTimers(caller: Caller, timers: readonly PosixTimer[]): void {
  if (timers.length === 0) return;
  const chooses = caller.tryCall('prctl', PR_TIMER_CREATE_RESTORE_IDS, 1, 0, 0, 0) === 0n;
  try {
    for (const timer of [...timers].sort((left, right) => left.id - right.id)) {
      createWithId(caller, timer);
      setPosixTimer(caller, timer);
    }
  } finally {
    if (chooses) caller.call('prctl', PR_TIMER_CREATE_RESTORE_IDS, 0, 0, 0, 0);
  }
}

/** Ids are given in order, so lower ones that come instead are given back at once. */
function createWithId(caller: Caller, timer: PosixTimer): void {
  // struct sigevent: value (u64), signo, notify, thread (i32 each)
  const event = new DataView(new ArrayBuffer(SIGEV_BYTES));
  event.setBigUint64(0, BigInt(timer.value), true);
  event.setInt32(8, timer.signal, true);
  event.setInt32(12, timer.notify, true);
  event.setInt32(16, timer.notifyThread ?? 0, true);
  for (;;) {
    const eventAddress = caller.writeScratch(new Uint8Array(event.buffer));
    const idAddress = caller.writeScratch(new Uint8Array(new Int32Array([timer.id]).buffer), SIGEV_BYTES);
    caller.call('timer_create', timer.clock, eventAddress, idAddress);
    const id = new DataView(caller.readScratch(SIGEV_BYTES, 4).buffer).getInt32(0, true);
    if (id === timer.id) return;
    deletePosixTimer(caller, id);
    if (id > timer.id) throw new SystemCallError(`timer_create with id ${timer.id}`, errnoName(16));
  }
}
