import { setTimeout } from 'node:timers/promises';
import { machineClock, TargetError } from '../../core/index.ts';
import { parseMaps } from '../../procfs/index.ts';
import { errnoOf, isDeadState, readProcText, readTaskStat, threadIds } from '../live-files.ts';
import type { Native } from './calls.ts';
import { Injector, type InjectorOptions } from './injector.ts';
import { isFramePointer } from './scratch.ts';
import { hasErrno, Tracee } from './tracee.ts';

/** How long to ask without a pause: most threads stop within this time, and a pause would last longer. */
const IMPATIENT_MICROSECONDS = 3_000;
/** How long threads that did not stop in time are given before they are left to the end of this program. */
const RELEASE_MICROSECONDS = 2e6;

/** How often to look for the end of threads that were killed, a millisecond apart. */
const BURIAL_ROUNDS = 50;

export interface StopOptions {
  readonly timeoutMicroseconds: number;
  /** Options of PTRACE_SEIZE, see TRACE_OPTION. */
  readonly traceOptions?: number;
  /** False once the stop is not wanted any more. */
  readonly isWanted?: () => boolean;
}

/** One process of a session, its leader first among the threads. */
export interface TracedProcess {
  readonly pid: number;
  readonly threads: readonly Tracee[];
}

/**
 * Processes held by ptrace, with every thread. Nothing has to guard them: should ckpt die, the kernel detaches and
 * they run on.
 */
export class TraceSession {
  readonly #native: Native;
  readonly #tracees = new Map<number, Tracee>();
  #processes: readonly TracedProcess[] = [];

  private constructor(native: Native) {
    this.#native = native;
  }

  /** In the order in which they were named. */
  get processes(): readonly TracedProcess[] {
    return this.#processes;
  }

