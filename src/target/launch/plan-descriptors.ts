import type { LiveProcessState, OpenFile } from '../live-state-format.ts';
import { RECORD_NAME } from '../tracking-record.ts';
import { epollWatches, eventCounter, fileLocks, signalMask, timerSetting } from './descriptor-details.ts';
import type {
  DescriptionRecipe,
  DescriptorPlan,
  HeldFile,
  LaunchObstacle,
  PipePlan,
  Placement,
  ProcessDescriptors,
  StandardStreams,
} from './plan-types.ts';

/** O_* on x86-64 (include/uapi/asm-generic/fcntl.h). */
const ACCESS_MODE = 3;
const READ_WRITE = 2;
const NO_CONTROLLING_TERMINAL = 0o400;
/** O_CREAT, O_EXCL, O_TRUNC: what only an open that makes or empties a file has. */
const CREATING = 0o100 | 0o200 | 0o1000;

const NOWHERE: DescriptionRecipe = { kind: 'open', path: '/dev/null', flags: READ_WRITE, position: 0n };

/** Devices without a state: whoever opens them again has the same. */
const PLAIN_DEVICES: ReadonlySet<string> = new Set([
  '/dev/null',
  '/dev/zero',
  '/dev/full',
  '/dev/random',
  '/dev/urandom',
]);

/** Kinds that nobody can make anew from outside, in words. */
const UNSUPPORTED: Readonly<Partial<Record<OpenFile['kind'], string>>> = {
  socket: 'a socket',
  memfd: 'a memory file',
  inotify: 'an inotify watch',
  io_uring: 'an io_uring',
  pidfd: 'a pidfd',
  fifo: 'a FIFO',
  device: 'a device',
  other: 'of a kind that ckpt does not know',
};

/**
 * Decides how to make the open files of a target again. What only led outside (a terminal, a pipe or socket of which
 * the target held one end) is replaced by what ckpt has itself, if it was a standard stream, and an obstacle otherwise.
 */
export function planDescriptors(
  processes: readonly LiveProcessState[],
  streams: StandardStreams,
): DescriptorPlan {
  return new DescriptorPlanner(streams).plan(processes);
}

class DescriptorPlanner {
  readonly #streams: StandardStreams;
  readonly #descriptions: DescriptionRecipe[] = [];
  readonly #pipes: PipePlan[] = [];
  readonly #pipeOfInode = new Map<string, number>();
  /** Processes in which ckpt tracked writes. */
  readonly #tracked = new Set<number>();
  readonly #obstacles: LaunchObstacle[] = [];
  readonly #notes: string[] = [];

  constructor(streams: StandardStreams) {
    this.#streams = streams;
  }

  plan(processes: readonly LiveProcessState[]): DescriptorPlan {
    for (const { pid, files } of processes) if (files.some(isTrackingFile)) this.#tracked.add(pid);
    const groups = groupByDescription(processes);
    this.#findPipes(groups);
    const placements = new Map<number, Placement[]>(processes.map(({ pid }) => [pid, []]));
    const special = new Map<number, ProcessDescriptors>();
    for (const { pid } of processes) {
      special.set(pid, { placements: placements.get(pid) ?? [], epolls: [], timers: [], locks: [] });
    }
    for (const group of groups) {
      const recipe = this.#recipe(group);
      if (recipe === undefined) continue;
      const description = this.#descriptions.push(recipe) - 1;
      for (const { pid, file } of group) {
        const { descriptor, closeOnExec } = file;
        placements.get(pid)?.push({ descriptor, closeOnExec, description });
      }
      this.#planContents(recipe, group, special);
      this.#planLocks(group, special);
    }
    return {
      descriptions: this.#descriptions,
      pipes: this.#pipes,
      processes: special,
      obstacles: this.#obstacles,
      notes: this.#notes,
    };
  }

