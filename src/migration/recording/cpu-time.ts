import { readFileSync } from 'node:fs';

/** Kernel ticks of /proc are hundredths of a second on every Linux that ckpt knows (USER_HZ). */
const MICROSECONDS_PER_TICK = 10_000;
/** utime and stime, counted behind the name in parentheses (man 5 proc_pid_stat: fields 14 and 15). */
const USER_FIELD = 11;
const SYSTEM_FIELD = 12;

/** Processor time that live processes have used so far, all their threads together; what has ended counts nothing. */
export function cpuMicroseconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    try {
      const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
      ticks += Number(fields[USER_FIELD]) + Number(fields[SYSTEM_FIELD]);
    } catch {
      // It has ended since, and what it used is gone with it.
    }
  }
  return ticks * MICROSECONDS_PER_TICK;
}
