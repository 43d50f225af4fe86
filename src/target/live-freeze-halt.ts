import { TraceFreezer } from './live-freeze-ptrace.ts';
import { SignalFreezer } from './live-freeze-signal.ts';
import type { Freezer, StopRequest } from './live-freezer.ts';
import type { SessionHold } from './live-hold.ts';
import type { TreeMember, TreeWalk } from './live-tree.ts';
import type { Native } from './native/calls.ts';

/**
 * Job control, and ptrace on top of it, for those who change a target: what ptrace alone holds goes on when ckpt dies,
 * and a process that is changed half-way must not. Until `keepStopped` a guard continues everything should ckpt die.
 */
export class HaltFreezer implements Freezer {
  readonly kind = 'halt';
  readonly #signal = new SignalFreezer();
  readonly #trace: TraceFreezer;

  constructor(native: Native) {
    this.#trace = new TraceFreezer(native);
  }

  get hold(): SessionHold | undefined {
    return this.#trace.hold;
  }

  prepare(members: readonly TreeMember[]): Promise<void> {
    return this.#signal.prepare(members);
  }

  async stop(walk: TreeWalk, request: StopRequest): Promise<readonly TreeMember[]> {
    await this.#signal.stop(walk, request);
    try {
      walk.restart();
      return await this.#trace.stop(walk, request);
    } catch (error) {
      this.#signal.resume();
      throw error;
    }
  }

  verify(): void {
    this.#trace.verify();
  }

  resume(): void {
    try {
      this.#trace.resume();
    } finally {
      this.#signal.resume();
    }
  }

  /** What ptrace lets go stays stopped by SIGSTOP. */
  async abandon(): Promise<void> {
    this.#trace.resume();
    await this.#signal.abandon();
  }

  /** From now on the processes stay stopped should ckpt die. `resume` continues them still. */
  keepStopped(): Promise<void> {
    return this.#signal.keepStopped();
  }
}
