import { TargetError } from '../core/index.ts';

/** Fields of /proc/PID/stat that ckpt looks at (fs/proc/array.c, do_task_stat; man 5 proc_pid_stat). */
export interface TaskStat {
  readonly pid: number;
  /** Up to 15 bytes, and any of them: spaces, parentheses, newlines. */
  readonly name: string;
  /** `R` running, `S` and `D` asleep, `T` stopped, `t` stopped by a tracer, `Z` and `X` dead. */
  readonly state: string;
  readonly parentPid: number;
  /** PF_* bits. */
  readonly flags: number;
  readonly threadCount: number;
  /** Since boot, in clock ticks: with the PID it names a process for as long as the machine runs. */
  readonly startTicks: number;
  /** Bounds of the program's code and stack as text: random for each exec, zero without the right to know. */
  readonly startCode: string;
  readonly startStack: string;
}

/** A kernel thread, which has no memory of its own (include/linux/sched.h). */
export const TASK_FLAG_KERNEL_THREAD = 0x00200000;

/**
 * Parses the one line of stat.
 * @throws TargetError if it is not one
 */
export function parseTaskStat(text: string): TaskStat {
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  const fields = text.slice(close + 2).split(' ');
  // The first of `fields` is the third of the file.
  if (open < 0 || close < open || fields.length < 26) {
    throw new TargetError(`cannot parse this stat line: ${JSON.stringify(text)}`);
  }
  return {
    pid: Number.parseInt(text, 10),
    name: text.slice(open + 1, close),
    state: fields[0]!,
    parentPid: Number(fields[1]),
    flags: Number(fields[6]),
    threadCount: Number(fields[17]),
    startTicks: Number(fields[19]),
    startCode: fields[23]!,
    startStack: fields[25]!,
  };
}
