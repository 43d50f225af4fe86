import { TargetError } from '../core/index.ts';
import { parseTaskStat, type TaskStat } from './task-stat.ts';

/** The fields of /proc/PID/stat that only a record of the whole process needs (fs/proc/array.c, do_task_stat). */
export interface TaskDetails extends TaskStat {
  readonly processGroup: number;
  readonly session: number;
  /** Device number of the controlling terminal as the kernel packs it; 0 for none. */
  readonly terminalNumber: number;
  /** -20 to 19. */
  readonly nice: number;
  /** 1 to 99 under SCHED_FIFO and SCHED_RR, else 0. */
  readonly realtimePriority: number;
  /** SCHED_*. */
  readonly policy: number;
  /** Addresses; zero without the right to know. `start` is of the first byte, `end` past the last one. */
  readonly code: AddressRange;
  readonly data: AddressRange;
  readonly arguments: AddressRange;
  readonly environment: AddressRange;
  readonly startBrk: bigint;
  readonly stack: bigint;
}

/** Part of an address space, to the byte. */
export interface AddressRange {
  readonly start: bigint;
  readonly end: bigint;
}

/**
 * Parses the line of stat of Linux 3.5 or newer as a whole.
 * @throws TargetError if it is not one
 */
export function parseTaskDetails(text: string): TaskDetails {
  const stat = parseTaskStat(text);
  // The first of `fields` is the third of the file.
  const fields = text
    .slice(text.lastIndexOf(')') + 2)
    .trimEnd()
    .split(' ');
  if (fields.length < 49) throw new TargetError(`this stat line is too short: ${JSON.stringify(text)}`);
  const address = (number: number) => BigInt(fields[number - 3]!);
  const range = (number: number) => ({ start: address(number), end: address(number + 1) });
  const value = (number: number) => Number(fields[number - 3]);
  return {
    ...stat,
    processGroup: value(5),
    session: value(6),
    terminalNumber: value(7),
    nice: value(19),
    code: range(26),
    stack: address(28),
    realtimePriority: value(40),
    policy: value(41),
    data: range(45),
    startBrk: address(47),
    arguments: range(48),
    environment: range(50),
  };
}
