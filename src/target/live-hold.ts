import { hasEnded } from './live-files.ts';
import type { Native } from './native/calls.ts';
import type { Gadgets } from './native/gadgets.ts';
import type { Injector } from './native/injector.ts';
import type { TraceSession } from './native/trace-session.ts';

/** A live target that stands still under ptrace: what can be asked of it and done to it beyond /proc. */
export interface LiveHold {
  readonly native: Native;
  readonly session: TraceSession;
  /** Seccomp filters do not see the calls that are made inside the processes. */
  readonly seccompSuspended: boolean;
  /**
   * System calls inside a process of the target. Everybody gets the same injector, and nobody closes it or keeps it:
   * it ends when memory of the process is read next, or the target goes on.
   */
  injector(pid: number): Injector;
  /** Closes the injector of a process, if there is one: its memory and registers are as they were. */
  settle(pid: number): void;
}

/** What the state of a target is captured from, while it stands still. */
export interface LiveCapture {
  /** Root first, with parent 0; parents before their children. */
  readonly processes: readonly { readonly pid: number; readonly parentPid: number }[];
  /** Undefined where the target was stopped by other means than ptrace. */
  readonly hold: LiveHold | undefined;
  /** Why there is none, for people; absent if something else was asked for. */
  readonly holdProblem?: string;
}

export interface SessionHoldOptions {
  readonly seccompSuspended?: boolean;
  /** Instructions that were found before the stop, by the PIDs of the processes. */
  readonly gadgets?: ReadonlyMap<number, Gadgets>;
}

/** Hold of a session. `close` gives back what its injectors took from the processes. */
export class SessionHold implements LiveHold {
  readonly native: Native;
  readonly session: TraceSession;
  readonly seccompSuspended: boolean;
  readonly #gadgets: ReadonlyMap<number, Gadgets>;
  readonly #injectors = new Map<number, Injector>();

  constructor(native: Native, session: TraceSession, options: SessionHoldOptions = {}) {
    this.native = native;
    this.session = session;
    this.seccompSuspended = options.seccompSuspended ?? false;
    this.#gadgets = options.gadgets ?? new Map();
  }

  injector(pid: number): Injector {
    const existing = this.#injectors.get(pid);
    if (existing !== undefined) return existing;
    const gadgets = this.#gadgets.get(pid);
    const injector = this.session.injector(pid, gadgets === undefined ? {} : { gadgets });
    this.#injectors.set(pid, injector);
    return injector;
  }

  settle(pid: number): void {
    const injector = this.#injectors.get(pid);
    if (injector === undefined) return;
    this.#injectors.delete(pid);
    injector.close();
  }

  /** Lets the target go on. An injector whose process was killed meanwhile is no failure. */
  release(options: { readonly leaveStopped: boolean }): void {
    try {
      for (const pid of [...this.#injectors.keys()]) {
        if (!hasEnded(pid)) this.settle(pid);
      }
    } finally {
      this.#injectors.clear();
      this.session.detach(options);
    }
  }
}
