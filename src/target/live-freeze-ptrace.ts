import { TargetError } from '../core/index.ts';
import { goneError, isDeadState, readTaskStat } from './live-files.ts';
import { signalMember } from './live-freeze-signal.ts';
import type { Freezer, StopRequest } from './live-freezer.ts';
import { SessionHold } from './live-hold.ts';
import { requireLeaders, type TreeMember, type TreeWalk, unlessEnded } from './live-tree.ts';
import { type Native, TRACE_OPTION } from './native/calls.ts';
import type { Gadgets } from './native/gadgets.ts';
import { findGadgetsAhead } from './native/injector.ts';
import { TraceSession } from './native/trace-session.ts';
import { maySuspendSeccomp, seccompMode } from './seccomp.ts';

/**
 * ptrace: nobody but a SIGKILL can move what it holds, and the kernel lets everything go should ckpt die, so there is
 * no guard. Neither the target nor its parent can tell; a process that was stopped before stays so.
 */
export class TraceFreezer implements Freezer {
  readonly kind = 'ptrace';
  readonly #native: Native;
  #hold: SessionHold | undefined;
  #members: readonly TreeMember[] = [];
  /** What waits for its release with a SIGSTOP to stop it then. */
  #kept: readonly TreeMember[] = [];
  /** As of `prepare`. */
  #suspendsSeccomp = false;
  readonly #gadgets = new Map<number, Gadgets>();

  constructor(native: Native) {
    this.#native = native;
  }

  get hold(): SessionHold | undefined {
    return this.#hold;
  }

  prepare(members: readonly TreeMember[]): Promise<void> {
    this.#suspendsSeccomp = members.some(isFiltered) && maySuspendSeccomp();
    this.#gadgets.clear();
    for (const { pid } of members) {
      const gadgets = findGadgetsAhead(this.#native, pid);
      if (gadgets !== undefined) this.#gadgets.set(pid, gadgets);
    }
    return Promise.resolve();
  }

  async stop(walk: TreeWalk, request: StopRequest): Promise<readonly TreeMember[]> {
    const seccompSuspended = this.#suspendsSeccomp;
    const session = await TraceSession.stop(this.#native, () => walk.next().map(({ pid }) => pid), {
      ...request,
      traceOptions: seccompSuspended ? TRACE_OPTION.suspendSeccomp : 0,
    });
    this.#hold = new SessionHold(this.#native, session, { seccompSuspended, gadgets: this.#gadgets });
    // One that ended between the last look and our grasp is not among those held.
    const held = new Set(session.processes.map(({ pid }) => pid));
    this.#members = walk.members.filter(({ pid }) => held.has(pid));
    try {
      requireLeaders(this.#members);
    } catch (error) {
      this.resume();
      throw error;
    }
    return this.#members;
  }

  verify(): void {
    for (const { pid, stat } of this.#members) {
      const now = readTaskStat(pid);
      if (now === undefined || now.startTicks !== stat.startTicks || isDeadState(now.state)) {
        throw goneError(pid);
      }
      if (now.state === 't') continue;
      throw new TargetError(`process ${pid} was let go while it was being dumped`, { data: { pid } });
    }
  }

  resume(): void {
    const kept = this.#kept;
    this.#kept = [];
    try {
      // Takes back the SIGSTOP, which none of their threads has seen.
      for (const member of kept) signalMember('SIGCONT', member);
    } finally {
      this.#letGo(false);
    }
  }

  /**
   * Sends each process a SIGSTOP, which takes effect when ptrace lets it go: when ckpt dies, before the first
   * instruction that a thread would execute.
   */
  keepStopped(): Promise<void> {
    this.#kept = this.#members.filter(({ stat }) => stat.state !== 'T');
    for (const member of this.#kept) signalMember('SIGSTOP', member);
    return Promise.resolve();
  }

  abandon(): Promise<void> {
    this.#letGo(true);
    return Promise.resolve();
  }

  #letGo(leaveStopped: boolean): void {
    const hold = this.#hold;
    this.#hold = undefined;
    hold?.release({ leaveStopped });
  }
}

function isFiltered(member: TreeMember): boolean {
  return unlessEnded(member, () => seccompMode(member.pid)) === 'filter';
}
