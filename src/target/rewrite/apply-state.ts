import type { LiveProcessState, LiveThreadState, PosixTimer, ResourceLimit } from '../live-state-format.ts';
import type { Native } from '../native/calls.ts';
import type { Injector } from '../native/injector.ts';
import type { Tracee } from '../native/tracee.ts';
import { setLimits, setMemoryLayout, setUmask, setWorkingDirectory } from './state-process.ts';
import { drainSignals, queueProcessSignals, queueThreadSignals, setDispositions } from './state-signals.ts';
import {
  registerRseq,
  setAlternateStack,
  setClearChildTid,
  setRobustList,
  setSchedule,
  setThreadName,
  unregisterRseq,
} from './state-threads.ts';
import { createPosixTimers, deletePosixTimer, setIntervalTimers, setPosixTimer } from './state-timers.ts';

/** A stopped process whose state is changed. */
export interface StateSubject {
  readonly native: Native;
  readonly injector: Injector;
  readonly pid: number;
  /** Leader first. */
  readonly threads: readonly Tracee[];
}

/**
 * Takes away what the kernel writes to in the memory of threads by itself: the rseq areas that are not where they have
 * to be, or of which the memory changes hands; of threads that are going to end, everything.
 * @param isSafe whether memory at this address stays what it is
 */
export function releaseThreadAreas(
  { native, injector, threads }: StateSubject,
  wanted: readonly LiveThreadState[],
  isSafe: (address: bigint) => boolean,
): void {
  for (const thread of threads) {
    const rseq = native.rseqConfiguration(thread.tid);
    const state = wanted.find(({ id }) => id === thread.tid);
    const stays = rseq !== undefined && state?.rseq != null && BigInt(state.rseq.pointer) === rseq.pointer;
    if (rseq !== undefined && (!stays || !isSafe(rseq.pointer))) {
      injector.useThread(thread);
      unregisterRseq(injector, rseq);
    }
    if (state !== undefined) continue;
    injector.useThread(thread);
    setRobustList(injector, null);
    setClearChildTid(injector, null);
  }
}

/** Gives the threads the rseq areas that they had, as far as they do not have them. */
export function claimThreadAreas(
  { native, injector, threads }: StateSubject,
  wanted: readonly LiveThreadState[],
): void {
  for (const { id, rseq } of wanted) {
    const thread = threads.find(({ tid }) => tid === id);
    if (thread === undefined || rseq === null || native.rseqConfiguration(id) !== undefined) continue;
    injector.useThread(thread);
    registerRseq(injector, rseq);
  }
}

/**
 * Gives a process the state `to`, memory, mappings, files and registers excepted; what is equal in `from` is left
 * alone. It may be called again, either way, after a failure.
 */
export function applyProcessState(subject: StateSubject, from: LiveProcessState, to: LiveProcessState): void {
  const { native, injector, pid, threads } = subject;
  injector.useThread(threads[0]!);
  if (to.layout.brk !== null && differ(from.layout, to.layout)) setMemoryLayout(injector, to.layout);
  setLimits(native, pid, changedLimits(from.limits, to.limits));
  if (to.umask !== null && to.umask !== from.umask) setUmask(injector, to.umask);
  if (to.workingDirectory !== null && to.workingDirectory !== from.workingDirectory) {
    setWorkingDirectory(injector, to.workingDirectory);
  }
  setDispositions(injector, to.signals.dispositions ?? [], from.signals.dispositions ?? []);
  for (const thread of to.threads) applyThread(subject, from, thread);
  injector.useThread(threads[0]!);
  if (differ(from.signals.pending, to.signals.pending)) {
    drainSignals(injector);
    queueProcessSignals(injector, pid, to.signals.pending);
  }
  setIntervalTimers(injector, to.timers.intervals);
  applyPosixTimers(injector, from.timers.posix, to.timers.posix);
}

function applyThread(
  { native, injector, pid, threads }: StateSubject,
  from: LiveProcessState,
  to: LiveThreadState,
): void {
  const thread = threads.find(({ tid }) => tid === to.id);
  const before = from.threads.find(({ id }) => id === to.id);
  if (thread === undefined || before === undefined) return;
  if (differ(before.schedule, to.schedule)) setSchedule(native, to.id, to.schedule);
  injector.useThread(thread);
  if (differ(before.alternateStack, to.alternateStack)) setAlternateStack(injector, to.alternateStack);
  if (differ(before.robustList, to.robustList)) setRobustList(injector, to.robustList);
  if (to.clearChildTid !== null && differ(before.clearChildTid, to.clearChildTid)) {
    setClearChildTid(injector, to.clearChildTid);
  }
  if (before.name !== to.name) setThreadName(injector, to.name);
  if (!differ(before.pending, to.pending)) return;
  drainSignals(injector);
  queueThreadSignals(injector, pid, to.id, to.pending);
}

/** Timers that are of another kind than they were are made anew. */
function applyPosixTimers(injector: Injector, from: readonly PosixTimer[], to: readonly PosixTimer[]): void {
  const kept = (timer: PosixTimer, others: readonly PosixTimer[]) =>
    others.some((other) => other.id === timer.id && !differ(makingOf(other), makingOf(timer)));
  for (const timer of from) if (!kept(timer, to)) deletePosixTimer(injector, timer.id);
  for (const timer of to) if (kept(timer, from)) setPosixTimer(injector, timer);
  createPosixTimers(
    injector,
    to.filter((timer) => !kept(timer, from)),
  );
}

/** What a timer is given when it is created. */
function makingOf({ clock, signal, notify, notifyThread, value }: PosixTimer): unknown {
  return { clock, signal, notify, notifyThread, value };
}

function changedLimits(from: readonly ResourceLimit[], to: readonly ResourceLimit[]): ResourceLimit[] {
  return to.filter(
    (limit) =>
      !from.some(
        (one) => one.resource === limit.resource && one.soft === limit.soft && one.hard === limit.hard,
      ),
  );
}

function differ(left: unknown, right: unknown): boolean {
  return JSON.stringify(left) !== JSON.stringify(right);
}