  /**
   * Stops processes. `listProcesses` is asked again until neither a process nor a thread is new: what stands still
   * cannot fork.
   * @throws TargetError if one cannot be traced or does not stop in time; then all run on
   */
  static async stop(
    native: Native,
    listProcesses: () => readonly number[],
    options: StopOptions,
  ): Promise<TraceSession> {
    const deadline = machineClock() + options.timeoutMicroseconds;
    for (;;) {
      const session = new TraceSession(native);
      try {
        await session.#stopAll(listProcesses, deadline, options);
      } catch (error) {
        await session.#release();
        throw error;
      }
      // A ckpt that was killed may have left a thread on its way back, which has to arrive before it is used again.
      if (machineClock() > deadline || !session.#processes.some(isReturning)) return session;
      session.detach();
      await setTimeout(1);
    }
  }

  /** The process with this PID. @throws TargetError if it is not held */
  process(pid: number): TracedProcess {
    const found = this.#processes.find((process) => process.pid === pid);
    if (found === undefined) throw new TargetError(`process ${pid} is not held by ckpt`, { data: { pid } });
    return found;
  }

  /** Prepares system calls inside a process. @throws UnsupportedError, TargetError if none can be made there */
  injector(pid: number, options: InjectorOptions = {}): Injector {
    return Injector.open(this.#native, this.process(pid), options);
  }

  /**
   * Lets everything go on: threads with the registers they stopped with, or those set since, and interrupted system
   * calls start again. Safe to call twice.
   */
  detach(options: { readonly leaveStopped?: boolean } = {}): void {
    if (options.leaveStopped === true) {
      // Delivered before the first instruction that a thread would execute.
      for (const { pid } of this.#processes) sendStop(pid);
    }
    const dead = [...this.#tracees.values()].filter((tracee) => !tracee.detach());
    this.#tracees.clear();
    this.#processes = [];
    bury(dead);
  }

  async #stopAll(
    listProcesses: () => readonly number[],
    deadline: number,
    options: StopOptions,
  ): Promise<void> {
    let pids = listProcesses();
    while (this.#seizeNew(pids, options.traceOptions ?? 0)) {
      await this.#waitUntilStopped(deadline, options.isWanted ?? (() => true));
      pids = listProcesses();
    }
    this.#processes = this.#grouped(pids);
  }

  /** Seizes what is not held yet. @returns whether there was anything */
  #seizeNew(pids: readonly number[], traceOptions: number): boolean {
    let found = false;
    for (const pid of pids) {
      for (const tid of threadIds(pid)) {
        if (this.#tracees.has(tid) || !this.#seize(pid, tid, traceOptions)) continue;
        this.#tracees.set(tid, new Tracee(this.#native, pid, tid));
        found = true;
      }
    }
    return found;
  }

  #seize(pid: number, tid: number, traceOptions: number): boolean {
    try {
      this.#native.seize(tid, traceOptions);
    } catch (error) {
      const state = readTaskStat(pid, tid)?.state;
      if (state === undefined || isDeadState(state)) return false;
      throw error;
    }
    try {
      this.#native.interrupt(tid);
    } catch (error) {
      if (!hasErrno(error, 'ESRCH')) throw error;
    }
    return true;
  }

  async #waitUntilStopped(deadline: number, isWanted: () => boolean): Promise<void> {
    const moving = new Map([...this.#tracees].filter(([, tracee]) => !tracee.stopped));
    const began = machineClock();
    for (;;) {
      this.#lookAt(moving);
      if (moving.size === 0) return;
      const now = machineClock();
      if (now > deadline) throw tooSlow([...moving.values()][0]!);
      if (now - began > IMPATIENT_MICROSECONDS) await pause(moving.values());
      if (!isWanted()) throw new TargetError('the target was let go before it stood still');
    }
  }

  /** Takes those out that have stopped or ended. */
  #lookAt(moving: Map<number, Tracee>): void {
    for (const [tid, tracee] of moving) {
      const state = tracee.checkStopped();
      if (state === 'moving') continue;
      moving.delete(tid);
      if (state === 'gone') this.#tracees.delete(tid);
    }
  }

  #grouped(pids: readonly number[]): TracedProcess[] {
    return pids
      .map((pid) => ({
        pid,
        threads: [...this.#tracees.values()]
          .filter((tracee) => tracee.pid === pid)
          .sort(
            (left, right) => Number(right.tid === pid) - Number(left.tid === pid) || left.tid - right.tid,
          ),
      }))
      .filter(({ threads }) => threads.length > 0);
  }

  /** Lets go after a stop that failed; only a stopped thread can be detached, so the others are waited for. */
  async #release(): Promise<void> {
    const deadline = machineClock() + RELEASE_MICROSECONDS;
    while (this.#tracees.size > 0 && machineClock() < deadline) {
      for (const [tid, tracee] of this.#tracees) {
        if (!tracee.stopped && tracee.checkStopped() === 'moving') continue;
        tracee.detach();
        this.#tracees.delete(tid);
      }
      if (this.#tracees.size > 0) await setTimeout(1);
    }
  }
}

/** One that has ended needs no signal. */
function sendStop(pid: number): void {
  try {
    process.kill(pid, 'SIGSTOP');
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}

/** Takes note of threads that were killed: a process ends for its parent when its tracer knows of all its threads. */
function bury(dead: readonly Tracee[]): void {
  let left = dead.filter((tracee) => !isNodesOwn(tracee));
  for (let round = 0; left.length > 0 && round < BURIAL_ROUNDS; round++) {
    if (round > 0) sleep(1);
    // The others first: the first thread ends last.
    left = left.toSorted((one, other) => other.tid - one.tid).filter((tracee) => !tracee.isBuried());
  }
}

/** Whether a thread is a child that Node itself waits for. */
function isNodesOwn({ pid, tid }: Tracee): boolean {
  return tid === pid && readTaskStat(pid)?.parentPid === process.pid;
}

/** Waits, and lets nothing else happen in this program. */
function sleep(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

/** Whether a thread stands on the signal frame of an injected call. */
function isReturning({ pid, threads }: TracedProcess): boolean {
  const pointers = threads
    .map((thread) => thread.stackPointer())
    .filter((pointer) => isFramePointer(pointer));
  if (pointers.length === 0) return false;
  const stack = parseMaps(readProcText(pid, 'maps')).find(({ pathname }) => pathname === '[stack]');
  return stack !== undefined && pointers.some((pointer) => Number(pointer >> 12n) === stack.startPage);
}

/**
 * Waits a millisecond. Node waits for its children whenever it is idle, and would swallow the word that one of them has
 * stopped, or take a half-stopped one for ended: where a thread of one is awaited, it does not get idle.
 */
async function pause(awaited: Iterable<Tracee>): Promise<void> {
  if ([...awaited].some(({ pid }) => readTaskStat(pid)?.parentPid === process.pid)) sleep(1);
  else await setTimeout(1);
}

function tooSlow({ pid, tid }: Tracee): TargetError {
  const state = readTaskStat(pid, tid)?.state ?? 'gone';
  return new TargetError(`thread ${tid} of process ${pid} did not stop in time: it is in state ${state}`, {
    hint:
      state === 'D'
        ? 'it waits in the kernel for a device or for a child of vfork; try again later'
        : 'see whether a debugger or another tool holds it',
    data: { pid, thread: tid, state },
  });
}
