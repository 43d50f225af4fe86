import type { FileIdentity, LiveProcessState, LiveState } from '../../../target/index.ts';
import { damaged } from '../damage.ts';
import type { MessageFields } from '../images/messages.ts';
import type { Descriptors } from './descriptors.ts';
import type { DumpContext } from './dump-context.ts';
import { auxiliaryVectorOf, layoutOf, NO_LAYOUT, stringsOf } from './process-memory.ts';
import { type ThreadInfo, threadInfoOf } from './registers.ts';
import { credentialsOf, limitsOf, seccompModeOf } from './rights.ts';
import { signalsOf, timersOf } from './signals.ts';
import { threadState } from './threads.ts';
import type { MemoryReader } from './types.ts';

/** The images of one process. */
export interface ProcessImages {
  /** Its entry in the image PSTREE. */
  readonly entry: MessageFields;
  readonly pid: number;
  /** The image CORE of its leader. */
  readonly core: MessageFields;
  /** What all of its threads share; its fields. */
  readonly task: MessageFields;
  readonly ids: MessageFields | undefined;
  /** Undefined for a process that had ended. */
  readonly mm: MessageFields | undefined;
}

/** A process, and the machine that its code is for, undefined where ckpt knows no registers of it. */
export interface DescribedProcess {
  readonly state: LiveProcessState;
  readonly machine: LiveState['machine'] | undefined;
}

/** Makes the record of a process. @throws IntegrityError naming file and offset */
export async function describeProcess(
  process: ProcessImages,
  context: DumpContext,
  descriptors: Descriptors,
  readMemory: MemoryReader | undefined,
): Promise<DescribedProcess> {
  const { pid, entry, core, task, mm } = process;
  const { images } = context;
  const leader = threadInfoOf(core);
  const state = {
    pid,
    parentPid: entry.number('ppid'),
    startTicks: 0,
    processGroup: entry.number('pgid'),
    session: entry.number('sid'),
    terminal: context.terminals.ofSession(entry.number('sid')) ?? null,
    name: task.text('comm'),
    exe: mm === undefined ? null : exeOf(mm, context),
    ...(mm === undefined ? { commandLine: [], environment: null } : await stringsOf(pid, mm, readMemory)),
    auxiliaryVector: mm === undefined ? null : auxiliaryVectorOf(mm),
    ...(await directoriesOf(pid, context)),
    personality: `0x${task.number('personality').toString(16)}`,
    credentials: await credentialsOf(images, pid, core),
    limits: await limitsOf(images, pid, task),
    layout: mm === undefined ? NO_LAYOUT : layoutOf(mm),
    signals: await signalsOf(images, pid, task),
    timers: await timersOf(images, pid, task),
    files: await openFilesOf(process, context, descriptors),
    namespaces: namespacesOf(process.ids),
    cgroup: context.cgroups.get(cgroupSetOf(process) ?? -1) ?? null,
    oomScoreAdjustment: task.optionalNumber('oom_score_adj') ?? null,
    seccompMode: seccompModeOf(core),
    threads: await threadsOf(process, context, leader),
  } as const;
  return { state, machine: leader?.machine };
}

/** Sizes are recorded of files that CRIU checks before it restores. */
function exeOf(mm: MessageFields, { files }: DumpContext): FileIdentity | null {
  const file = files.get(mm.number('exe_file_id'));
  if (file === undefined) return null;
  const { path, inode, sizeBytes } = file;
  return { path, device: '0:0', inode, sizeBytes, modifiedNanoseconds: '0' };
}

async function directoriesOf(
  pid: number,
  { images, files }: DumpContext,
): Promise<Pick<LiveProcessState, 'workingDirectory' | 'root' | 'umask'>> {
  const fs = await images.entry(`fs-${pid}`, 'FS');
  if (fs === undefined) return { workingDirectory: null, root: null, umask: null };
  return {
    workingDirectory: files.path(fs.number('cwd_id')) ?? null,
    root: files.path(fs.number('root_id')) ?? null,
    umask: fs.optionalNumber('umask') ?? null,
  };
}

async function openFilesOf(
  { ids, mm }: ProcessImages,
  { images }: DumpContext,
  descriptors: Descriptors,
): Promise<LiveProcessState['files']> {
  if (ids === undefined || mm === undefined) return [];
  return descriptors.openFiles(await images.entries(`fdinfo-${ids.number('files_id')}`, 'FDINFO'));
}

/** Fields of an image IDS by the names in /proc/PID/ns. */
const NAMESPACES = [
  ['cgroup', 'cgroup_ns_id'],
  ['ipc', 'ipc_ns_id'],
  ['mnt', 'mnt_ns_id'],
  ['net', 'net_ns_id'],
  ['pid', 'pid_ns_id'],
  ['time', 'time_ns_id'],
  ['user', 'user_ns_id'],
  ['uts', 'uts_ns_id'],
] as const;

/** The numbers are CRIU's own: equal numbers in one dump are the same namespace. */
function namespacesOf(ids: MessageFields | undefined): LiveProcessState['namespaces'] {
  return Object.fromEntries(
    NAMESPACES.flatMap(([name, field]) => {
      const id = ids?.optionalNumber(field) ?? 0;
      return id === 0 ? [] : [[name, `${name}:[${id}]`] as const];
    }),
  );
}

function cgroupSetOf({ core, task }: ProcessImages): number | undefined {
  return task.optionalNumber('cg_set') ?? core.message('thread_core')?.optionalNumber('cg_set');
}

async function threadsOf(
  { entry, pid, core, mm }: ProcessImages,
  { images }: DumpContext,
  leader: ThreadInfo | undefined,
): Promise<LiveProcessState['threads']> {
  // Of a process that has ended CRIU 3.17.1 lists one thread whose id it never set.
  const others = mm === undefined ? [] : entry.numbers('threads').filter((id) => id !== pid);
  const threads = [threadState(pid, core, core, leader)];
  for (const id of others) {
    const own = await images.required(`core-${id}`, 'CORE');
    const info = threadInfoOf(own);
    if (info !== undefined && leader !== undefined && info.machine !== leader.machine) {
      throw damaged(own, `thread ${id} is of a machine ${info.machine}, its process of ${leader.machine}`);
    }
    threads.push(threadState(id, own, core, info));
  }
  return threads;
}
