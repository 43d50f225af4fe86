import type { LiveProcessState, LiveState } from '../live-state-format.ts';
import { isDeleted, isMovableSpecial, pathOf } from '../rewrite/mapping-kinds.ts';
import type { Vma } from '../view.ts';
import { canChoosePids, credentialsProblem } from './credentials.ts';
import { filePath, isSharedMemory } from './plan-space.ts';
import type { LaunchObstacle, LaunchSource } from './plan-types.ts';
import type { LaunchWorld, PresentFile } from './world.ts';

/** What has to be known of the checkpoint besides its processes. */
export interface CheckpointFacts {
  /** When it was taken, in milliseconds since 1970. */
  readonly takenAtMilliseconds: number;
}

/** The first PID namespace of a machine has a fixed number (include/linux/proc_ns.h). */
const FIRST_PID_NAMESPACE = 'pid:[4026531836]';
const FREE_IDS =
  'end what has it now, or restore where all PIDs are free: unshare --pid --fork --mount-proc ckpt restore ... --new';
/** Namespaces in which the processes of a target may differ from ckpt, as long as they agree. */
const SHARED_NAMESPACES = ['mnt', 'net', 'ipc', 'uts', 'cgroup', 'pid', 'user', 'time'] as const;

/**
 * Everything that forbids to make the processes of a checkpoint anew here, but for open files, mappings and sessions,
 * which have planners of their own.
 */
export function findObstacles(
  state: LiveState,
  sources: readonly LaunchSource[],
  facts: CheckpointFacts,
  world: LaunchWorld,
): LaunchObstacle[] {
  const finder = new ObstacleFinder(world, facts);
  const rootPid = state.processes[0]?.pid ?? 0;
  if (state.machine !== world.architecture)
    finder.add(rootPid, `its code is for ${state.machine}, and this is another kind of processor`);
  else if (state.machine !== 'x86_64') finder.add(rootPid, `new processes can be made on x86-64 only so far`);
  if (!canChoosePids(world.credentials)) {
    finder.add(rootPid, 'ckpt may not choose PIDs (that takes root, or CAP_CHECKPOINT_RESTORE)');
  }
  finder.checkNamespacesAgree(state.processes);
  for (const source of sources) finder.checkProcess(source);
  return finder.obstacles;
}

class ObstacleFinder {
  readonly obstacles: LaunchObstacle[] = [];
  readonly #world: LaunchWorld;
  readonly #facts: CheckpointFacts;
  readonly #files = new Map<string, PresentFile | undefined>();

  constructor(world: LaunchWorld, facts: CheckpointFacts) {
    this.#world = world;
    this.#facts = facts;
  }

  add(pid: number, message: string, forcible = false): void {
    this.obstacles.push({ pid, message, forcible });
  }

  checkProcess({ state, vmas, vdso }: LaunchSource): void {
    this.#checkComplete(state);
    this.#checkIds(state);
    this.#checkRights(state);
    this.#checkFiles(state);
    this.#checkMappedFiles(state.pid, vmas);
    this.#checkKernelMappings(state.pid, vmas, vdso);
  }

  checkNamespacesAgree(processes: readonly LiveProcessState[]): void {
    const [root, ...others] = processes;
    if (root === undefined) return;
    for (const { pid, namespaces } of others) {
      const differing = SHARED_NAMESPACES.filter((name) => namespaces[name] !== root.namespaces[name]);
      if (differing.length > 0) this.add(pid, `it has namespaces of its own (${differing.join(', ')})`);
    }
    for (const name of ['user', 'time']) {
      if (root.namespaces[name] !== this.#world.namespace(name))
        this.add(root.pid, `it was in another ${name} namespace`);
    }
    const pidNamespace = root.namespaces['pid'];
    if (pidNamespace !== FIRST_PID_NAMESPACE && pidNamespace !== this.#world.namespace('pid')) {
      this.add(root.pid, 'it was in another PID namespace, so that it knew itself under other PIDs');
    }
  }

  /** What could not be looked at when the checkpoint was taken cannot be set. */
  #checkComplete(state: LiveProcessState): void {
    const { pid, threads } = state;
    if (threads.some(({ registers }) => registers === null)) {
      this.add(pid, 'its registers are not in the checkpoint');
      return;
    }
    const missing = [
      ...(state.signals.dispositions === null ? ['signal handlers'] : []),
      ...(state.timers.intervals === null ? ['interval timers'] : []),
      ...(state.layout.brk === null ? ['the end of the heap'] : []),
      ...(state.auxiliaryVector === null ? ['the auxiliary vector'] : []),
      ...(threads.some(({ clearChildTid }) => clearChildTid === null) ? ['thread pointers'] : []),
      ...(state.files.some(({ description }) => description === null)
        ? ['which descriptors are shared']
        : []),
    ];
    if (missing.length > 0) this.add(pid, `the checkpoint does not tell ${missing.join(', ')}`, true);
    if (state.timers.posix.some(({ remainingNanoseconds }) => remainingNanoseconds === null))
      this.add(pid, 'the checkpoint does not tell when its timers run out', true);
  }

