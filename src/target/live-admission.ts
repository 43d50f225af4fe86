import { existsSync, readFileSync } from 'node:fs';
import { PAGE_SIZE, TargetError, UnsupportedError, UsageError } from '../core/index.ts';
import { TASK_FLAG_KERNEL_THREAD, type TaskStat } from '../procfs/index.ts';
import { isDeadState, readProcText, readTaskStat } from './live-files.ts';
import { readNote } from './rewrite/unfinished.ts';

/** Key of the page size in the auxiliary vector (include/uapi/linux/auxvec.h). */
const AT_PAGESZ = 6n;

/**
 * Looks whether a process can be a target, before anything is done to it.
 * @throws UsageError, TargetError or UnsupportedError saying why not
 */
export function checkedStat(pid: number): TaskStat {
  if (!Number.isSafeInteger(pid) || pid <= 0) throw new UsageError(`${pid} is not a process id`);
  requireLinux();
  const stat = readTaskStat(pid);
  if (stat === undefined) {
    throw new TargetError(`there is no process ${pid}`, {
      hint: 'look for it with ps or pgrep',
      data: { pid },
    });
  }
  if ((stat.flags & TASK_FLAG_KERNEL_THREAD) !== 0) {
    throw refusal(stat, 'is a thread of the kernel and has no memory of its own');
  }
  if (isDeadState(stat.state)) {
    throw refusal(stat, 'has ended (a zombie: its parent has not waited for it yet)');
  }
  const group = /^Tgid:\s*(\d+)$/m.exec(readProcText(pid, 'status'))?.[1];
  if (group !== undefined && Number(group) !== pid) {
    throw refusal(stat, `is a thread of process ${group}`, `dump the whole process: ${group}`);
  }
  refuseOwnLine(stat);
  return stat;
}

/** @throws TargetError for a process that a killed ckpt has left half-way between what it was and a checkpoint */
export function requireWhole(stat: TaskStat): void {
  const goal = readNote(stat)?.goal ?? '';
  if (goal === '') return;
  throw refusal(
    stat,
    `is neither what it was nor what it was at ${goal}: its rewind was interrupted`,
    "finish it by the same 'ckpt restore --in-place', which lets it go on",
  );
}

/** Ourselves and our ancestors: a shell or terminal that stands still cannot let us finish. */
function refuseOwnLine(stat: TaskStat): void {
  if (stat.pid === 1) throw refusal(stat, 'is the init process, which cannot be stopped');
  if (stat.pid === process.pid) throw refusal(stat, 'is ckpt itself');
  for (let parent = process.ppid; parent > 0; parent = readTaskStat(parent)?.parentPid ?? 0) {
    if (parent === stat.pid) {
      throw refusal(
        stat,
        'is an ancestor of ckpt, and stopping it would stop ckpt',
        'run ckpt from another terminal',
      );
    }
  }
}

function refusal(stat: TaskStat, why: string, hint?: string): TargetError {
  return new TargetError(`process ${stat.pid} (${stat.name}) ${why}`, {
    ...(hint === undefined ? {} : { hint }),
    data: { pid: stat.pid },
  });
}

function requireLinux(): void {
  if (!existsSync('/proc/self/maps'))
    throw new UnsupportedError('live targets need Linux with /proc mounted');
  const bytes = pageSizeBytes();
  if (bytes !== PAGE_SIZE) {
    throw new UnsupportedError(`this machine has pages of ${bytes} bytes, ckpt supports ${PAGE_SIZE} only`);
  }
}

function pageSizeBytes(): number {
  let vector: Buffer;
  try {
    vector = readFileSync('/proc/self/auxv');
  } catch {
    return PAGE_SIZE; // Hidden from a program that has changed its user; the common size is the best guess.
  }
  for (let offset = 0; offset + 16 <= vector.length; offset += 16) {
    if (vector.readBigUInt64LE(offset) === AT_PAGESZ) return Number(vector.readBigUInt64LE(offset + 8));
  }
  return PAGE_SIZE;
}
