import type { TimerRecord } from '../procfs/index.ts';
import type { Injector } from './native/injector.ts';
import type { Tracee } from './native/tracee.ts';

/** PR_GET_TID_ADDRESS (include/uapi/linux/prctl.h). */
const GET_TID_ADDRESS = 40;
const INTERVAL_TIMERS = [0, 1, 2];
const SIGNAL_SET_BYTES = 8;
/** struct kernel_sigaction: handler, flags, restorer, mask, in words, on x86-64 and aarch64 alike. */
const ACTION_BYTES = 32;
/** struct itimerval and struct itimerspec: interval and value, of two words each. */
const TIMER_BYTES = 32;
/** stack_t: address, flags (32 bits, padded), size. */
const STACK_BYTES = 24;

/** What only the process itself can ask its kernel. */
export interface AskedProcess {
  readonly brk: bigint;
  readonly actions: readonly AskedAction[];
  readonly intervals: readonly AskedInterval[];
  /** By the ids of the timers. */
  readonly timers: ReadonlyMap<number, AskedTimer>;
}

export interface AskedAction {
  readonly signal: number;
  readonly handler: bigint;
  readonly flags: bigint;
  readonly restorer: bigint;
  readonly mask: bigint;
}

export interface AskedInterval {
  readonly which: number;
  readonly intervalMicroseconds: number;
  readonly valueMicroseconds: number;
}

export interface AskedTimer {
  readonly intervalNanoseconds: bigint;
  readonly remainingNanoseconds: bigint;
  readonly overrun: number;
}

/** What only a thread itself can ask. */
export interface AskedThread {
  readonly alternateStack: {
    readonly start: bigint;
    readonly flags: number;
    readonly sizeBytes: number;
  };
  /** Undefined where the kernel does not tell (built without CHECKPOINT_RESTORE). */
  readonly clearChildTid: bigint | undefined;
}

/**
 * Has the process make the calls that only look; nothing in it changes.
 * @param signals whose dispositions to ask for
 * @throws SystemCallError, TargetError
 */
export function askProcess(
  injector: Injector,
  signals: readonly number[],
  timers: readonly TimerRecord[],
): AskedProcess {
  return {
    brk: injector.call('brk', 0),
    actions: askActions(injector, signals),
    intervals: INTERVAL_TIMERS.map((which) => askInterval(injector, which)),
    timers: new Map(timers.map(({ id }) => [id, askTimer(injector, id)])),
  };
}

/** Like `askProcess`, in one of its threads. */
export function askThread(injector: Injector, tracee: Tracee): AskedThread {
  injector.useThread(tracee);
  const address = injector.scratchAddress;
  injector.call('sigaltstack', 0, address);
  const hasTidAddress = injector.tryCall('prctl', GET_TID_ADDRESS, address + BigInt(STACK_BYTES)) === 0n;
  const view = scratchView(injector, STACK_BYTES + 8);
  return {
    alternateStack: {
      start: view.getBigUint64(0, true),
      flags: view.getUint32(8, true),
      sizeBytes: Number(view.getBigUint64(16, true)),
    },
    clearChildTid: hasTidAddress ? view.getBigUint64(STACK_BYTES, true) : undefined,
  };
}

function askActions(injector: Injector, signals: readonly number[]): AskedAction[] {
  signals.forEach((signal, index) => {
    const address = injector.scratchAddress + BigInt(index * ACTION_BYTES);
    injector.call('rt_sigaction', signal, 0, address, SIGNAL_SET_BYTES);
  });
  const view = scratchView(injector, signals.length * ACTION_BYTES);
  return signals.map((signal, index) => {
    const at = index * ACTION_BYTES;
    return {
      signal,
      handler: view.getBigUint64(at, true),
      flags: view.getBigUint64(at + 8, true),
      restorer: view.getBigUint64(at + 16, true),
      mask: view.getBigUint64(at + 24, true),
    };
  });
}

function askInterval(injector: Injector, which: number): AskedInterval {
  injector.call('getitimer', which, injector.scratchAddress);
  const view = scratchView(injector, TIMER_BYTES);
  const microseconds = (at: number) =>
    Number(view.getBigUint64(at, true) * 1_000_000n + view.getBigUint64(at + 8, true));
  return { which, intervalMicroseconds: microseconds(0), valueMicroseconds: microseconds(16) };
}

function askTimer(injector: Injector, id: number): AskedTimer {
  injector.call('timer_gettime', id, injector.scratchAddress);
  const view = scratchView(injector, TIMER_BYTES);
  const nanoseconds = (at: number) =>
    view.getBigUint64(at, true) * 1_000_000_000n + view.getBigUint64(at + 8, true);
  return {
    intervalNanoseconds: nanoseconds(0),
    remainingNanoseconds: nanoseconds(16),
    overrun: Number(injector.call('timer_getoverrun', id)),
  };
}

function scratchView(injector: Injector, length: number): DataView {
  const bytes = injector.readScratch(0, length);
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
