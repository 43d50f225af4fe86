import { writeFileSync } from 'node:fs';
import { TargetError } from '../../core/index.ts';
import type { Credentials, LiveProcessState, LiveThreadState } from '../live-state-format.ts';
import { type Native, REGISTER_SET } from '../native/calls.ts';
import { Registers } from '../native/registers.ts';
import { withRestartDone } from '../native/restart.ts';
import { abortAddress } from '../native/rseq.ts';
import { setLimits, setUmask, setWorkingDirectory } from '../rewrite/state-process.ts';
import { queueProcessSignals, queueThreadSignals, setDispositions } from '../rewrite/state-signals.ts';
import {
  registerRseq,
  setAlternateStack,
  setClearChildTid,
  setRobustList,
  setSchedule,
  setThreadName,
} from '../rewrite/state-threads.ts';
import { createPosixTimers, setIntervalTimers } from '../rewrite/state-timers.ts';
import { fromBase64 } from '../rewrite/words.ts';
import { setCredentials } from './credentials.ts';
import { ignoredSignals } from './launcher.ts';
import { differingLimits } from './limits.ts';
import type { NewProcess } from './new-process.ts';
import type { RemoteThread } from './remote-thread.ts';

const PR_SET_THP_DISABLE = 41;
/** A call that the kernel goes on with by what it remembers of it, which a new thread does not have. */
const RESTART_BLOCK = -516n;
const RESTART_SYSCALL = 219n;
const HIGHEST_SIGNAL = 64;
/**
 * MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, _PRIVATE_EXPEDITED, _SYNC_CORE and _RSEQ. Which of them a process had made
 * is not told by /proc; one too many does no harm, and one too few makes membarrier(2) fail where it never did.
 */
const MEMBARRIER_REGISTRATIONS = [1 << 2, 1 << 4, 1 << 6, 1 << 8] as const;

/** What a launch may leave undone because somebody said that it does not matter. */
export interface Leniency {
  /** Told what could not be set. */
  readonly onSkipped: (message: string) => void;
}

