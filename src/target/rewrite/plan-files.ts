import { epollWatches, eventCounter, timerSetting } from '../launch/descriptor-details.ts';
import type { LiveProcessState, OpenFile } from '../live-state-format.ts';
import type { RewriteObstacle } from './obstacle.ts';

type EpollWatch = ReturnType<typeof epollWatches>[number];
type TimerSetting = ReturnType<typeof timerSetting>;

/** A descriptor of one of the processes. */
export interface DescriptorPlace {
  readonly pid: number;
  readonly descriptor: number;
}

/** What is to be done to open files, in order. */
export type FileOperation =
  /** Of a file opened since: only if its being there is accepted. */
  | ({ readonly kind: 'close' } & DescriptorPlace)
  | ({ readonly kind: 'seek'; readonly position: bigint } & DescriptorPlace)
  /** Status flags as F_SETFL takes them. */
  | ({ readonly kind: 'status'; readonly flags: number } & DescriptorPlace)
  | ({ readonly kind: 'close-on-exec'; readonly on: boolean } & DescriptorPlace)
  | {
      readonly kind: 'refill';
      readonly reader: DescriptorPlace;
      readonly writer: DescriptorPlace;
      /** How much has to be taken out first. */
      readonly presentBytes: number;
      readonly content: Uint8Array;
    }
  | ({ readonly kind: 'count'; readonly present: bigint; readonly count: bigint } & DescriptorPlace)
  | ({ readonly kind: 'timer'; readonly setting: TimerSetting } & DescriptorPlace)
  | ({ readonly kind: 'watch'; readonly action: WatchAction; readonly watch: EpollWatch } & DescriptorPlace);

export type WatchAction = 'add' | 'remove' | 'modify';

/** How a socket stands, by its inode; those of which nothing is known are taken for connected. */
export type SocketStates = ReadonlyMap<string, 'listening' | 'unconnected' | 'connected'>;

export interface FilePlan {
  readonly operations: readonly FileOperation[];
  readonly obstacles: readonly RewriteObstacle[];
}

/** O_APPEND, O_NONBLOCK, O_ASYNC, O_DIRECT, O_NOATIME: what F_SETFL can change (fs/fcntl.c, SETFL_MASK; x86-64). */
const SETTABLE_FLAGS = 0o2000 | 0o4000 | 0o20000 | 0o40000 | 0o1000000;
/** O_LARGEFILE is set by every open of a 64-bit program, and O_CREAT and the like mean nothing afterwards. */
const MEANINGLESS_FLAGS = 0o100000 | 0o100 | 0o200 | 0o400 | 0o1000;
const ACCESS_MODE = 3;

/** Kinds that hold something in the kernel that nobody can put back. */
const UNREWINDABLE: Readonly<Partial<Record<OpenFile['kind'], string>>> = {
  io_uring: 'is an io_uring, whose queues are not in memory alone',
  userfaultfd: 'is a userfaultfd of the program',
  inotify: 'is an inotify, whose unread events are not in the checkpoint',
};

/** Finds what has to be done for the open files of the processes to be as they were, and what stands against it. */
export function planFiles(
  present: readonly LiveProcessState[],
  wanted: readonly LiveProcessState[],
  sockets: SocketStates,
): FilePlan {
  return new FilePlanner(present, wanted, sockets).plan();
}

class FilePlanner {
  readonly #present: readonly LiveProcessState[];
  readonly #wanted: readonly LiveProcessState[];
  readonly #sockets: SocketStates;
  readonly #operations: FileOperation[] = [];
  readonly #closes: FileOperation[] = [];
  readonly #watches: FileOperation[] = [];
  readonly #obstacles: RewriteObstacle[] = [];

  constructor(
    present: readonly LiveProcessState[],
    wanted: readonly LiveProcessState[],
    sockets: SocketStates,
  ) {
    this.#present = present;
    this.#wanted = wanted;
    this.#sockets = sockets;
  }

