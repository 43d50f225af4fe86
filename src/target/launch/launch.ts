import { type PageRange, TargetError } from '../../core/index.ts';
import { readProcText } from '../live-files.ts';
import type { LiveProcessState } from '../live-state-format.ts';
import { loadNative, type Native } from '../native/calls.ts';
import { hasErrno } from '../native/tracee.ts';
import { setMemoryLayout } from '../rewrite/state-process.ts';
import { fromBase64 } from '../rewrite/words.ts';
import type { Vma } from '../view.ts';
import { lendTerminal } from './foreground.ts';
import { Launcher } from './launcher.ts';
import { allowDescriptors } from './limits.ts';
import { NewProcess } from './new-process.ts';
import { NewSpace } from './new-space.ts';
import {
  abortSequences,
  forbidHugePages,
  setLast,
  setProcessState,
  setRegisters,
  setThreads,
} from './new-state.ts';
import {
  choosePool,
  closePool,
  type DescriptorPool,
  openDescriptions,
  placeDescriptors,
  setUpDescriptors,
} from './open-descriptions.ts';
import type { FamilyMember } from './plan-family.ts';
import type { LaunchPlan } from './plan-launch.ts';
import { sourceKey } from './plan-space.ts';
import { waitStopped } from './remote-thread.ts';

const SIGSTOP = 19;
const LOOK_AGAIN_MILLISECONDS = 100;

/** How the new processes live with ckpt. */
export interface LaunchOptions {
  /** Apart from ckpt: in a session of their own, as children of init. Otherwise ckpt is the parent. */
  readonly detached: boolean;
}

interface Member {
  readonly process: NewProcess;
  readonly space: NewSpace;
  state: LiveProcessState;
}

/**
 * Processes in the making. Until they are let go they stand still, and die with ckpt.
 *
 *     begin    processes under their PIDs, open files, empty mappings
 *     write    their memory
 *     finish   threads, signals, timers, rights, registers
 *     release  all go on at once
 */
export class Launch {
  readonly rootPid: number;
  readonly #native: Native;
  readonly #plan: LaunchPlan;
  readonly #processes: NewProcess[] = [];
  readonly #members = new Map<number, Member>();
  readonly #detached: boolean;
  #takeTerminalBack = (): void => undefined;
  #sharesProcessGroup = false;

  private constructor(native: Native, plan: LaunchPlan, detached: boolean) {
    this.#native = native;
    this.#plan = plan;
    this.#detached = detached;
    this.rootPid = plan.family.root.pid;
  }

  /** @throws SystemCallError, UnsupportedError; then nothing is left behind */
  static async begin(plan: LaunchPlan, options: LaunchOptions): Promise<Launch> {
    const native = await loadNative();
    const ids = new Set(plan.sources.flatMap(({ state }) => state.threads.map(({ id }) => id)));
    const layouts: (readonly PageRange[])[] = plan.sources.map(({ vmas }) => vmas);
    const launcher = await Launcher.start(native, ids, layouts, options.detached);
    const launch = new Launch(native, plan, options.detached);
    try {
      launch.#populate(launcher);
      return launch;
    } catch (error) {
      launch.abort();
      throw error;
    } finally {
      launcher.close();
    }
  }

  /** Writes pages of a process; undefined stands for zeros. */
  write(pid: number, startPage: number, pageCount: number, bytes: Uint8Array | undefined): void {
    this.#member(pid).space.write(startPage, pageCount, bytes);
  }

