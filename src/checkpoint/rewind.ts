import type { CodecPool } from '../codec/index.ts';
import { machineClock, TargetError, UnsupportedError } from '../core/index.ts';
import type { CheckpointReader, Store } from '../store/index.ts';
import {
  decodeLiveState,
  identityDifference,
  type LiveState,
  type LiveTarget,
  openLiveTarget,
  type ProcessRewriter,
  RewindNotes,
  type RewriteGoal,
  type RewriteObstacle,
  TargetRewriter,
} from '../target/index.ts';
import { chooseTracker, TRACKER_KINDS, type Tracker } from '../tracker/index.ts';
import { openNamed, readStore, requireOwnDump, requireRestorable } from './read-store.ts';
import { MemoryExchange } from './rewind-memory.ts';
import type { RewindRequest, RewindResult } from './rewind-types.ts';
import { ScratchFile } from './scratch-file.ts';
import { Stopwatch } from './stopwatch.ts';

/** Pages to be written, and pages kept for the way back, that stay in memory; the rest goes to a scratch file. */
const SPOOL_BYTES = 64 * 1024 * 1024;

/**
 * Makes a live process and its descendants what they were at an earlier checkpoint of themselves: memory, mappings,
 * registers, positions of open files, signals, timers. What stands against it is found before anything is changed. A
 * failure half-way is undone; where even that fails, the target stays stopped, as it does should ckpt be killed then.
 * @throws TargetError, UnsupportedError, CheckpointNotFoundError, IntegrityError, InterruptedError.
 */
export async function rewindInPlace(request: RewindRequest): Promise<RewindResult> {
  return readStore(
    request.storeDirectory,
    async (store, pool) => {
      const reader = await openNamed(store, request.checkpoint);
      requireOwnDump(reader);
      requireRestorable(reader);
      const goal = await readGoal(reader);
      const started = pool.start();
      // It is awaited below; should the target be refused before that, nobody asks any more.
      started.catch(() => undefined);
      const target = await openLiveTarget(request.pid, {
        freezer: 'halt',
        ...(request.single === undefined ? {} : { single: request.single }),
      });
      const rewind = new Rewind(request, reader, goal, target, store, pool);
      try {
        await started;
        return await rewind.run();
      } finally {
        await rewind.close();
      }
    },
    request.workers,
  );
}

/** What a checkpoint wants the target to be. */
async function readGoal(reader: CheckpointReader): Promise<RewriteGoal> {
  const { number, processes, state, target } = reader.manifest;
  const bytes = await reader.state();
  if (state === null || bytes === undefined || target.kind !== 'live') {
    throw new TargetError(`checkpoint ${number} is of ${target.name}, which is no live process`, {
      hint: 'a simulated process goes on from a checkpoint by --run DURATION',
      data: { checkpoint: number },
    });
  }
  return {
    state: decodeLiveState(bytes, `the state of checkpoint ${number}`),
    mappings: new Map(processes.map(({ pid, vmas }) => [pid, vmas])),
  };
}

class Rewind {
  readonly #request: RewindRequest;
  readonly #reader: CheckpointReader;
  readonly #goal: RewriteGoal;
  readonly #target: LiveTarget;
  readonly #store: Store;
  readonly #scratch: ScratchFile;
  readonly #memory: MemoryExchange;
  readonly #watch = new Stopwatch(machineClock);
  #notes = new RewindNotes([]);
  /** Whether somebody else has stopped the target, which then stays so. */
  #wasStopped = false;
  #tracker: Tracker | undefined;
  #rewriter: TargetRewriter | undefined;
  #withdraw: (() => void) | undefined;
  #staysStopped = false;

  constructor(
    request: RewindRequest,
    reader: CheckpointReader,
    goal: RewriteGoal,
    target: LiveTarget,
    store: Store,
    pool: CodecPool,
  ) {
    this.#request = request;
    this.#reader = reader;
    this.#goal = goal;
    this.#target = target;
    this.#store = store;
    this.#scratch = new ScratchFile(store.scratchDirectory);
    this.#memory = new MemoryExchange(reader, pool, this.#scratch, SPOOL_BYTES);
  }