  plan(): FilePlan {
    for (const { pid, files } of this.#wanted) {
      const now = this.#present.find((one) => one.pid === pid);
      if (now === undefined) continue;
      this.#planProcess(pid, byDescriptor(now.files), byDescriptor(files));
    }
    return {
      operations: [...this.#closes, ...this.#operations, ...this.#watches],
      obstacles: this.#obstacles,
    };
  }

  #planProcess(
    pid: number,
    present: ReadonlyMap<number, OpenFile>,
    wanted: ReadonlyMap<number, OpenFile>,
  ): void {
    for (const [descriptor, now] of present) {
      if (wanted.has(descriptor)) continue;
      const isFaultHandler = now.kind === 'userfaultfd';
      this.#obstacle(pid, `${nameOf(now)} was opened since`, isFaultHandler ? null : 'it is closed');
      this.#closes.push({ kind: 'close', pid, descriptor });
    }
    for (const [descriptor, then] of wanted) {
      const now = present.get(descriptor);
      if (now === undefined) {
        this.#obstacle(pid, `${nameOf(then)} was closed since`, 'it stays closed');
      } else if (!isSameFile(now, then)) {
        this.#obstacle(pid, `${nameOf(then)} is ${now.path} now`, 'it stays what it is now');
      } else this.#planFile(pid, now, then);
    }
    this.#requireSameSharing(pid, present, wanted);
  }

