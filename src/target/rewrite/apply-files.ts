import { closeSync, readSync, writeSync } from 'node:fs';
import type { Native } from '../native/calls.ts';
import type { Caller } from './caller.ts';
import type { DescriptorPlace, FileOperation, WatchAction } from './plan-files.ts';
import { words } from './words.ts';

const F_SETFD = 2;
const F_SETFL = 4;
const FD_CLOEXEC = 1;
const SEEK_SET = 0;
const EPOLL_ACTION: Readonly<Record<WatchAction, number>> = { add: 1, remove: 2, modify: 3 };
/** TFD_IOC_SET_TICKS (include/uapi/linux/timerfd.h). */
const SET_TICKS = 0x40085400;
const NANOSECONDS = 1_000_000_000n;

/**
 * Carries out operations on the open files of processes that stand still: from outside where a descriptor that shares
 * the open file will do, and by calls inside where the descriptor itself is meant.
 * @param callerOf makes calls inside a process
 * @throws SystemCallError
 */
export function applyFiles(
  native: Native,
  operations: readonly FileOperation[],
  callerOf: (pid: number) => Caller,
): void {
  for (const operation of operations) applyOne(native, operation, callerOf);
}

function applyOne(native: Native, operation: FileOperation, callerOf: (pid: number) => Caller): void {
  switch (operation.kind) {
    case 'close':
      callerOf(operation.pid).call('close', operation.descriptor);
      return;
    case 'close-on-exec':
      callerOf(operation.pid).call('fcntl', operation.descriptor, F_SETFD, operation.on ? FD_CLOEXEC : 0);
      return;
    case 'watch':
      applyWatch(native, operation, callerOf(operation.pid));
      return;
    case 'refill':
      refill(native, operation);
      return;
    case 'seek':
      withCopy(native, operation, (copy) => {
        native.call(`lseek of ${nameOf(operation)}`, 'lseek', copy, operation.position, SEEK_SET);
      });
      return;
    case 'status':
      withCopy(native, operation, (copy) => {
        native.call(`F_SETFL of ${nameOf(operation)}`, 'fcntl', copy, F_SETFL, operation.flags);
      });
      return;
    case 'count':
      withCopy(native, operation, (copy) => setCount(copy, operation.present, operation.count));
      return;
    case 'timer':
      withCopy(native, operation, (copy) => setTimer(native, copy, operation));
  }
}

/** Lends a descriptor of ours that shares the open file of another process. */
function withCopy(native: Native, place: DescriptorPlace, use: (copy: number) => void): void {
  const pidfd = native.pidfdOpen(place.pid);
  try {
    const copy = native.pidfdGetfd(pidfd, place.descriptor);
    try {
      use(copy);
    } finally {
      closeSync(copy);
    }
  } finally {
    closeSync(pidfd);
  }
}

/** Reading an eventfd empties it, and would wait if it were empty. */
function setCount(copy: number, present: bigint, count: bigint): void {
  if (present > 0n) readSync(copy, new Uint8Array(8), 0, 8, null);
  if (count > 0n) writeSync(copy, words(count));
}

function setTimer(native: Native, copy: number, operation: Extract<FileOperation, { kind: 'timer' }>): void {
  const { remainingNanoseconds, intervalNanoseconds, ticks } = operation.setting;
  // A timer that has run out unread is not started again before it is read: it has to run out at once.
  const value = remainingNanoseconds === 0n && ticks > 0n ? 1n : remainingNanoseconds;
  // struct itimerspec: interval and value, each seconds and nanoseconds
  const setting = words(...splitTime(intervalNanoseconds), ...splitTime(value));
  const what = `timerfd_settime of ${nameOf(operation)}`;
  native.call(what, 'timerfd_settime', copy, 0, native.addressOf(setting), 0);
  if (ticks > 1n) native.ioctl(`TFD_IOC_SET_TICKS of ${nameOf(operation)}`, copy, SET_TICKS, words(ticks));
}

function splitTime(nanoseconds: bigint): [bigint, bigint] {
  return [nanoseconds / NANOSECONDS, nanoseconds % NANOSECONDS];
}

/** What was read is what the plan has seen: nobody runs who could take it away. */
function refill(native: Native, operation: Extract<FileOperation, { kind: 'refill' }>): void {
  withCopy(native, operation.reader, (reader) => {
    const bytes = new Uint8Array(operation.presentBytes);
    for (let done = 0; done < bytes.length; )
      done += readSync(reader, bytes, done, bytes.length - done, null);
  });
  withCopy(native, operation.writer, (writer) => {
    const { content } = operation;
    for (let done = 0; done < content.length; ) done += writeSync(writer, content, done);
  });
}

function applyWatch(
  native: Native,
  operation: Extract<FileOperation, { kind: 'watch' }>,
  caller: Caller,
): void {
  const { descriptor, action, watch } = operation;
  // struct epoll_event: events (u32), data (u64); packed on x86-64 alone
  const dataAt = native.architecture.name === 'x86_64' ? 4 : 8;
  const event = new DataView(new ArrayBuffer(16));
  event.setUint32(0, watch.events, true);
  event.setBigUint64(dataAt, watch.data, true);
  const address = caller.writeScratch(new Uint8Array(event.buffer));
  caller.call('epoll_ctl', descriptor, EPOLL_ACTION[action], watch.descriptor, address);
}

function nameOf({ pid, descriptor }: DescriptorPlace): string {
  return `descriptor ${descriptor} of process ${pid}`;
}
