import { formatBytes, UsageError } from '../../core/index.ts';

/** Most bytes of a trace unless told otherwise. */
export const DEFAULT_MAX_TRACE_BYTES = 100_000_000;
/** Without a duration a recording is planned to last so long, and twice what it has lasted from then on. */
const PLANNED_MICROSECONDS = 600_000_000;
/** Share of the limit that is not planned with. */
const MARGIN = 0.02;
/**
 * Bytes that one scan may take for each page that exists, with room to spare: every other page written at random takes
 * 0.17.
 */
const WORST_BYTES_PER_PAGE = 0.2;
/** Weight of the newest scan in what one is expected to take. */
const NEWEST_SHARE = 0.5;

export interface SizeBudgetOptions {
  readonly maxBytes: number;
  readonly intervalMicroseconds: number;
  readonly durationMicroseconds: number | undefined;
}

/**
 * Keeps a trace below its limit, whatever is written: where what is left of it would not last to the end, the next
 * interval becomes a multiple of the one asked for, and shorter again when less is written. A scan names each page once
 * however long the interval was, so that longer ones take less; no written page is lost, only told of later.
 */
export class SizeBudget {
  readonly #options: SizeBudgetOptions;
  #multiple = 1;
  #lastBytes = 0;
  #expectedBytes = 0;

  constructor(options: SizeBudgetOptions) {
    this.#options = options;
  }

  /**
   * Notes the size after the first scan.
   * @throws UsageError if there is no room for another one
   */
  begin(traceBytes: number, residentPages: number): void {
    this.#lastBytes = traceBytes;
    if (this.#room(traceBytes, residentPages) > 0) return;
    const { maxBytes } = this.#options;
    const least = (traceBytes + reserveOf(residentPages)) / (1 - MARGIN);
    throw new UsageError(
      `a trace of ${formatBytes(maxBytes)} has no room for what the target writes: it may take ${formatBytes(least)}`,
      { hint: 'allow a larger one with --max-size' },
    );
  }

  /** The time until the next scan, after one at `atMicroseconds`, where the trace has got `traceBytes`. */
  next(traceBytes: number, atMicroseconds: number, residentPages: number): number {
    const { intervalMicroseconds, durationMicroseconds } = this.#options;
    const took = Math.max(0, traceBytes - this.#lastBytes);
    this.#lastBytes = traceBytes;
    this.#expectedBytes += (took - this.#expectedBytes) * NEWEST_SHARE;
    const planned = durationMicroseconds ?? Math.max(PLANNED_MICROSECONDS, atMicroseconds * 2);
    const left = Math.max(0, planned - atMicroseconds);
    const room = this.#room(traceBytes, residentPages);
    // Nothing is left but the reserve, which is for one scan at the end.
    if (room <= 0) return Math.max(left, intervalMicroseconds);
    const scans = Math.max(1, left / (intervalMicroseconds * this.#multiple));
    const need = (Math.max(took, this.#expectedBytes) * scans) / room;
    if (need > 1) this.#multiple = Math.ceil(this.#multiple * Math.min(need, 2));
    else if (this.#multiple > 1) {
      // What one takes hardly falls when intervals get shorter: a little room must stay.
      this.#multiple = Math.max(1, Math.floor(this.#multiple * Math.min(1, Math.max(0.5, need * 1.2))));
    }
    return intervalMicroseconds * this.#multiple;
  }

  #room(traceBytes: number, residentPages: number): number {
    return this.#options.maxBytes * (1 - MARGIN) - traceBytes - reserveOf(residentPages);
  }
}

/** For the scan that finds out that there is no room left, and the one at the end. */
const reserveOf = (residentPages: number) => 2 * WORST_BYTES_PER_PAGE * residentPages + 65_536;
