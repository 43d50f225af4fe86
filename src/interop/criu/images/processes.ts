import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { IntegrityError } from '../../../core/index.ts';
import { FIRST_OBJECT_PID } from '../../../image/index.ts';
import { damaged } from '../damage.ts';
import { type MessageFields, messagesOf } from './messages.ts';
import type { ImageProcess, MemoryImage } from './types.ts';

/** What to do about an image that is not there. */
export const COPY_AGAIN = 'copy the directory again from where CRIU wrote it, with all of its files';

/** What `task_state` says (criu/include/pid.h); a dead task is a zombie whose parent has not asked yet. */
const TASK_STATES: Readonly<Record<number, ImageProcess['state']>> = {
  1: 'alive',
  2: 'zombie',
  3: 'stopped',
  6: 'zombie',
};

/**
 * The processes of a directory: of the tree in `pstree.img`, or, in a pre-dump, those with a pagemap.
 * @throws IntegrityError naming file and offset
 */
export async function processesOf(
  directory: string,
  isPreDump: boolean,
  memories: readonly MemoryImage[],
): Promise<ImageProcess[]> {
  if (isPreDump) {
    return memories.flatMap(({ object }) =>
      object.kind === 'task'
        ? [{ pid: object.pid, parentPid: 0, name: '', state: 'alive', threads: [] }]
        : [],
    );
  }
  const processes: ImageProcess[] = [];
  const known = new Set<number>();
  const path = join(directory, 'pstree.img');
  for (const entry of await messagesOf(path, 'PSTREE')) {
    requirePlaced(entry, known);
    const process = await processOf(directory, entry);
    known.add(process.pid);
    processes.push(process);
  }
  if (processes.length === 0) throw damaged({ path, offsetBytes: 8 }, 'it has no process');
  return processes.sort((a, b) => a.pid - b.pid);
}

/** The root first, then every process behind its parent. @throws IntegrityError */
function requirePlaced(entry: MessageFields, before: ReadonlySet<number>): void {
  const [pid, parent] = [entry.number('pid'), entry.number('ppid')];
  const isPlaced = before.size === 0 ? parent === 0 : before.has(parent);
  if (isPlaced && !before.has(pid)) return;
  throw damaged(entry, `process ${pid} with the parent ${parent} is out of place in the tree`);
}

/** Whether a process had ended, and its parent had not asked yet: it has no memory. @param task its part of an image CORE */
export function hasEnded(task: MessageFields): boolean {
  return TASK_STATES[task.number('task_state')] === 'zombie';
}

async function processOf(directory: string, entry: MessageFields): Promise<ImageProcess> {
  const pid = entry.number('pid');
  requirePid(pid, entry.path, entry.offsetBytes);
  const path = join(directory, `core-${pid}.img`);
  await requireImage(path, pid);
  const [core, ...more] = await messagesOf(path, 'CORE');
  const task = core?.message('tc');
  if (core === undefined || task === undefined || more.length > 0) {
    throw damaged({ path, offsetBytes: 8 }, 'it is not that of one process');
  }
  const code = task.number('task_state');
  const state = TASK_STATES[code];
  if (state === undefined) throw damaged(core, `its task_state ${code} is not known`);
  return {
    pid,
    parentPid: entry.number('ppid'),
    name: task.text('comm'),
    state,
    // Of a process that has ended CRIU 3.17.1 lists one thread whose id it never set.
    threads: state === 'zombie' ? [pid] : entry.numbers('threads'),
  };
}

/** @throws IntegrityError if a process of `pstree.img` lacks an image that every process has */
async function requireImage(path: string, pid: number): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) throw missingImage(path, pid);
}

/** Says that an image is not there which every living process has. */
export function missingImage(path: string, pid: number, hint = COPY_AGAIN): IntegrityError {
  return new IntegrityError(`${path} is missing: process ${pid} of pstree.img needs it`, {
    hint,
    data: { path, pid },
  });
}

/** Higher numbers, which Linux never gives to processes, stand for objects of shared memory in a store. */
export function requirePid(pid: number, path: string, offsetBytes: number): void {
  if (pid > 0 && pid < FIRST_OBJECT_PID) return;
  throw damaged({ path, offsetBytes }, `no process can have the PID ${pid}`);
}