  async run(): Promise<RewindResult> {
    this.#requireSameTarget();
    await this.#freeze();
    const rewriter = new TargetRewriter(this.#target, this.#presentState(), this.#goal);
    this.#rewriter = rewriter;
    const { isHalfWay, earlier } = this.#notes;
    if (isHalfWay) this.#request.onNote?.(`an earlier rewind to ${earlier?.goal} was interrupted`);
    const { obstacles } = rewriter;
    const isHopeless = obstacles.some(({ otherwise }) => otherwise === null);
    // What an interrupted rewind leaves (descriptors of ours among them) is no reason not to finish it.
    const isForced = this.#request.force === true || isHalfWay;
    const isRefused = obstacles.length > 0 && (!isForced || isHopeless);
    if (isRefused && this.#request.dryRun !== true) return this.#finished(rewriter, 'refused');
    await this.#compare(rewriter);
    if (this.#request.dryRun === true) return this.#finished(rewriter, 'planned');
    await this.#memory.fetch((pageCount) => this.#count('fetching', pageCount));
    await this.#commit(rewriter);
    this.#rewrite(rewriter);
    return this.#finished(rewriter, 'rewound');
  }

  async close(): Promise<void> {
    this.#withdraw?.();
    this.#rewriter?.close();
    this.#scratch.close();
    await this.#target.close({ leaveStopped: this.#staysStopped });
    this.#notes.close();
  }

  /** @throws TargetError if the target is another one than that of the checkpoint */
  #requireSameTarget(): void {
    const { target, number } = this.#reader.manifest;
    const why = identityDifference(target, this.#target.identity);
    if (why === undefined) return;
    throw new TargetError(`${this.#target.identity.name} cannot be rewound to checkpoint ${number}: ${why}`, {
      hint: "'ckpt restore --new' makes a new process from a checkpoint",
      data: { checkpoint: number, storedTarget: target.name, target: this.#target.identity.name },
    });
  }

  async #freeze(): Promise<void> {
    const { signal, onStop, onProgress } = this.#request;
    signal?.throwIfAborted();
    onProgress?.({ phase: 'stopping', donePages: 0, totalPages: 0, doneBytes: 0 });
    const newest = await this.#findArmed();
    for (const { pid } of this.#goal.state.processes) await this.#memory.prepare(pid, newest);
    this.#withdraw = onStop?.(() => this.#target.thaw());
    await this.#target.prepareFreeze();
    this.#wasStopped = this.#target.processes()[0]?.member.stat.state === 'T';
    this.#watch.start('freeze');
    await this.#target.freeze();
  }

  /**
   * Whether a tracker has watched the target since the newest checkpoint of the store: then most pages need not be read.
   * @returns that checkpoint
   */
  async #findArmed(): Promise<CheckpointReader | undefined> {
    const newest = await this.#store.newest();
    if (newest === undefined || identityDifference(newest.target, this.#target.identity) !== undefined) {
      return undefined;
    }
    const kind = TRACKER_KINDS.find((one) => one === newest.tracker);
    if (kind === undefined || kind === 'compare') return undefined;
    try {
      this.#tracker = chooseTracker(this.#target, kind).tracker;
    } catch (error) {
      if (error instanceof UnsupportedError) return undefined;
      throw error;
    }
    return this.#store.openCheckpoint(newest.number);
  }

  #presentState(): LiveState {
    const { bytes } = this.#target.captureState();
    const state = decodeLiveState(bytes, 'the present state');
    for (const { pid } of state.processes) this.#target.hold?.settle(pid);
    this.#notes = new RewindNotes(state.processes);
    return state;
  }

  async #compare(rewriter: TargetRewriter): Promise<void> {
    const views = new Map(this.#target.processes().map((view) => [view.pid, view]));
    for (const process of rewriter.processes) {
      const isArmed = this.#tracker?.kind === 'soft-dirty' || rewriter.isTracked(process.pid);
      const tracker = isArmed ? this.#tracker : undefined;
      await this.#memory.compare(process, views.get(process.pid)!, tracker, (pageCount) =>
        this.#count('comparing', pageCount),
      );
    }
  }

  #donePages = new Map<string, number>();

  #count(phase: string, pageCount: number): void {
    this.#request.signal?.throwIfAborted();
    const donePages = (this.#donePages.get(phase) ?? 0) + pageCount;
    this.#donePages.set(phase, donePages);
    this.#request.onProgress?.({ phase, donePages, totalPages: 0, doneBytes: 0 });
  }

  /** From here on the target stays stopped should ckpt die. */
  async #commit(rewriter: TargetRewriter): Promise<void> {
    this.#withdraw?.();
    this.#withdraw = undefined;
    try {
      this.#request.signal?.throwIfAborted();
      this.#target.verifyStoodStill();
      rewriter.begin();
      this.#notes.noteStopped();
      await this.#target.keepStopped();
      this.#request.signal?.throwIfAborted();
    } catch (error) {
      rewriter.retreat();
      throw error;
    }
    const { number } = this.#reader.manifest;
    this.#notes.noteChanging(`checkpoint ${number} of ${this.#request.storeDirectory}`);
  }

  /** Everything from the first change to the last, in one turn of the event loop. */
  #rewrite(rewriter: TargetRewriter): void {
    this.#staysStopped = true;
    try {
      for (const process of rewriter.processes) process.remap();
      this.#memory.exchange();
      rewriter.applyState();
    } catch (error) {
      this.#undo(rewriter, error);
    }
    try {
      rewriter.finish();
    } catch (error) {
      throw this.#stuck(`the rewind of ${this.#target.identity.name} failed in its last step`, error);
    }
    this.#notes.noteWhole();
    this.#staysStopped = this.#request.leaveStopped === true;
  }

