import { machineClock, type PageRangeList, TargetError } from '../../core/index.ts';
import type { ProcessView, Target } from '../../target/index.ts';
import type { Tracker } from '../../tracker/index.ts';
import type { DigestMemory } from './digest-ledger.ts';
import { SourceProcess } from './source-process.ts';

/** Pages that the destination is to drop. */
export interface GonePages {
  readonly pid: number;
  readonly pages: PageRangeList;
}

/** The processes of a target during its migration. */
export class TargetScan {
  readonly #target: Target;
  readonly #tracker: Tracker;
  readonly #memory: DigestMemory;
  #processes = new Map<number, SourceProcess>();
  /** Short stops so far, and how long the target stood still for them. */
  readonly stops = { count: 0, microseconds: 0, longest: 0 };

  constructor(target: Target, tracker: Tracker, memory: DigestMemory) {
    this.#target = target;
    this.#tracker = tracker;
    this.#memory = memory;
  }

  /** Root first. */
  get processes(): readonly SourceProcess[] {
    return [...this.#processes.values()];
  }

  get pendingPages(): number {
    return this.processes.reduce((sum, { pending }) => sum + pending.pageCount, 0);
  }

  /** Pages that are expected to be sent of those that are pending. */
  get expectedPages(): number {
    return this.processes.reduce((sum, { expectedPages }) => sum + expectedPages, 0);
  }

  get writtenPages(): number {
    return this.processes.reduce((sum, { written }) => sum + written.pageCount, 0);
  }

  /** Stops the target for a moment and does something. @returns what that gave */
  async whileStopped<Result>(look: () => Result): Promise<Result> {
    const target = this.#target;
    await target.prepareFreeze?.();
    const freezing = machineClock();
    try {
      await target.freeze();
      const result = look();
      target.verifyStoodStill?.();
      return result;
    } finally {
      target.thaw();
      const elapsed = target.identity.kind === 'live' ? Math.round(machineClock() - freezing) : 0;
      this.stops.count++;
      this.stops.microseconds += elapsed;
      this.stops.longest = Math.max(this.stops.longest, elapsed);
    }
  }

  /**
   * Looks what was written; the target stands still.
   * @param arm whether the target goes on afterwards and is to be followed
   */
  look(arm: boolean): GonePages[] {
    const gone: GonePages[] = [];
    const now = new Map<number, SourceProcess>();
    for (const view of this.#target.processes()) {
      const process = this.#processOf(view);
      const before = this.#processes.get(view.pid);
      if (before !== undefined && before !== process) gone.push({ pid: view.pid, pages: before.forgetAll() });
      process.view = view;
      const pages = process.scan(arm);
      if (pages.pageCount > 0) gone.push({ pid: view.pid, pages });
      now.set(view.pid, process);
    }
    for (const [pid, process] of this.#processes) {
      if (!now.has(pid)) gone.push({ pid, pages: process.forgetAll() });
    }
    this.#processes = now;
    return gone.filter(({ pages }) => pages.pageCount > 0);
  }

  /** The same process as before, or one that has taken its number or its program. */
  #processOf(view: ProcessView): SourceProcess {
    const known = this.#processes.get(view.pid);
    if (known !== undefined && known.view.fingerprint === view.fingerprint) return known;
    return new SourceProcess(view, this.#tracker, this.#memory);
  }
}

/** Whether something failed because a process other than the root ended: the next look does not find it. */
export function hasEndedMeanwhile(process: SourceProcess, error: unknown): boolean {
  return process.view.parentPid !== 0 && error instanceof TargetError && error.data['gone'] === true;
}