  #planFile(pid: number, now: OpenFile, then: OpenFile): void {
    const { descriptor } = then;
    if (now.deleted && !then.deleted) {
      this.#obstacle(
        pid,
        `the file of ${nameOf(then)} was deleted since`,
        'the program goes on with the deleted file',
      );
    }
    if (!isSameText(lockLines(now.details), lockLines(then.details))) {
      this.#obstacle(pid, `${nameOf(then)} has other file locks than then`, 'it keeps those of now');
    }
    const [flags, earlier] = [now.flags & SETTABLE_FLAGS, then.flags & SETTABLE_FLAGS];
    if (flags !== earlier) this.#operations.push({ kind: 'status', pid, descriptor, flags: then.flags });
    if (now.closeOnExec !== then.closeOnExec) {
      this.#operations.push({ kind: 'close-on-exec', pid, descriptor, on: then.closeOnExec });
    }
    this.#planContents(pid, now, then);
  }

  #planContents(pid: number, now: OpenFile, then: OpenFile): void {
    const { descriptor } = then;
    const why = UNREWINDABLE[then.kind];
    if (why !== undefined) {
      // A page fault that the program has to serve would keep ckpt waiting for it.
      this.#obstacle(
        pid,
        `${nameOf(then)} ${why}`,
        then.kind === 'userfaultfd' ? null : 'it stays as it is now',
      );
      return;
    }
    switch (then.kind) {
      case 'file':
      case 'directory':
      case 'memfd':
        if (now.position !== then.position) {
          this.#operations.push({ kind: 'seek', pid, descriptor, position: BigInt(then.position) });
        }
        return;
      case 'pipe':
      case 'fifo':
        this.#planPipe(pid, now, then);
        return;
      case 'socket':
        if ((this.#sockets.get(now.inode) ?? 'connected') === 'connected') {
          const problem = `${nameOf(then)} is a connection, whose peer does not go back`;
          this.#obstacle(pid, problem, 'it stays connected, as it is now');
        }
        return;
      case 'eventfd':
        this.#planCounter(pid, now, then);
        return;
      case 'timerfd':
        this.#operations.push({ kind: 'timer', pid, descriptor, setting: timerSetting(then.details) });
        return;
      case 'epoll':
        this.#planWatches(pid, now, then);
        return;
      case 'signalfd':
      case 'pidfd':
      case 'other':
      case 'device':
        if (!isSameText(now.details, then.details)) {
          this.#obstacle(pid, `${nameOf(then)} has another state than then`, 'it stays as it is now');
        }
        return;
    }
  }

  #planPipe(pid: number, now: OpenFile, then: OpenFile): void {
    if (now.pipe === null || then.pipe === null || now.pipe.unread === then.pipe.unread) return;
    const writer = this.#writerOf(now);
    if (writer === undefined) {
      this.#obstacle(pid, `${nameOf(then)} holds other bytes than then`, 'it keeps those of now');
      return;
    }
    this.#operations.push({
      kind: 'refill',
      reader: { pid, descriptor: now.descriptor },
      writer,
      presentBytes: Buffer.from(now.pipe.unread, 'base64').length,
      content: new Uint8Array(Buffer.from(then.pipe.unread, 'base64')),
    });
  }

  #writerOf(pipe: OpenFile): DescriptorPlace | undefined {
    for (const { pid, files } of this.#present) {
      const found = files.find(
        ({ kind, inode, device, flags }) =>
          kind === pipe.kind && inode === pipe.inode && device === pipe.device && (flags & ACCESS_MODE) !== 0,
      );
      if (found !== undefined) return { pid, descriptor: found.descriptor };
    }
    return undefined;
  }

  #planCounter(pid: number, now: OpenFile, then: OpenFile): void {
    const [present, wanted] = [eventCounter(now.details), eventCounter(then.details)];
    if (present.count === wanted.count) return;
    if (wanted.semaphore) {
      const problem = `${nameOf(then)} is a semaphore that counted ${wanted.count} and counts ${present.count} now`;
      this.#obstacle(pid, problem, 'it keeps its count');
      return;
    }
    const { descriptor } = then;
    this.#operations.push({ kind: 'count', pid, descriptor, present: present.count, count: wanted.count });
  }

  #planWatches(pid: number, now: OpenFile, then: OpenFile): void {
    const { descriptor } = then;
    const present = new Map(epollWatches(now.details).map((watch) => [watch.descriptor, watch]));
    const wanted = new Map(epollWatches(then.details).map((watch) => [watch.descriptor, watch]));
    const add = (action: WatchAction, watch: EpollWatch) =>
      this.#watches.push({ kind: 'watch', pid, descriptor, action, watch });
    for (const watch of present.values()) if (!wanted.has(watch.descriptor)) add('remove', watch);
    for (const watch of wanted.values()) {
      const before = present.get(watch.descriptor);
      if (before === undefined) add('add', watch);
      else if (before.events !== watch.events || before.data !== watch.data) add('modify', watch);
    }
  }

  /** Two descriptors that shared one open file, and so one position, have to share it still. */
  #requireSameSharing(
    pid: number,
    present: ReadonlyMap<number, OpenFile>,
    wanted: ReadonlyMap<number, OpenFile>,
  ): void {
    const nowOf = new Map<number, number>();
    for (const [descriptor, then] of wanted) {
      const now = present.get(descriptor);
      if (now === undefined || then.description === null || now.description === null) continue;
      if (!isSameFile(now, then)) continue;
      const known = nowOf.get(then.description);
      if (known === undefined) nowOf.set(then.description, now.description);
      else if (known !== now.description) {
        this.#obstacle(pid, `${nameOf(then)} was opened anew since`, 'it stays as it is now');
      }
    }
  }

  #obstacle(pid: number, problem: string, otherwise: string | null): void {
    this.#obstacles.push({ pid, problem, otherwise });
  }
}

function byDescriptor(files: readonly OpenFile[]): Map<number, OpenFile> {
  return new Map(files.map((file) => [file.descriptor, file]));
}

function isSameFile(left: OpenFile, right: OpenFile): boolean {
  const lasting = ~(SETTABLE_FLAGS | MEANINGLESS_FLAGS);
  return (
    left.kind === right.kind &&
    left.inode === right.inode &&
    left.device === right.device &&
    (left.flags & lasting) === (right.flags & lasting)
  );
}

function isSameText(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((line, index) => line === right[index]);
}

/** Without their numbers, which the kernel counts anew each time. */
function lockLines(details: readonly string[]): string[] {
  return details.flatMap((line) => /^lock: \d+: (.*)$/.exec(line)?.[1] ?? []).sort();
}

function nameOf({ descriptor, path }: OpenFile): string {
  return `descriptor ${descriptor} (${path})`;
}