  /** For a target that stays stopped. */
  #stuck(what: string, cause: unknown): TargetError {
    return new TargetError(`${what}: ${messageOf(cause)}`, {
      hint: 'it stays stopped and must not be continued as it is: try the same rewind again, or end it with kill -9',
      data: { pid: this.#request.pid, leftStopped: true },
      cause,
    });
  }

  /** @throws TargetError in any case: with everything undone, or with the target left stopped */
  #undo(rewriter: TargetRewriter, cause: unknown): never {
    const { name } = this.#target.identity;
    const why = messageOf(cause);
    try {
      rewriter.undoMappings();
      this.#memory.exchangeBack();
      rewriter.undoState();
    } catch (second) {
      throw this.#stuck(`the rewind of ${name} failed half-way (${why}), and could not be undone`, second);
    }
    if (!this.#notes.isHalfWay) this.#notes.noteWhole();
    this.#staysStopped = false;
    throw new TargetError(`the rewind of ${name} failed and was undone: ${why}`, {
      hint: 'the process goes on as before the attempt',
      data: { pid: this.#request.pid },
      cause,
    });
  }

  /** What an interrupted rewind has left stopped goes on when it is whole again. */
  #letGo(outcome: RewindResult['outcome']): void {
    this.#target.thaw();
    if (outcome !== 'rewound' || this.#notes.earlier === undefined) return;
    for (const { pid } of [...(this.#rewriter?.processes ?? [])].reverse()) continueProcess(pid);
    this.#wasStopped = false;
  }

  #finished(rewriter: TargetRewriter, outcome: RewindResult['outcome']): RewindResult {
    if (!this.#staysStopped) this.#letGo(outcome);
    this.#watch.stop('freeze');
    const { plans } = this.#memory;
    const sum = (count: (plan: (typeof plans)[number]) => number) =>
      plans.reduce((total, plan) => total + count(plan), 0);
    return {
      checkpoint: this.#reader.manifest.number,
      pid: this.#request.pid,
      outcome,
      processes: rewriter.processes.length,
      obstacles: rewriter.obstacles,
      mappings: countMappings(rewriter.processes),
      pages: {
        compared: sum(({ comparedPages }) => comparedPages),
        written: sum(({ differing }) => differing.pageCount),
        discarded: sum(({ superfluous }) => superfluous.pageCount),
      },
      threadsEnded: rewriter.processes.reduce((total, { newThreads }) => total + newThreads.length, 0),
      leftStopped: this.#staysStopped || this.#wasStopped,
      microseconds: { freeze: this.#watch.microseconds('freeze'), total: this.#watch.totalMicroseconds() },
    };
  }
}

/** One that has ended meanwhile needs no signal. */
function continueProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGCONT');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function countMappings(processes: readonly ProcessRewriter[]): RewindResult['mappings'] {
  const kinds = processes.flatMap(({ plan }) => plan.operations.map(({ kind }) => kind));
  const unmapped = kinds.filter((kind) => kind === 'unmap').length;
  const mapped = kinds.filter((kind) => kind === 'map' || kind === 'grow' || kind === 'move').length;
  return { unmapped, mapped, adjusted: kinds.length - unmapped - mapped };
}

/** One obstacle as a line for people. */
export function describeObstacle({ pid, problem, otherwise }: RewriteObstacle, force: boolean): string {
  const outlook =
    otherwise === null ? 'nothing can be done then' : force ? otherwise : `with --force ${otherwise}`;
  return `process ${pid}: ${problem} (${outlook})`;
}
