import { closeSync, readSync } from 'node:fs';
import type { RawFile, RawProcess } from './live-state-raw.ts';
import type { Native } from './native/calls.ts';
import { SystemCallError } from './native/errno.ts';

/** F_SETPIPE_SZ and F_GETPIPE_SZ (include/uapi/linux/fcntl.h). */
const SET_PIPE_SIZE = 1031;
const GET_PIPE_SIZE = 1032;
const NON_BLOCKING = 0o4000;
const SPLICE_NON_BLOCKING = 2;
/** FIONREAD (include/uapi/asm-generic/ioctls.h). */
const BYTES_TO_READ = 0x541b;
/** KCMP_FILE (include/uapi/linux/kcmp.h), and what kcmp answers. */
const COMPARE_FILES = 0;
const EQUAL = 0;
const LESS = 1;
const ACCESS_MODE = 3;
const READ_ONLY = 0;
const READ_WRITE = 2;

/** A descriptor of one of the processes of the target. */
export interface Holder {
  readonly pid: number;
  readonly file: RawFile;
  readonly flags: number;
}

/** What is in a pipe. */
export interface RawPipe {
  readonly unread: Uint8Array;
  readonly capacityBytes: number;
}

/** All descriptors of the processes, in their order. */
export function holdersOf(
  processes: readonly RawProcess[],
  flagsOf: (file: RawFile) => number,
): readonly Holder[] {
  return processes.flatMap(({ pid, files }) =>
    (files ?? []).map((file) => ({ pid, file, flags: flagsOf(file) })),
  );
}

/**
 * Numbers the open file descriptions from 1, in the order in which their first descriptors come. Two descriptors that
 * share one agree in path, inode and flags, so only those that do have to be compared by the kernel; it puts them into
 * an order (kernel/kcmp.c), so that each is compared with a few others only, however many are alike.
 * @throws SystemCallError if the kernel cannot compare (kcmp: built without it, no right)
 */
export function numberDescriptions(
  native: Pick<Native, 'call'>,
  holders: readonly Holder[],
): ReadonlyMap<RawFile, number> {
  const numbers = new Map<RawFile, number>();
  const firsts = new Map<string, Holder[]>();
  let count = 0;
  for (const holder of holders) {
    const key = likeness(holder);
    const ordered = firsts.get(key) ?? [];
    firsts.set(key, ordered);
    const { index, found } = search(native, ordered, holder);
    if (!found) ordered.splice(index, 0, holder);
    numbers.set(holder.file, found ? numbers.get(ordered[index]!.file)! : ++count);
  }
  return numbers;
}

/** What else fdinfo says may change while it is read: how long a timer runs, where another program has moved to. */
function likeness({ file, flags }: Holder): string {
  return `${flags} ${file.stat?.dev}:${file.stat?.ino} ${file.path}`;
}

/** Finds where among others, in the kernel's order, the open file of a descriptor is or belongs. */
function search(
  native: Pick<Native, 'call'>,
  ordered: readonly Holder[],
  wanted: Holder,
): { readonly index: number; readonly found: boolean } {
  let [low, high] = [0, ordered.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const order = compare(native, ordered[middle]!, wanted);
    if (order === EQUAL) return { index: middle, found: true };
    if (order === LESS) low = middle + 1;
    else high = middle;
  }
  return { index: low, found: false };
}

function compare(native: Pick<Native, 'call'>, left: Holder, right: Holder): number {
  const [one, other] = [left.file.descriptor, right.file.descriptor];
  const what = `kcmp of descriptors ${one} and ${other}`;
  return Number(native.call(what, 'kcmp', left.pid, right.pid, COMPARE_FILES, one, other));
}

/**
 * Copies what lies unread in pipes and FIFOs both ends of which the target holds, without taking it out of them.
 * @param onFailure is told of a pipe that cannot be looked into
 * @returns the content by the first descriptor that reads from the pipe
 */
export function readPipes(
  native: Native,
  holders: readonly Holder[],
  onFailure: (holder: Holder, why: string) => void,
): ReadonlyMap<RawFile, RawPipe> {
  const contents = new Map<RawFile, RawPipe>();
  for (const reader of readersOfOwnPipes(holders)) {
    try {
      contents.set(reader.file, readPipe(native, reader));
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      onFailure(reader, error.message);
    }
  }
  return contents;
}

function readersOfOwnPipes(holders: readonly Holder[]): Holder[] {
  const ends = new Map<string, { reader: Holder | undefined; hasWriter: boolean }>();
  for (const holder of holders) {
    const { stat } = holder.file;
    if (stat === undefined || !stat.isFIFO()) continue;
    const key = `${stat.dev}:${stat.ino}`;
    const end = ends.get(key) ?? { reader: undefined, hasWriter: false };
    const mode = holder.flags & ACCESS_MODE;
    if (mode === READ_ONLY || mode === READ_WRITE) end.reader ??= holder;
    if (mode !== READ_ONLY) end.hasWriter = true;
    ends.set(key, end);
  }
  return [...ends.values()].flatMap(({ reader, hasWriter }) =>
    reader !== undefined && hasWriter ? [reader] : [],
  );
}

/** tee duplicates the references that a pipe holds to its bytes (fs/splice.c), so that both pipes have them. */
function readPipe(native: Native, { pid, file }: Holder): RawPipe {
  const process = native.pidfdOpen(pid);
  let pipe: number | undefined;
  try {
    pipe = native.pidfdGetfd(process, file.descriptor);
    const capacityBytes = Number(native.call('F_GETPIPE_SZ', 'fcntl', pipe, GET_PIPE_SIZE));
    const length = Buffer.alloc(4);
    native.ioctl('FIONREAD', pipe, BYTES_TO_READ, length);
    return { unread: duplicate(native, pipe, length.readInt32LE(), capacityBytes), capacityBytes };
  } finally {
    if (pipe !== undefined) closeSync(pipe);
    closeSync(process);
  }
}

function duplicate(native: Native, pipe: number, bytes: number, capacityBytes: number): Uint8Array {
  const content = new Uint8Array(bytes);
  if (bytes === 0) return content;
  const ends = new Int32Array(2);
  native.call('pipe2', 'pipe2', native.addressOf(new Uint8Array(ends.buffer)), NON_BLOCKING);
  const [reader, writer] = [ends[0]!, ends[1]!];
  try {
    native.call('F_SETPIPE_SZ', 'fcntl', writer, SET_PIPE_SIZE, capacityBytes);
    const copied = Number(native.call('tee', 'tee', pipe, writer, bytes, SPLICE_NON_BLOCKING));
    let done = 0;
    while (done < copied) done += readSync(reader, content, done, copied - done, null);
    return content.subarray(0, copied);
  } finally {
    closeSync(reader);
    closeSync(writer);
  }
}
