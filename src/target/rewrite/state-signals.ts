import type { ProcessSignals, SignalDisposition } from '../live-state-format.ts';
import type { Caller } from './caller.ts';
import { fromBase64, words } from './words.ts';

const SIGNAL_SET_BYTES = 8;
const SIGNALS = 64;
const SIGKILL = 9;
const SIGSTOP = 19;
const EAGAIN = -11n;
const EVERY_SIGNAL = 0xffff_ffff_ffff_ffffn;

/** Sets how a process reacts to signals; those not listed get their default if `present` has them otherwise. */
export function setDispositions(
  caller: Caller,
  wanted: readonly SignalDisposition[],
  present: readonly SignalDisposition[],
): void {
  for (const disposition of changedDispositions(wanted, present)) {
    const { signal, handler, flags, restorer, mask } = disposition;
    // struct kernel_sigaction: handler, flags, restorer, mask
    const address = caller.writeScratch(
      words(BigInt(handler), BigInt(flags), BigInt(restorer), BigInt(mask)),
    );
    caller.call('rt_sigaction', signal, address, 0, SIGNAL_SET_BYTES);
  }
}

/** The dispositions that have to be set to get from `present` to `wanted`. */
export function changedDispositions(
  wanted: readonly SignalDisposition[],
  present: readonly SignalDisposition[],
): SignalDisposition[] {
  const before = new Map(present.map((one) => [one.signal, one]));
  const after = new Map(wanted.map((one) => [one.signal, one]));
  const changed: SignalDisposition[] = [];
  for (let signal = 1; signal <= SIGNALS; signal++) {
    if (signal === SIGKILL || signal === SIGSTOP) continue;
    const [from, to] = [before.get(signal), after.get(signal)];
    if (isSameDisposition(from, to)) continue;
    changed.push(to ?? { signal, handler: '0x0', flags: '0x0', restorer: '0x0', mask: '0x0' });
  }
  return changed;
}

function isSameDisposition(left: SignalDisposition | undefined, right: SignalDisposition | undefined) {
  if (left === undefined || right === undefined) return left === right;
  const fields = ['handler', 'flags', 'restorer', 'mask'] as const;
  return fields.every((field) => BigInt(left[field]) === BigInt(right[field]));
}

/**
 * Takes away every signal that is pending for the caller's thread or for its process, delivering none.
 * @returns how many there were
 */
export function drainSignals(caller: Caller): number {
  const set = caller.writeScratch(words(EVERY_SIGNAL), 0);
  const atOnce = caller.writeScratch(words(0, 0), 64);
  for (let count = 0; ; count++) {
    const result = caller.tryCall('rt_sigtimedwait', set, 0, atOnce, SIGNAL_SET_BYTES);
    if (result === EAGAIN) return count;
    if (result < 0n) caller.call('rt_sigtimedwait', set, 0, atOnce, SIGNAL_SET_BYTES);
  }
}

/**
 * Makes signals pending for the process of the caller, which has to be `pid`: siginfo in base64, 128 bytes each. A stop
 * is left out: whoever sent it wanted the process to stand still then.
 */
export function queueProcessSignals(caller: Caller, pid: number, signals: ProcessSignals['pending']): void {
  for (const signal of signals) {
    const [number, address] = placed(caller, signal);
    if (number !== SIGSTOP) caller.call('rt_sigqueueinfo', pid, number, address);
  }
}

/** Makes signals pending for one thread, which the caller has to be using. */
export function queueThreadSignals(
  caller: Caller,
  pid: number,
  tid: number,
  signals: readonly string[],
): void {
  for (const signal of signals) {
    const [number, address] = placed(caller, signal);
    caller.call('rt_tgsigqueueinfo', pid, tid, number, address);
  }
}

function placed(caller: Caller, signal: string): [number, bigint] {
  const bytes = fromBase64(signal);
  return [new DataView(bytes.buffer).getInt32(0, true), caller.writeScratch(bytes)];
}
