import type { SessionHold } from './live-hold.ts';
import type { TreeMember, TreeWalk } from './live-tree.ts';

/** How long a stop may take, and whether it is still wanted. */
export interface StopRequest {
  readonly timeoutMicroseconds: number;
  /** False once the target was let go again meanwhile. */
  readonly isWanted: () => boolean;
}

/** A way to make all processes of a target stand still. */
export interface Freezer {
  readonly kind: FreezerKind;
  /** Present while ptrace holds the target. */
  readonly hold: SessionHold | undefined;
  /** Does before the stop what need not wait for it. */
  prepare(members: readonly TreeMember[]): Promise<void>;
  /**
   * Stops the target; resolves when everything in it stands still. After a failure everything runs as before.
   * @returns the processes, root first
   * @throws TargetError if it ends, cannot be stopped, or not in time
   */
  stop(walk: TreeWalk, request: StopRequest): Promise<readonly TreeMember[]>;
  /** @throws TargetError if anything has run, or ended, since `stop` resolved */
  verify(): void;
  /** Lets everything go on that ran before. Synchronous: it is called from signal handlers. Safe to call twice. */
  resume(): void;
  /** Lets go of everything and leaves the processes stopped, for good. */
  abandon(): Promise<void>;
  /** Has the processes stay stopped from now on should ckpt die; `resume` lets them go on still. */
  keepStopped(): Promise<void>;
}

export type FreezerKind = 'ptrace' | 'signal' | 'cgroup' | 'halt';