  #checkIds({ pid, threads }: LiveProcessState): void {
    for (const { id } of threads) {
      const holder = this.#world.holderOf(id);
      if (holder === undefined) continue;
      const what = id === pid ? 'its PID' : `the id ${id} of one of its threads`;
      this.obstacles.push({
        pid,
        message: `${what} is taken by ${holder} now`,
        forcible: false,
        remedy: FREE_IDS,
      });
    }
  }

  #checkRights(state: LiveProcessState): void {
    const { pid, seccompMode, root, credentials } = state;
    if (seccompMode !== 0) this.add(pid, 'it ran under seccomp');
    if (root !== this.#world.rootDirectory) this.add(pid, `its root directory was ${root ?? 'not visible'}`);
    const problem = credentialsProblem(credentials, this.#world.credentials);
    if (problem !== undefined) this.add(pid, problem);
  }

  #checkFiles({ pid, files, exe, workingDirectory }: LiveProcessState): void {
    for (const file of files) {
      if ((file.kind !== 'file' && file.kind !== 'directory') || file.deleted) continue;
      const what = `descriptor ${file.descriptor}`;
      const present = this.#file(file.path);
      if (present?.kind !== file.kind) this.add(pid, `${what}: ${file.path} is gone`);
      else if (present.inode !== file.inode || present.device !== file.device)
        this.add(pid, `${what}: ${file.path} is another file now`, true);
      else if (file.kind === 'file' && present.sizeBytes !== file.sizeBytes) {
        const sizes = `${file.sizeBytes} bytes then, ${present.sizeBytes} now`;
        this.add(pid, `${what}: ${file.path} has changed (${sizes})`, true);
      } else if (file.kind === 'file' && this.#isNewer(present)) {
        this.add(pid, `${what}: ${file.path} has been written to since`, true);
      }
    }
    if (workingDirectory !== null && this.#file(workingDirectory)?.kind !== 'directory')
      this.add(pid, `its working directory ${workingDirectory} is gone`);
    if (exe === null) this.add(pid, 'the checkpoint does not tell its program');
    else if (this.#file(exe.path)?.kind !== 'file') this.add(pid, `its program ${exe.path} is gone`);
  }

  #isNewer({ modifiedMilliseconds }: PresentFile): boolean {
    return modifiedMilliseconds > this.#facts.takenAtMilliseconds;
  }

  /** Only what has been written to privately is in the checkpoint; the rest has to be in the files still. */
  #checkMappedFiles(pid: number, vmas: readonly Vma[]): void {
    const seen = new Set<string>();
    for (const vma of vmas) {
      if (vma.inode === 0 || isDeleted(vma) || isSharedMemory(vma) || !vma.pathname.startsWith('/')) continue;
      const path = filePath(vma);
      if (seen.has(path) || path.startsWith('/dev/')) continue;
      seen.add(path);
      const present = this.#file(path);
      if (present === undefined) this.add(pid, `the mapped file ${path} is gone`);
      else if (
        present.inode !== String(vma.inode) ||
        present.device !== `${vma.deviceMajor}:${vma.deviceMinor}`
      ) {
        this.add(pid, `the mapped file ${path} is another file now`, true);
      } else if (this.#isNewer(present)) this.add(pid, `the mapped file ${path} has changed since`, true);
    }
  }

  /** Programs keep addresses inside the kernel's code, so it has to be the same, and its data as large. */
  #checkKernelMappings(pid: number, vmas: readonly Vma[], vdso: Uint8Array): void {
    const shape = (mappings: readonly Vma[]) =>
      mappings
        .filter(isMovableSpecial)
        .map((vma) => `${pathOf(vma)} ${vma.endPage - vma.startPage}`)
        .join(', ');
    const [then, now] = [shape(vmas), shape(this.#world.kernelMappings)];
    if (then !== now) this.add(pid, `it has ${then || 'no vDSO'} of another kernel (here: ${now})`);
    else if (Buffer.compare(vdso, this.#world.vdso) !== 0) this.add(pid, 'its vDSO is of another kernel');
  }

  #file(path: string): PresentFile | undefined {
    if (!this.#files.has(path)) this.#files.set(path, this.#world.file(path));
    return this.#files.get(path);
  }
}
