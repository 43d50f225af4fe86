/** A POSIX timer as /proc/PID/timers shows it (fs/proc/base.c, show_timer). */
export interface TimerRecord {
  readonly id: number;
  readonly signal: number;
  /** sigev_value. */
  readonly value: bigint;
  /** SIGEV_*: 0 signal, 1 none, 2 thread; 4 is added where one thread is meant. */
  readonly notify: number;
  /** The thread or process that is notified. */
  readonly notifyId: number;
  /** A clock id; clocks of processes and threads are negative. */
  readonly clock: number;
}

/** SIGEV_THREAD_ID (include/uapi/asm-generic/siginfo.h). */
export const NOTIFY_THREAD_ID = 4;

const RECORD =
  /^ID: (\d+)\nsignal: (\d+)\/(?:0x)?([0-9a-f]+|\(null\))\nnotify: (signal|none|thread)\/(tid|pid)\.(-?\d+)\nClockID: (-?\d+)$/gm;
const NOTIFY: Readonly<Record<string, number>> = { signal: 0, none: 1, thread: 2 };

/** Parses /proc/PID/timers, in the order of the file. */
export function parseTimers(text: string): TimerRecord[] {
  return [...text.matchAll(RECORD)].map(([, id, signal, value, notify, whom, notifyId, clock]) => ({
    id: Number(id),
    signal: Number(signal),
    value: value === '(null)' ? 0n : BigInt(`0x${value}`),
    notify: NOTIFY[notify!]! | (whom === 'tid' ? NOTIFY_THREAD_ID : 0),
    notifyId: Number(notifyId),
    clock: Number(clock),
  }));
}
