import { readdirSync, readFileSync, readSync } from 'node:fs';
import { TargetError } from '../core/index.ts';
import { parseTaskStat, type TaskStat } from '../procfs/index.ts';

/** The `code` of a system error, or undefined. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** Whether an error of a /proc file means that its process has gone. */
function meansGone(error: unknown): boolean {
  const code = errnoOf(error);
  return code === 'ENOENT' || code === 'ESRCH';
}

/** The error for a process that existed when we began. */
export function goneError(pid: number, cause?: unknown): TargetError {
  return new TargetError(`process ${pid} has exited`, { data: { pid, gone: true }, cause });
}

/** Turns what a /proc file answered into the error that people see. */
export function procError(error: unknown, pid: number, doing: string): unknown {
  if (meansGone(error)) return goneError(pid, error);
  const code = errnoOf(error);
  if (code !== 'EACCES' && code !== 'EPERM') return error;
  return new TargetError(`no permission to ${doing} of process ${pid}`, {
    hint:
      'run ckpt as root, or as the same user as the target; where Yama restricts tracing ' +
      '(/proc/sys/kernel/yama/ptrace_scope), or the target runs set-uid, CAP_SYS_PTRACE is needed too',
    data: { pid, errno: code },
    cause: error,
  });
}

/** Reads a whole file of /proc/PID as text. @throws TargetError if the process is gone or not ours */
export function readProcText(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1');
  } catch (error) {
    throw procError(error, pid, `read ${name}`);
  }
}

/** Stat of a process or of one of its threads; undefined if there is none. */
export function readTaskStat(pid: number, thread = pid): TaskStat | undefined {
  const path = thread === pid ? `/proc/${pid}/stat` : `/proc/${pid}/task/${thread}/stat`;
  try {
    return parseTaskStat(readFileSync(path, 'latin1'));
  } catch (error) {
    if (meansGone(error)) return undefined;
    throw procError(error, pid, 'read stat');
  }
}

/** Ids of the threads that exist now; empty if the process is gone. */
export function threadIds(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number);
  } catch (error) {
    if (meansGone(error)) return [];
    throw procError(error, pid, 'list the threads');
  }
}

/** Whether a process is gone, or dead and not waited for. */
export function hasEnded(pid: number): boolean {
  const stat = readTaskStat(pid);
  return stat === undefined || isDeadState(stat.state);
}

/** Whether a state letter of stat stands for a dead task. */
export function isDeadState(state: string): boolean {
  return state === 'Z' || state === 'X' || state === 'x';
}

/**
 * Reads from a position that may be beyond what Node takes as a number: the words of the vsyscall page, or any
 * address with 5-level page tables.
 * @returns bytes read
 */
export function readAt(
  descriptor: number,
  into: Uint8Array | Uint32Array,
  lengthBytes: number,
  position: number,
): number {
  return readSync(
    descriptor,
    into,
    0,
    lengthBytes,
    Number.isSafeInteger(position) ? position : BigInt(position),
  );
}
