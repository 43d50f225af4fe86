import type { MonotonicClock } from '../core/index.ts';

/** Adds up how long named parts of some work take, in microseconds. */
export class Stopwatch {
  readonly #clock: MonotonicClock;
  readonly #beginning: number;
  readonly #sums = new Map<string, number>();
  readonly #started = new Map<string, number>();

  constructor(clock: MonotonicClock) {
    this.#clock = clock;
    this.#beginning = clock();
  }

  start(part: string): void {
    this.#started.set(part, this.#clock());
  }

  /** Ends what `start` began; nothing if it did not. */
  stop(part: string): void {
    const started = this.#started.get(part);
    if (started === undefined) return;
    this.#started.delete(part);
    this.#sums.set(part, (this.#sums.get(part) ?? 0) + this.#clock() - started);
  }

  /** What a part took so far, whole microseconds. */
  microseconds(part: string): number {
    return Math.round(this.#sums.get(part) ?? 0);
  }

  /** Since the stopwatch was made. */
  totalMicroseconds(): number {
    return Math.round(this.#clock() - this.#beginning);
  }
}