/** Keeps huge pages out while memory is written, so that exactly the pages of the checkpoint come to exist. */
export function forbidHugePages(process: NewProcess): void {
  process.leader.call('prctl', PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

/** Sets what belongs to the process as a whole. Its memory is there already; its other threads are not. */
export function setProcessState(process: NewProcess, state: LiveProcessState): void {
  const { leader } = process;
  leader.call('prctl', PR_SET_THP_DISABLE, 0, 0, 0, 0);
  if (state.workingDirectory !== null) setWorkingDirectory(leader, state.workingDirectory);
  if (state.umask !== null) setUmask(leader, state.umask);
  if (state.personality !== null) leader.call('personality', BigInt(state.personality));
  for (const registration of MEMBARRIER_REGISTRATIONS) leader.tryCall('membarrier', registration, 0, 0);
  setSignals(process, state);
}

/** The leader begins with handlers at their default, but ignores what ckpt's own caller had it ignore. */
function setSignals(process: NewProcess, { signals }: LiveProcessState): void {
  const ignored = ignoredSignals(process.pid);
  const present = Array.from({ length: HIGHEST_SIGNAL }, (_, index) => index + 1)
    .filter((signal) => ((ignored >> BigInt(signal - 1)) & 1n) === 1n)
    .map((signal) => ({ signal, handler: '0x1', flags: '0x0', restorer: '0x0', mask: '0x0' }) as const);
  setDispositions(process.leader, signals.dispositions ?? [], present);
}

/** Makes the other threads and sets what each thread has of its own, but for its registers. */
export function setThreads(native: Native, process: NewProcess, state: LiveProcessState): void {
  for (const { id } of state.threads.slice(1)) process.addThread(id);
  for (const [thread, { name, alternateStack, robustList, clearChildTid, rseq, schedule }] of paired(
    process,
    state,
  )) {
    setThreadName(thread, name);
    setAlternateStack(thread, alternateStack);
    setRobustList(thread, robustList);
    setClearChildTid(thread, clearChildTid);
    registerRseq(thread, rseq);
    setSchedule(native, thread.tid, schedule);
  }
}

/** Starts the clocks and gives up the rights that making the process took: after this nothing else can be set. */
export function setLast(
  native: Native,
  process: NewProcess,
  state: LiveProcessState,
  own: Credentials,
  { onSkipped }: Leniency,
): void {
  const { pid, leader } = process;
  attempt(`oom_score_adj of process ${pid}`, onSkipped, () => {
    if (state.oomScoreAdjustment === null) return;
    writeFileSync(`/proc/${pid}/oom_score_adj`, String(state.oomScoreAdjustment));
  });
  setIntervalTimers(leader, state.timers.intervals);
  createPosixTimers(leader, state.timers.posix);
  for (const [thread, { pending }] of paired(process, state)) {
    queueThreadSignals(thread, pid, thread.tid, pending);
  }
  queueProcessSignals(leader, pid, state.signals.pending);
  for (const { limit } of differingLimits(native, pid, state.limits)) {
    attempt(`a resource limit of process ${pid}`, onSkipped, () => setLimits(native, pid, [limit]));
  }
  for (const thread of process.threads) setCredentials(thread, state.credentials, own);
}

/** Puts in place what the threads go on with. No call can be made in them afterwards. */
export function setRegisters(native: Native, process: NewProcess, state: LiveProcessState): void {
  for (const [thread, threadState] of paired(process, state)) {
    setThreadRegisters(native, thread, threadState);
  }
}

/** Where a restartable sequence has to be aborted is told by memory that rseq's registration has cleared since. */
export function abortSequences(
  process: NewProcess,
  state: LiveProcessState,
  native: Native,
): LiveProcessState {
  const threads = state.threads.map((thread) => {
    if (thread.registers === null || thread.rseq === null) return thread;
    const general = new Registers(native.architecture, fromBase64(thread.registers.general));
    const area = { ...thread.rseq, pointer: BigInt(thread.rseq.pointer) };
    const abort = abortAddress(area, general.instructionPointer, (address, length) =>
      process.memory.readBytes(address, length),
    );
    if (abort === undefined) return thread;
    general.set(native.architecture.instructionPointer, abort);
    const bytes = Buffer.from(general.bytes).toString('base64');
    return { ...thread, registers: { ...thread.registers, general: bytes } };
  });
  return { ...state, threads };
}

function setThreadRegisters(native: Native, thread: RemoteThread, state: LiveThreadState): void {
  const { registers } = state;
  if (registers === null) return;
  setVectorState(native, thread, registers);
  const recorded = new Registers(native.architecture, fromBase64(registers.general));
  const isRemembered =
    recorded.result === RESTART_BLOCK ||
    (recorded.architecture.name === 'x86_64' && recorded.get('orig_rax') === RESTART_SYSCALL);
  // Other interrupted calls the kernel restarts itself, as the thread leaves the stop, or has a handler run instead.
  const general = isRemembered
    ? withRestartDone(recorded, (address, length) => thread.memory.readBytes(address, length))
    : recorded;
  if (isRemembered && general.architecture.name === 'x86_64') general.set('orig_rax', -1n);
  native.setRegisterSet(thread.tid, REGISTER_SET.general, general.bytes);
}

function setVectorState(
  native: Native,
  { pid, tid }: RemoteThread,
  { extended, floatingPoint }: NonNullable<LiveThreadState['registers']>,
): void {
  if (extended === null || native.architecture.name !== 'x86_64') {
    native.setRegisterSet(tid, REGISTER_SET.floatingPoint, fromBase64(floatingPoint));
    return;
  }
  try {
    native.setRegisterSet(tid, REGISTER_SET.x86Extended, fromBase64(extended));
  } catch (cause) {
    throw new TargetError(`this processor does not take the vector registers of process ${pid}`, {
      hint: 'restore it on a machine with the processor that it was dumped on',
      data: { pid },
      cause,
    });
  }
}

function paired(process: NewProcess, state: LiveProcessState): [RemoteThread, LiveThreadState][] {
  return process.threads.map((thread, index) => {
    const threadState = state.threads[index];
    if (threadState?.id !== thread.tid) throw new RangeError(`no state for thread ${thread.tid}`);
    return [thread, threadState];
  });
}

function attempt(what: string, onSkipped: (message: string) => void, act: () => void): void {
  try {
    act();
  } catch (error) {
    onSkipped(`${what} could not be set: ${error instanceof Error ? error.message : String(error)}`);
  }
}