  /**
   * Sets everything beyond memory. Nothing of the new processes can be changed afterwards.
   * @returns what could not be set, as sentences
   */
  finish(): string[] {
    const skipped: string[] = [];
    const lenient = { onSkipped: (message: string) => skipped.push(message) };
    const own = this.#plan.ownCredentials;
    const members = [...this.#members.values()];
    for (const member of members) {
      const { process, space } = member;
      member.state = abortSequences(process, member.state, this.#native);
      setProcessState(process, member.state);
      space.finish();
      space.verify();
      setThreads(this.#native, process, member.state);
    }
    for (const { process, state } of members) setLast(this.#native, process, state, own, lenient);
    for (const { process, state } of members) {
      process.removeWorkspace();
      setRegisters(this.#native, process, state);
    }
    return skipped;
  }

  /** Lets all threads of all processes go on, or leaves them stopped as by SIGSTOP. */
  release(leaveStopped: boolean): void {
    const native = this.#native;
    const members = [...this.#members.values()];
    for (const { process, state } of members) {
      if (leaveStopped) stopForJobControl(native, process);
      for (const [index, { tid }] of process.threads.entries()) {
        // From a stop that was asked for the kernel restarts interrupted calls; from the end of a call it does not.
        if (!leaveStopped || index > 0) stopOnTheWay(native, process.pid, tid);
        native.setSignalMask(tid, BigInt(state.threads[index]!.signalMask));
      }
    }
    const [group, own] = [processGroup(this.rootPid), processGroup(process.pid)];
    this.#sharesProcessGroup = group === own;
    // Before anybody runs: who reads from a terminal in the background is stopped.
    if (!this.#detached) this.#takeTerminalBack = lendTerminal(native, own, group);
    for (const { process } of members) for (const { tid } of process.threads) letGo(native, tid);
    for (const { process } of members) process.memory.close();
    this.#processes.length = 0;
  }

  /** Ends whatever has been made. */
  abort(): void {
    for (const process of this.#processes.splice(0).reverse()) process.kill();
  }

  /**
   * Waits until the root, let go and not detached, has ended; until then it has our terminal, if we have one.
   * @returns its exit code, or 128 and the number of the signal that killed it
   */
  async waitForEnd(): Promise<number> {
    try {
      for (;;) {
        const status = this.#exitStatus();
        if (status !== undefined) return status;
        await somethingEnded();
      }
    } finally {
      this.#takeTerminalBack();
    }
  }

  /** Whether what the terminal sends to ckpt reaches the root, once let go, by itself: they are in one process group. */
  get sharesProcessGroup(): boolean {
    return this.#sharesProcessGroup;
  }

  #exitStatus(): number | undefined {
    try {
      const status = this.#native.wait(this.rootPid, false);
      if (status?.kind === 'exited') return status.code;
      return status?.kind === 'killed' ? 128 + status.signal : undefined;
    } catch (error) {
      if (!hasErrno(error, 'ECHILD')) throw error;
      throw new TargetError(
        `nobody knows how process ${this.rootPid} ended: somebody else has waited for it`,
      );
    }
  }

  #member(pid: number): Member {
    const member = this.#members.get(pid);
    if (member === undefined) throw new RangeError(`process ${pid} is none of those that are made`);
    return member;
  }

  #populate(launcher: Launcher): void {
    const plan = this.#plan;
    const pool = choosePool(plan.descriptors.processes.values(), plan.recipes.length);
    const root = NewProcess.fork(
      this.#native,
      launcher.thread,
      this.rootPid,
      launcher.workspace,
      !this.#detached,
    );
    this.#processes.push(root);
    root.clear();
    forbidHugePages(root);
    openDescriptions(root.leader, pool, plan.recipes, plan.descriptors.pipes);
    this.#raise(plan.family.root, root, launcher);
    for (const { pid, group } of plan.family.groups) this.#process(pid).leader.call('setpgid', 0, group);
    for (const { state, vmas } of plan.sources) {
      const process = this.#process(state.pid);
      this.#equip(process, state, vmas, pool);
    }
  }

  #process(pid: number): NewProcess {
    const process = this.#processes.find((one) => one.pid === pid);
    if (process === undefined) throw new RangeError(`process ${pid} has not been made`);
    return process;
  }

  /** Forks the children of a process, before and after it begins a session of its own, and theirs. */
  #raise(member: FamilyMember, process: NewProcess, launcher: Launcher): void {
    const fork = (child: FamilyMember): [FamilyMember, NewProcess] => {
      const made = NewProcess.fork(this.#native, process.leader, child.pid, launcher.workspace);
      this.#processes.push(made);
      return [child, made];
    };
    const early = member.early.map(fork);
    if (member.leadsSession) process.leader.call('setsid');
    const late = member.late.map(fork);
    for (const [child, made] of [...early, ...late]) this.#raise(child, made, launcher);
  }

  #equip(process: NewProcess, state: LiveProcessState, vmas: readonly Vma[], pool: DescriptorPool): void {
    const plan = this.#plan;
    const { pid, leader } = process;
    const auxiliaryVector = fromBase64(state.auxiliaryVector ?? '');
    const program = plan.programs.get(pid) ?? 0;
    // The program's name can be changed only while the old one is not mapped, nor the new one if both are the same.
    setMemoryLayout(leader, state.layout, { auxiliaryVector, exeDescriptor: pool.first + program });
    const space = new NewSpace(process, vmas, {
      descriptorFor: (vma) => pool.first + (plan.mappingSources.get(sourceKey(vma) ?? '') ?? 0),
    });
    space.map();
    const descriptors = plan.descriptors.processes.get(pid);
    allowDescriptors(this.#native, pid, Math.max(0, ...state.files.map(({ descriptor }) => descriptor)));
    placeDescriptors(leader, pool, descriptors?.placements ?? []);
    closePool(leader, pool);
    // Closing any descriptor of a file gives up the process's locks on it.
    if (descriptors !== undefined) setUpDescriptors(leader, descriptors);
    this.#members.set(pid, { process, space, state });
  }
}

function processGroup(pid: number): number {
  const stat = readProcText(pid, 'stat');
  // After the name, which may hold anything: state, parent, process group.
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2]);
}

/** Resolves when a child of ckpt may have ended. */
function somethingEnded(): Promise<void> {
  return new Promise((resolve) => {
    const wake = () => {
      clearTimeout(timer);
      process.off('SIGCHLD', wake);
      resolve();
    };
    process.on('SIGCHLD', wake);
    // A signal does not keep Node alive, and one that came just before is not told.
    const timer = setTimeout(wake, LOOK_AGAIN_MILLISECONDS);
  });
}

/** Whoever has been killed meanwhile, or ended because another thread went on first, needs no letting go. */
function letGo(native: Native, tid: number): void {
  try {
    native.detach(tid);
  } catch (error) {
    if (!hasErrno(error, 'ESRCH')) throw error;
  }
}

/** Has a thread leave the call that it has just made and stop before it does anything else. */
function stopOnTheWay(native: Native, pid: number, tid: number): void {
  native.interrupt(tid);
  native.resume(tid);
  waitStopped(native, pid, tid);
}

/**
 * Stops a process as SIGSTOP does, by way of its leader, while all other signals are still blocked: what is pending is
 * then delivered only when the process goes on.
 */
function stopForJobControl(native: Native, { pid }: NewProcess): void {
  process.kill(pid, 'SIGSTOP');
  native.resume(pid);
  waitStopped(native, pid, pid);
  native.resume(pid, SIGSTOP);
  waitStopped(native, pid, pid);
}
