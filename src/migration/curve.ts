import { thinned } from '../core/index.ts';

/** How much was left to send at an instant. */
export interface CurvePoint {
  readonly atMicroseconds: number;
  readonly remainingBytes: number;
}

/** So many points draw a curve as well as more would. */
const MAX_POINTS = 500;
/** Points are at first so far apart. */
const FIRST_SPACING_MICROSECONDS = 1000;

/** Remaining memory over time: grows coarser as the migration gets longer, but keeps its peaks. */
export class RemainingCurve {
  #points: CurvePoint[] = [];
  #spacing = FIRST_SPACING_MICROSECONDS;
  #next = 0;

  /** Whether an instant is far enough behind the last point to be worth one. */
  isDue(now: number): boolean {
    return now >= this.#next;
  }

  /** What remains now: a turn of the curve, such as the beginning of a round, is told in any case. */
  add(now: number, remainingBytes: number): void {
    this.#next = now + this.#spacing;
    this.#points.push({ atMicroseconds: Math.round(now), remainingBytes });
    if (this.#points.length < MAX_POINTS) return;
    this.#points = [...thinned(this.#points, MAX_POINTS / 2, (point) => point.remainingBytes)];
    this.#spacing *= 2;
  }

  /** The curve with its last point. */
  end(now: number, remainingBytes: number): CurvePoint[] {
    return [...this.#points, { atMicroseconds: Math.round(now), remainingBytes }];
  }
}
