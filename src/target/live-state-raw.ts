import {
  type BigIntStats,
  closeSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  statSync,
} from 'node:fs';
import { goneError, threadIds } from './live-files.ts';
import { trackingDescriptors } from './tracking-record.ts';

/** What /proc says of a process, unparsed: reading is all that is done of it while the target stands still. */
export interface RawProcess {
  readonly pid: number;
  readonly parentPid: number;
  readonly stat: string;
  readonly status: string;
  readonly commandLine: string;
  readonly environment: Buffer | undefined;
  readonly auxiliaryVector: Buffer | undefined;
  readonly limits: string | undefined;
  readonly cgroup: string | undefined;
  readonly personality: string | undefined;
  readonly oomScoreAdjustment: string | undefined;
  readonly timers: string | undefined;
  readonly exe: RawLink | undefined;
  readonly workingDirectory: string | undefined;
  readonly root: string | undefined;
  /** Names of kinds, and what their links say. */
  readonly namespaces: readonly (readonly [kind: string, link: string])[];
  /** In the order of the descriptors; undefined if they may not be looked at. */
  readonly files: readonly RawFile[] | undefined;
  /** The leader first. */
  readonly threads: readonly RawThread[];
}

/** A link of /proc and what it leads to; that may have been lost from sight, as on a dead network file system. */
export interface RawLink {
  readonly path: string;
  readonly stat: BigIntStats | undefined;
}

export interface RawFile extends RawLink {
  readonly descriptor: number;
  readonly info: string;
}

export interface RawThread {
  readonly id: number;
  readonly stat: string;
  readonly status: string;
  /** Number and arguments of the system call that it is in, or `running`. */
  readonly systemCall: string | undefined;
}

/** @throws TargetError if the process is gone */
export function readRawProcess(pid: number, parentPid: number): RawProcess {
  const at = `/proc/${pid}`;
  const stat = readText(`${at}/stat`);
  const status = readText(`${at}/status`);
  const threads = readThreads(pid);
  if (stat === undefined || status === undefined || threads.length === 0) throw goneError(pid);
  return {
    pid,
    parentPid,
    stat,
    status,
    commandLine: readText(`${at}/cmdline`) ?? '',
    environment: readBytes(`${at}/environ`),
    auxiliaryVector: readBytes(`${at}/auxv`),
    limits: readText(`${at}/limits`),
    cgroup: readText(`${at}/cgroup`),
    personality: readText(`${at}/personality`),
    oomScoreAdjustment: readText(`${at}/oom_score_adj`),
    timers: readText(`${at}/timers`),
    exe: readLink(`${at}/exe`),
    workingDirectory: readLinkPath(`${at}/cwd`),
    root: readLinkPath(`${at}/root`),
    namespaces: readNamespaces(`${at}/ns`),
    files: readFiles(pid, at),
    threads,
  };
}

function readThreads(pid: number): RawThread[] {
  const threads: RawThread[] = [];
  for (const id of threadIds(pid)) {
    const at = `/proc/${pid}/task/${id}`;
    const stat = readText(`${at}/stat`);
    const status = readText(`${at}/status`);
    if (stat === undefined || status === undefined) continue;
    threads.push({ id, stat, status, systemCall: readText(`${at}/syscall`) });
  }
  return threads.sort(
    (left, right) => Number(right.id === pid) - Number(left.id === pid) || left.id - right.id,
  );
}

/** Open files of the program; what a tracker keeps in the process is none of them. */
function readFiles(pid: number, at: string): RawFile[] | undefined {
  const names = listDirectory(`${at}/fd`);
  if (names === undefined) return undefined;
  const files: RawFile[] = [];
  for (const descriptor of names.map(Number).sort((left, right) => left - right)) {
    const link = readLink(`${at}/fd/${descriptor}`);
    const info = readText(`${at}/fdinfo/${descriptor}`);
    if (link !== undefined && info !== undefined) files.push({ descriptor, ...link, info });
  }
  const tracking = trackingDescriptors(pid, new Map(files.map(({ descriptor, path }) => [descriptor, path])));
  return files.filter(({ descriptor }) => !tracking.includes(descriptor));
}

function readNamespaces(at: string): (readonly [string, string])[] {
  return (listDirectory(at) ?? []).flatMap((kind) => {
    const link = readLinkPath(`${at}/${kind}`);
    return link === undefined ? [] : [[kind, link] as const];
  });
}

function readLink(path: string): RawLink | undefined {
  const target = readLinkPath(path);
  if (target === undefined) return undefined;
  return { path: target, stat: optional(() => statSync(path, { bigint: true })) };
}

function readLinkPath(path: string): string | undefined {
  return optional(() => readlinkSync(path));
}

function listDirectory(path: string): string[] | undefined {
  return optional(() => readdirSync(path));
}

function readText(path: string): string | undefined {
  return readBytes(path)?.toString('utf8');
}

let buffer = Buffer.allocUnsafe(64 << 10);

/** A whole file of /proc, whose size no stat tells; `readFileSync` takes three times as long. */
function readBytes(path: string): Buffer | undefined {
  return optional(() => {
    const descriptor = openSync(path, 'r');
    try {
      let length = 0;
      for (;;) {
        if (length === buffer.length) buffer = Buffer.concat([buffer, Buffer.allocUnsafe(length)]);
        const count = readSync(descriptor, buffer, length, buffer.length - length, null);
        if (count === 0) return Buffer.from(buffer.subarray(0, length));
        length += count;
      }
    } finally {
      closeSync(descriptor);
    }
  });
}

/** Much of /proc depends on how the kernel was built and on rights; what is missing is recorded as missing. */
function optional<Value>(read: () => Value): Value | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
