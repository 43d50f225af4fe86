import { attempt, writeWholeFile } from '../../checkpoint/index.ts';
import { UsageError } from '../../core/index.ts';
import type { TraceEnd, TraceHeader, TraceStep } from './format.ts';
import { type ObservationRequest, openObserved } from './observed.ts';
import type { RecorderOptions } from './recorder.ts';
import { DEFAULT_MAX_TRACE_BYTES, SizeBudget } from './size-budget.ts';
import { TraceWriter } from './writer.ts';

/** One `ckpt record`. */
export interface RecordRequest extends ObservationRequest, Omit<RecorderOptions, 'nextMicroseconds'> {
  /** Must not exist. */
  readonly outputFile: string;
  /**
   * Most bytes of the trace, 100,000,000 unless told otherwise: where a scan in each interval would take more, there are
   * fewer scans. A trace of an unplanned duration is kept as small as if it lasted ten minutes, or twice as long as so far.
   */
  readonly maxBytes?: number;
  /** Told about each step. */
  readonly onStep?: (step: TraceStep) => void;
}

/** What was recorded. */
export interface RecordResult extends TraceHeader {
  readonly file: string;
  readonly fileBytes: number;
  readonly trackerReason: string;
  readonly end: TraceEnd;
  readonly intervals: number;
  /** Of them, those that were made longer to keep the trace below its limit. */
  readonly stretchedIntervals: number;
  readonly longestIntervalMicroseconds: number;
  /** From the first scan to the last, on the target's clock. */
  readonly microseconds: number;
  readonly residentPages: number;
  readonly zeroPages: number;
  /** Pages written, summed over all intervals. */
  readonly writtenPages: number;
  readonly samples: number;
  /** How long the target stood still for one scan, the first left out. Zero for a simulated target. */
  readonly frozenMicroseconds: { readonly mean: number; readonly longest: number; readonly first: number };
}

/**
 * Records which pages of a target are written in which interval. The file appears complete, or not at all, and is for
 * its owner alone. A target that ends, or a signal, ends a recording that has begun, and the trace is kept.
 * @throws UsageError, WorkloadError, TargetError, UnsupportedError, OutputError, and the reason of a signal that came
 *   before the first scan was done.
 */
export async function recordTrace(request: RecordRequest): Promise<RecordResult> {
  const { outputFile, intervalMicroseconds, durationMicroseconds } = request;
  if (intervalMicroseconds < 1 || (durationMicroseconds ?? 1) < 1) {
    throw new UsageError('a recording needs an interval and a duration above zero');
  }
  return writeWholeFile(outputFile, async (file) => {
    const observed = await openObserved(request);
    try {
      const header = observed.header(intervalMicroseconds);
      const writer = await TraceWriter.begin(header, async (bytes) => {
        await attempt(outputFile, () => file.appendFile(bytes));
      });
      const { maxBytes = DEFAULT_MAX_TRACE_BYTES, durationMicroseconds } = request;
      const budget = new SizeBudget({ maxBytes, intervalMicroseconds, durationMicroseconds });
      const tally = new Tally();
      let wait = intervalMicroseconds;
      const nextMicroseconds = (residentPages: number) => {
        if (tally.intervals === 0) budget.begin(writer.expectedBytes, residentPages);
        else wait = budget.next(writer.expectedBytes, tally.microseconds, residentPages);
        return wait;
      };
      const steps = observed.steps({ ...request, nextMicroseconds });
      for (;;) {
        const next = await steps.next();
        if (next.done === true) {
          await writer.seal(next.value);
          const { trackerReason } = observed;
          const fileBytes = writer.writtenBytes;
          return {
            ...header,
            file: outputFile,
            fileBytes,
            trackerReason,
            end: next.value,
            ...tally.result(),
          };
        }
        tally.add(next.value, wait > intervalMicroseconds);
        await writer.step(next.value);
        request.onStep?.(next.value);
      }
    } finally {
      await observed.close();
    }
  });
}

/** Sums up steps. */
class Tally {
  #steps = 0;
  #microseconds = 0;
  #residentPages = 0;
  #zeroPages = 0;
  #writtenPages = 0;
  #samples = 0;
  #firstFrozen = 0;
  #frozen = 0;
  #longest = 0;
  #stretched = 0;
  #longestInterval = 0;

  get intervals(): number {
    return this.#steps - 1;
  }

  /** Since the first step. */
  get microseconds(): number {
    return this.#microseconds;
  }

  add(step: TraceStep, isStretched: boolean): void {
    const { atMicroseconds, frozenMicroseconds, processes } = step;
    const isFirst = this.#steps++ === 0;
    if (!isFirst && isStretched) this.#stretched++;
    this.#longestInterval = Math.max(this.#longestInterval, atMicroseconds - this.#microseconds);
    this.#microseconds = atMicroseconds;
    for (const { resident, zero, written, samples } of processes) {
      this.#samples += samples.length;
      this.#writtenPages += written.pageCount;
      if (!isFirst) continue;
      this.#residentPages += resident.pageCount;
      this.#zeroPages += zero.pageCount;
    }
    if (isFirst) {
      this.#firstFrozen = frozenMicroseconds;
      return;
    }
    this.#frozen += frozenMicroseconds;
    this.#longest = Math.max(this.#longest, frozenMicroseconds);
  }

  result() {
    const intervals = this.#steps - 1;
    return {
      intervals,
      stretchedIntervals: this.#stretched,
      longestIntervalMicroseconds: this.#longestInterval,
      microseconds: this.#microseconds,
      residentPages: this.#residentPages,
      zeroPages: this.#zeroPages,
      writtenPages: this.#writtenPages,
      samples: this.#samples,
      frozenMicroseconds: {
        mean: intervals === 0 ? 0 : Math.round(this.#frozen / intervals),
        longest: this.#longest,
        first: this.#firstFrozen,
      },
    };
  }
}
