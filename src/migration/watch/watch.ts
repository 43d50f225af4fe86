import { PAGE_SIZE, type PageRangeList, UsageError } from '../../core/index.ts';
import { PageSet } from '../page-set.ts';
import type { TraceEnd, TraceHeader, TraceStep } from '../trace/format.ts';
import { type ObservationRequest, openObserved } from '../trace/observed.ts';
import type { RecorderOptions } from '../trace/recorder.ts';
import { type WorkingSetWindow, WorkingSetWindows } from '../working-set.ts';
import { ContentTally, type WatchedContent } from './content-tally.ts';
import type { WatchedMapping } from './mapping-tally.ts';
import { WatchedMemory } from './watched-memory.ts';

/** One `ckpt watch`. */
export interface WatchRequest extends ObservationRequest, RecorderOptions {
  /** Told of the state in which the watch begins, before the first sample. */
  readonly onStart?: (start: WatchStart) => void;
}

/** The target as it was found. */
export interface WatchStart extends TraceHeader {
  readonly trackerReason: string;
  readonly processes: number;
  readonly residentPages: number;
  readonly zeroPages: number;
  /** How long the target stood still for the first scan. */
  readonly frozenMicroseconds: number;
}

/** What one interval told. */
export interface WatchSample {
  /** Number of the interval, from 1. */
  readonly interval: number;
  /** Its end, since the first scan, on the target's clock. */
  readonly atMicroseconds: number;
  /** Its length, which is longer than was asked for if the scan took longer. */
  readonly lengthMicroseconds: number;
  /** How long the target stood still for the scan at its end. Zero for a simulated target. */
  readonly frozenMicroseconds: number;
  readonly processes: number;
  /** Pages that exist, in all processes. */
  readonly residentPages: number;
  /** Pages that were written. */
  readonly dirtyPages: number;
  readonly dirtyBytes: number;
  readonly dirtyBytesPerSecond: number;
  /** Pages that exist no more. */
  readonly gonePages: number;
  /** Measured pages of this interval, and of all. */
  readonly content: WatchedContent;
  readonly totalContent: WatchedContent;
  /** Distinct pages in windows of growing length: the curve of the writable working set. */
  readonly workingSet: readonly WorkingSetWindow[];
  /** Mappings with writes, busiest first. */
  readonly mappings: readonly WatchedMapping[];
  /** Over all intervals so far. */
  readonly total: {
    readonly dirtyPages: number;
    /** Different pages. */
    readonly distinctPages: number;
    readonly dirtyBytesPerSecond: number;
    readonly meanFrozenMicroseconds: number;
    readonly longestFrozenMicroseconds: number;
  };
}

/** Mappings of one sample. */
const MOST_MAPPINGS = 40;

/**
 * Watches what a target writes, interval by interval, until the duration is over, the signal aborts or the target ends,
 * and returns which of them it was. The target stands still only while it is scanned, and is left running. An interval
 * lasts at least until the next sample is asked for.
 * @throws UsageError, WorkloadError, TargetError, UnsupportedError, and the reason of a signal that came before the
 *   first scan was done
 */
export async function* watchTarget(request: WatchRequest): AsyncGenerator<WatchSample, TraceEnd> {
  if (request.intervalMicroseconds < 1 || (request.durationMicroseconds ?? 1) < 1) {
    throw new UsageError('a watch needs an interval and a duration above zero');
  }
  const observed = await openObserved(request);
  try {
    const watch = new Watch();
    const steps = observed.steps(request);
    for (;;) {
      const next = await steps.next();
      if (next.done === true) return next.value;
      const sample = watch.take(next.value);
      if (sample !== undefined) yield sample;
      else {
        const { trackerReason } = observed;
        const header = observed.header(request.intervalMicroseconds);
        request.onStart?.({ ...header, trackerReason, ...watch.start(next.value) });
      }
    }
  } finally {
    await observed.close();
  }
}

/** Turns the steps of a recording into samples. */
class Watch {
  readonly #memory = new WatchedMemory();
  readonly #windows = new WorkingSetWindows();
  readonly #distinct = new PageSet();
  readonly #totalContent = new ContentTally();
  #steps = 0;
  #lastMicroseconds = 0;
  #dirtyPages = 0;
  #frozenMicroseconds = 0;
  #longestFrozenMicroseconds = 0;

  /** @returns undefined for the first step, which ends no interval */
  take(step: TraceStep): WatchSample | undefined {
    this.#memory.take(step);
    const interval = this.#steps++;
    if (interval === 0) return undefined;
    const { atMicroseconds, frozenMicroseconds, processes } = step;
    const lengthMicroseconds = atMicroseconds - this.#lastMicroseconds;
    this.#lastMicroseconds = atMicroseconds;
    const written = processes.map(({ pid, written }): [number, PageRangeList] => [pid, written]);
    this.#windows.add(lengthMicroseconds, written);
    for (const [pid, pages] of written) this.#distinct.addAll(pid, pages);
    const content = new ContentTally();
    for (const sample of samplesOfWritten(step)) {
      content.take(sample);
      this.#totalContent.take(sample);
    }
    const dirtyPages = written.reduce((sum, [, pages]) => sum + pages.pageCount, 0);
    this.#dirtyPages += dirtyPages;
    this.#frozenMicroseconds += frozenMicroseconds;
    this.#longestFrozenMicroseconds = Math.max(this.#longestFrozenMicroseconds, frozenMicroseconds);
    return {
      interval,
      atMicroseconds,
      lengthMicroseconds,
      frozenMicroseconds,
      processes: this.#memory.processCount,
      residentPages: this.#memory.residentPages,
      dirtyPages,
      dirtyBytes: dirtyPages * PAGE_SIZE,
      dirtyBytesPerSecond: bytesPerSecond(dirtyPages, lengthMicroseconds),
      gonePages: processes.reduce((sum, { gone }) => sum + gone.pageCount, 0),
      content: content.summary(),
      totalContent: this.#totalContent.summary(),
      workingSet: this.#windows.windows(),
      mappings: this.#memory.busiest(MOST_MAPPINGS),
      total: {
        dirtyPages: this.#dirtyPages,
        distinctPages: this.#distinct.count,
        dirtyBytesPerSecond: bytesPerSecond(this.#dirtyPages, atMicroseconds),
        meanFrozenMicroseconds: Math.round(this.#frozenMicroseconds / interval),
        longestFrozenMicroseconds: this.#longestFrozenMicroseconds,
      },
    };
  }

  /** What the first step told. */
  start({ frozenMicroseconds, processes }: TraceStep) {
    return {
      processes: this.#memory.processCount,
      residentPages: this.#memory.residentPages,
      zeroPages: processes.reduce((sum, { zero }) => sum + zero.pageCount, 0),
      frozenMicroseconds,
    };
  }
}

/** Without those of processes that were first seen in this step. */
function samplesOfWritten({ processes, started }: TraceStep) {
  const fresh = new Set(started.map(({ pid }) => pid));
  return processes.filter(({ pid }) => !fresh.has(pid)).flatMap(({ samples }) => samples);
}

const bytesPerSecond = (pages: number, microseconds: number) =>
  Math.round((pages * PAGE_SIZE * 1_000_000) / Math.max(1, microseconds));