  /** The pipes whose two ends the target holds. */
  #findPipes(groups: readonly HeldFile[][]): void {
    const ends = new Map<string, { reads: boolean; writes: boolean; files: OpenFile[] }>();
    for (const { file } of groups.flat()) {
      if (file.kind !== 'pipe') continue;
      const pipe = ends.get(file.inode) ?? { reads: false, writes: false, files: [] };
      const mode = file.flags & ACCESS_MODE;
      pipe.reads ||= mode !== 1;
      pipe.writes ||= mode !== 0;
      pipe.files.push(file);
      ends.set(file.inode, pipe);
    }
    for (const [inode, { reads, writes, files }] of ends) {
      if (!reads || !writes) continue;
      const content = files.find(({ pipe }) => pipe !== null)?.pipe;
      this.#pipeOfInode.set(inode, this.#pipes.length);
      this.#pipes.push({
        unread: new Uint8Array(Buffer.from(content?.unread ?? '', 'base64')),
        capacityBytes: content?.capacityBytes ?? null,
      });
    }
  }

  #recipe(group: readonly HeldFile[]): DescriptionRecipe | undefined {
    const { pid, file } = group[0]!;
    const { kind, path, flags } = file;
    switch (kind) {
      case 'file':
      case 'directory':
        if (file.deleted)
          return this.#obstacle(pid, `descriptor ${file.descriptor} is the deleted file ${path}`);
        return { kind: 'open', path, flags: reopening(flags), position: BigInt(file.position) };
      case 'null':
        return { kind: 'open', path: '/dev/null', flags: reopening(flags), position: 0n };
      case 'pipe':
        return this.#pipe(group);
      case 'terminal':
        if (path === '/dev/ptmx' || path.endsWith('/ptmx'))
          return this.#obstacle(pid, `descriptor ${file.descriptor} is the master of a terminal`);
        return this.#stream(group, `the terminal ${path}`) ?? this.#ownTerminal(group);
      case 'eventfd': {
        const { count, semaphore } = eventCounter(file.details);
        return { kind: 'eventfd', count, semaphore, flags };
      }
      case 'epoll':
        return { kind: 'epoll' };
      case 'signalfd':
        return { kind: 'signalfd', mask: signalMask(file.details), flags };
      case 'timerfd':
        return { kind: 'timerfd', clock: timerSetting(file.details).clock, flags };
      case 'userfaultfd':
        // The one that ckpt left in a process that it tracks: a new process is not tracked.
        if (this.#tracked.has(pid) && file.closeOnExec) return undefined;
        return this.#obstacle(pid, `descriptor ${file.descriptor} is a userfaultfd`);
      case 'memfd':
        if (isTrackingFile(file)) return undefined;
        break;
      case 'device':
        if (PLAIN_DEVICES.has(path)) return { kind: 'open', path, flags: reopening(flags), position: 0n };
        break;
      case 'socket': {
        const stream = this.#stream(group, path);
        if (stream !== undefined) return stream;
        break;
      }
    }
    return this.#obstacle(pid, `descriptor ${file.descriptor} is ${UNSUPPORTED[kind] ?? kind} (${path})`);
  }

  #pipe(group: readonly HeldFile[]): DescriptionRecipe | undefined {
    const { pid, file } = group[0]!;
    const pipe = this.#pipeOfInode.get(file.inode);
    if (pipe !== undefined) return { kind: 'pipe', pipe, flags: file.flags };
    const stream = this.#stream(group, file.path);
    if (stream !== undefined) return stream;
    const what = `descriptor ${file.descriptor} is a pipe (${file.path}) whose other end another process had`;
    this.#obstacle(pid, `${what}; forced, it becomes /dev/null`, true);
    return NOWHERE;
  }

  /** A standard stream of ckpt in the place of one that led outside. */
  #stream(group: readonly HeldFile[], what: string): DescriptionRecipe | undefined {
    const descriptors = group.map(({ file }) => file.descriptor).filter((number) => number <= 2);
    if (descriptors.length === 0) return undefined;
    const descriptor = Math.min(...descriptors);
    const { pid, file } = group[0]!;
    const flags = reopening(file.flags);
    const instead = this.#streams === 'null' ? '/dev/null' : `ckpt's own`;
    this.#notes.push(`descriptor ${descriptor} of process ${pid} was ${what} and is ${instead} now`);
    if (this.#streams === 'inherit') return { kind: 'stream', descriptor, flags };
    return NOWHERE;
  }

  /** For further descriptors of a terminal (a shell keeps one at 255). */
  #ownTerminal(group: readonly HeldFile[]): DescriptionRecipe {
    const { pid, file } = group[0]!;
    const inherits = this.#streams === 'inherit';
    const instead = inherits ? `ckpt's standard input` : '/dev/null';
    this.#notes.push(
      `descriptor ${file.descriptor} of process ${pid} was the terminal ${file.path} and is ${instead} now`,
    );
    if (inherits) return { kind: 'stream', descriptor: 0, flags: reopening(file.flags) };
    return NOWHERE;
  }

  #planContents(
    recipe: DescriptionRecipe,
    group: readonly HeldFile[],
    processes: Map<number, ProcessDescriptors>,
  ): void {
    const { pid, file } = group[0]!;
    const own = processes.get(pid)!;
    const { descriptor } = file;
    if (recipe.kind === 'epoll') {
      const watches = epollWatches(file.details);
      processes.set(pid, { ...own, epolls: [...own.epolls, { descriptor, watches }] });
    } else if (recipe.kind === 'timerfd') {
      const { remainingNanoseconds, intervalNanoseconds, ticks } = timerSetting(file.details);
      const timer = { descriptor, remainingNanoseconds, intervalNanoseconds, ticks };
      processes.set(pid, { ...own, timers: [...own.timers, timer] });
    }
  }

  /** A process shows its own locks at each of its descriptors of the file, so all are taken by whom they are shown. */
  #planLocks(group: readonly HeldFile[], processes: Map<number, ProcessDescriptors>): void {
    for (const { pid, file } of group) {
      const { descriptor, path } = file;
      const own = processes.get(pid)!;
      const locks = fileLocks(file.details);
      if (locks.includes(undefined)) {
        this.#obstacle(pid, `descriptor ${descriptor} holds a lease on ${path}`, true);
      }
      const known = locks.filter((lock) => lock !== undefined).map((lock) => ({ descriptor, lock }));
      if (known.length > 0) processes.set(pid, { ...own, locks: [...own.locks, ...known] });
    }
  }

  #obstacle(pid: number, message: string, forcible = false): undefined {
    this.#obstacles.push({ pid, message, forcible });
  }
}

/** The memory file that stays beside the userfaultfd of a process that ckpt tracks. */
function isTrackingFile({ kind, path }: OpenFile): boolean {
  return kind === 'memfd' && path.startsWith(`/memfd:${RECORD_NAME} `);
}

/** The descriptors that share one open file description, for each; in the order of processes and descriptors. */
function groupByDescription(processes: readonly LiveProcessState[]): HeldFile[][] {
  const known = new Map<number, HeldFile[]>();
  const groups: HeldFile[][] = [];
  for (const { pid, files } of processes) {
    for (const file of files) {
      const group = file.description === null ? undefined : known.get(file.description);
      if (group !== undefined) {
        group.push({ pid, file });
        continue;
      }
      const fresh = [{ pid, file }];
      groups.push(fresh);
      if (file.description !== null) known.set(file.description, fresh);
    }
  }
  return groups;
}

function reopening(flags: number): number {
  return (flags & ~CREATING) | NO_CONTROLLING_TERMINAL;
}
