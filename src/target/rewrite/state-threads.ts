import type { LiveThreadState } from '../live-state-format.ts';
import { type Native, REGISTER_SET, type RseqConfiguration } from '../native/calls.ts';
import { Registers } from '../native/registers.ts';
import type { RemoteMemory } from '../native/remote-memory.ts';
import { withRestartDone } from '../native/restart.ts';
import type { Tracee } from '../native/tracee.ts';
import type { Caller } from './caller.ts';
import { fromBase64, words, zeroTerminated } from './words.ts';

/** NT_ARM_TLS: the only one of the further sets that can be set. */
const ARM_THREAD_POINTER = 0x401;
const PR_SET_NAME = 15;
const RSEQ_UNREGISTER = 1;
const SS_ONSTACK = 1;
const PRIO_PROCESS = 0;

/**
 * Has a thread go on with the registers of a checkpoint, its vector state included. A system call that it was in is
 * made again. To be called last, when no more calls are injected into the thread.
 */
export function setThreadRegisters(
  native: Native,
  tracee: Tracee,
  state: LiveThreadState,
  memory: Pick<RemoteMemory, 'readBytes'>,
): void {
  const { registers } = state;
  if (registers === null) return;
  const isX86 = native.architecture.name === 'x86_64';
  if (isX86 && registers.extended !== null) {
    tracee.setRegisterSet(REGISTER_SET.x86Extended, fromBase64(registers.extended));
  } else tracee.setRegisterSet(REGISTER_SET.floatingPoint, fromBase64(registers.floatingPoint));
  for (const { type, content } of registers.further) {
    if (type === ARM_THREAD_POINTER) tracee.setRegisterSet(type, fromBase64(content));
  }
  const general = withRestartDone(
    new Registers(native.architecture, fromBase64(registers.general)),
    (address, length) => memory.readBytes(address, length),
  );
  // Nothing is left for the kernel to restart.
  if (isX86) general.set('orig_rax', -1n);
  tracee.setRegisters(general);
}

/** Sets the alternate signal stack of the caller's thread. */
export function setAlternateStack(caller: Caller, stack: LiveThreadState['alternateStack']): void {
  if (stack === null) return;
  // stack_t: pointer, flags (i32, padded), size
  const flags = stack.flags & ~SS_ONSTACK;
  const address = caller.writeScratch(words(BigInt(stack.start), flags >>> 0, stack.sizeBytes));
  caller.call('sigaltstack', address, 0);
}

/** Sets the list of robust futexes of the caller's thread; null or 0x0 for none. */
export function setRobustList(caller: Caller, list: LiveThreadState['robustList']): void {
  caller.call('set_robust_list', BigInt(list?.head ?? '0x0'), list?.lengthBytes ?? 24);
}

/** Sets what the kernel clears, and wakes as a futex, when the caller's thread ends; null for nothing. */
export function setClearChildTid(caller: Caller, address: LiveThreadState['clearChildTid']): void {
  caller.call('set_tid_address', BigInt(address ?? '0x0'));
}

/** Takes back the rseq area of the caller's thread: from then on the kernel does not write there. */
export function unregisterRseq(caller: Caller, present: RseqConfiguration | undefined): void {
  if (present === undefined) return;
  const { pointer, sizeBytes, signature } = present;
  caller.call('rseq', pointer, sizeBytes, RSEQ_UNREGISTER, signature);
}

/** Registers the rseq area of the caller's thread, which must have none. */
export function registerRseq(caller: Caller, wanted: LiveThreadState['rseq']): void {
  if (wanted === null) return;
  caller.call('rseq', BigInt(wanted.pointer), wanted.sizeBytes, wanted.flags, wanted.signature);
}

/** Names the caller's thread. */
export function setThreadName(caller: Caller, name: string): void {
  caller.call('prctl', PR_SET_NAME, caller.writeScratch(zeroTerminated(name)), 0, 0, 0);
}

/** Sets scheduling policy, priority and niceness of a thread, from outside. */
export function setSchedule(native: Native, tid: number, schedule: LiveThreadState['schedule']): void {
  const parameter = new Int32Array([schedule.priority]);
  const address = native.addressOf(new Uint8Array(parameter.buffer));
  native.call(`sched_setscheduler of thread ${tid}`, 'sched_setscheduler', tid, schedule.policy, address);
  native.call(`setpriority of thread ${tid}`, 'setpriority', PRIO_PROCESS, tid, schedule.nice);
}
