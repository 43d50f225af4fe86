import { procError, readTaskStat } from './live-files.ts';
import type { Freezer, StopRequest } from './live-freezer.ts';
import { Guard } from './live-guard.ts';
import { activityOf, requireSameActivity, waitUntilStill } from './live-stillness.ts';
import { requireLeaders, type TreeMember, type TreeWalk } from './live-tree.ts';

/**
 * Job control: SIGSTOP and SIGCONT, where ptrace is not to be had. Inside the tree nobody sees it, since children go
 * on before their parents; the parent of the root, if it is a shell, sees its child stop and go on, as after Ctrl-Z.
 * A process that was stopped before is left alone. What we stop is known to a guard first.
 */
export class SignalFreezer implements Freezer {
  readonly kind = 'signal';
  readonly hold = undefined;
  #guard: Guard | undefined;
  /** What we have stopped, in that order. */
  #stopped: TreeMember[] = [];
  #members: readonly TreeMember[] = [];
  #activity = '';

  async prepare(members: readonly TreeMember[]): Promise<void> {
    this.#guard ??= await Guard.start(members[0]!.pid);
  }

  async stop(walk: TreeWalk, request: StopRequest): Promise<readonly TreeMember[]> {
    const known = new Set<number>();
    try {
      for (;;) {
        const news = walk.next().filter(({ pid }) => !known.has(pid));
        if (news.length === 0) break;
        for (const member of news) {
          known.add(member.pid);
          this.#stopOne(member);
        }
        for (const { pid } of news) await waitUntilStill(pid, request);
      }
      requireLeaders(walk.members);
    } catch (error) {
      this.resume();
      throw error;
    }
    this.#members = walk.members;
    this.#activity = activityOf(this.#members);
    return this.#members;
  }

  verify(): void {
    requireSameActivity(this.#members, this.#activity);
  }

  resume(): void {
    const stopped = this.#stopped.reverse();
    this.#stopped = [];
    try {
      for (const member of stopped) signalMember('SIGCONT', member);
    } finally {
      this.#guard?.dismiss();
      this.#guard = undefined;
    }
  }

  async abandon(): Promise<void> {
    this.#stopped = [];
    await this.#guard?.retire();
    this.#guard = undefined;
  }

  /** Sends the guard home: should ckpt die, the processes stay stopped. `resume` continues them still. */
  async keepStopped(): Promise<void> {
    const guard = this.#guard;
    this.#guard = undefined;
    await guard?.retire();
  }

  #stopOne(member: TreeMember): void {
    if (member.stat.state === 'T') return;
    this.#guard?.watch(member.pid, member.stat.startTicks);
    this.#stopped.push(member);
    signalMember('SIGSTOP', member);
  }
}

const DOING = { SIGSTOP: 'stop the threads', SIGCONT: 'continue the threads', SIGKILL: 'end the process' };

/** A PID may have passed to another process, which must not be stopped or continued in place of ours. */
export function signalMember(signal: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL', { pid, stat }: TreeMember): void {
  if (readTaskStat(pid)?.startTicks !== stat.startTicks) return;
  try {
    process.kill(pid, signal);
  } catch (error) {
    throw procError(error, pid, DOING[signal]);
  }
}
