import { type BlockCodec, openBlockCodec } from '../../codec/index.ts';
import { machineClock, TargetError } from '../../core/index.ts';
import type { ProcessView, Target } from '../../target/index.ts';
import type { Tracker } from '../../tracker/index.ts';
import type { TraceEnd, TraceProcess, TraceProcessStep, TraceStep } from './format.ts';
import { isTracked, removeTracking } from './tracking.ts';
import { WatchedProcess } from './watched-process.ts';

export interface RecorderOptions {
  readonly intervalMicroseconds: number;
  /** Asked after each step for the time until the next scan, where that is not always the same. */
  readonly nextMicroseconds?: (residentPages: number) => number;
  /** Without it, until the signal aborts or the target ends. */
  readonly durationMicroseconds?: number;
  /** Ends the recording; one that had not begun fails with the signal's reason. */
  readonly signal?: AbortSignal;
}

/**
 * Scans a target again and again, until the duration is over, the signal aborts, or the target ends, which is what it
 * returns; the target is left running. While the caller takes a step, the target runs and nothing is scanned.
 * @throws TargetError if the target could not be scanned even once, or for another reason than its end; the signal's
 *   reason if it came before the first scan was done
 */
export async function* recordSteps(
  target: Target,
  tracker: Tracker,
  options: RecorderOptions,
): AsyncGenerator<TraceStep, TraceEnd> {
  const recorder = new Recorder(target, tracker, await openBlockCodec());
  try {
    yield await recorder.step(options.signal);
    return yield* intervals(recorder, options);
  } finally {
    target.thaw();
    await recorder.leave();
  }
}

/** What follows the first step. */
async function* intervals(recorder: Recorder, options: RecorderOptions): AsyncGenerator<TraceStep, TraceEnd> {
  const { signal } = options;
  try {
    yield* recorder.intervals(options);
    return 'duration';
  } catch (error) {
    // A signal lets the target go at once, at which a scan under way fails.
    if (signal?.aborted === true && (error === signal.reason || error instanceof TargetError))
      return 'interrupted';
    if (error instanceof TargetError && isGone(error)) return 'target-ended';
    throw error;
  }
}

/** What is known of a target between its scans. */
class Recorder {
  readonly #target: Target;
  readonly #tracker: Tracker;
  readonly #codec: BlockCodec;
  #watched = new Map<number, WatchedProcess>();
  #beganMicroseconds = 0;
  #mayRemoveTracking = false;

  constructor(target: Target, tracker: Tracker, codec: BlockCodec) {
    this.#target = target;
    this.#tracker = tracker;
    this.#codec = codec;
  }

  /** The scans behind the first, until the duration is over. */
  async *intervals(options: RecorderOptions): AsyncGenerator<TraceStep, void> {
    const { durationMicroseconds = Number.POSITIVE_INFINITY, signal } = options;
    const end = this.#beganMicroseconds + durationMicroseconds;
    let due = this.#beganMicroseconds;
    while (due < end) {
      const now = this.#target.nowMicroseconds();
      const intervalMicroseconds =
        options.nextMicroseconds?.(this.#residentPages()) ?? options.intervalMicroseconds;
      // A scan that took longer than the interval is not made up for: the target has to run in between.
      const planned = due + intervalMicroseconds;
      const next = planned > now ? planned : now + intervalMicroseconds;
      // The last one is rather longer than a stub behind it.
      due = next + intervalMicroseconds / 2 > end ? end : next;
      await this.#target.run(Math.max(1, due - now), signal);
      yield await this.step(signal);
    }
  }

  /** One scan: the target stands still for what must be one instant, and runs while the rest is found out. */
  async step(signal: AbortSignal | undefined): Promise<TraceStep> {
    const target = this.#target;
    await target.prepareFreeze?.();
    signal?.throwIfAborted();
    const isFirst = this.#watched.size === 0;
    const started: TraceProcess[] = [];
    const ended = new Set(this.#watched.keys());
    const freezing = machineClock();
    try {
      await target.freeze();
      if (isFirst) this.#mayRemoveTracking = !target.processes().some(isTracked);
      const watched = new Map<number, WatchedProcess>();
      for (const view of target.processes()) {
        const process = this.#watchedOf(view);
        if (process === undefined)
          started.push({ pid: view.pid, parentPid: view.parentPid, name: view.name });
        else ended.delete(view.pid);
        const current = process ?? new WatchedProcess(view, this.#tracker, this.#codec);
        current.view = view;
        current.scan();
        watched.set(view.pid, current);
      }
      this.#watched = watched;
      target.verifyStoodStill?.();
    } finally {
      target.thaw();
    }
    const frozenMicroseconds = target.identity.kind === 'live' ? Math.round(machineClock() - freezing) : 0;
    if (isFirst) this.#beganMicroseconds = target.nowMicroseconds();
    const atMicroseconds = Math.round(target.nowMicroseconds() - this.#beganMicroseconds);
    const processes = await this.#look(isFirst ? signal : undefined);
    return { atMicroseconds, frozenMicroseconds, started, ended: [...ended], processes };
  }

  /** Takes out of the target what the tracker has put there, unless it was there before. */
  async leave(): Promise<void> {
    if (this.#mayRemoveTracking && this.#tracker.kind === 'pagemap-scan') await removeTracking(this.#target);
  }

  #residentPages(): number {
    let pages = 0;
    for (const process of this.#watched.values()) pages += process.residentPages;
    return pages;
  }

  async #look(signal: AbortSignal | undefined): Promise<TraceProcessStep[]> {
    const steps: TraceProcessStep[] = [];
    for (const process of this.#watched.values()) {
      try {
        steps.push(await process.look(this.#watched.size, signal));
      } catch (error) {
        // What ended after the scan is missing in the next one; without its root there is no next one.
        if (process.view.parentPid === 0 || !(error instanceof TargetError && isGone(error))) throw error;
      }
    }
    return steps;
  }

  /** The process as it was watched before; undefined if it is new, or has executed another program since. */
  #watchedOf(view: ProcessView): WatchedProcess | undefined {
    const watched = this.#watched.get(view.pid);
    return watched?.view.fingerprint === view.fingerprint ? watched : undefined;
  }
}

const isGone = (error: TargetError) => error.data['gone'] === true;
