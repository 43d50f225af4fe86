import { PageBitmap } from '../page-bitmap.ts';
import type { RecordedState } from './recording.ts';

/** Instants at which a rehearsal may begin, at most. */
const MOST_STATES = 32;
/** What all of them together may take, as far as there can be two. */
const MOST_BYTES = 32 * 2 ** 20;

/** Follows which pages there are, and keeps what was at the beginning and at instants spread over the recording. */
export class StateShots {
  readonly resident = new PageBitmap(0);
  readonly zero = new PageBitmap(0);
  #states: RecordedState[] = [];
  #every = 1;

  /** The recording begins with what is in the sets now. @param pageCount pages numbered so far */
  begin(pageCount: number): void {
    this.#take(0, 0, pageCount);
  }

  /** Pages were written; most of them were there before, and most ranges are a single page. */
  written(start: number, end: number): void {
    const { resident, zero } = this;
    if (end - start > 1) {
      resident.addRange(start, end);
      if (zero.count > 0) zero.removeRange(start, end);
      return;
    }
    if (!resident.has(start)) resident.add(start);
    if (zero.has(start)) zero.remove(start);
  }

  /** Pages are no more; whoever sends one that is still to be sent says just that, as of one of zeros. */
  gone(start: number, end: number): void {
    this.resident.removeRange(start, end);
    this.zero.addRange(start, end);
  }

  /** So many intervals are over. @param pageCount pages numbered so far */
  finishInterval(intervals: number, atMicroseconds: number, pageCount: number): void {
    if (intervals % this.#every !== 0) return;
    this.#take(intervals, atMicroseconds, pageCount);
    const most = Math.max(2, Math.min(MOST_STATES, MOST_BYTES / (pageCount / 4)));
    if (this.#states.length <= most) return;
    this.#every *= 2;
    this.#states = this.#states.filter(({ interval }) => interval % this.#every === 0);
  }

  /** The states that were kept, but for one at the very end of the recording. */
  build(intervals: number): RecordedState[] {
    return this.#states.filter(({ interval }) => interval === 0 || interval < intervals);
  }

  #take(interval: number, atMicroseconds: number, pageCount: number): void {
    const { resident, zero } = this;
    this.#states.push({
      interval,
      atMicroseconds,
      resident: resident.sharedWords(pageCount),
      residentPages: resident.count,
      zero: zero.sharedWords(pageCount),
      zeroPages: zero.count,
    });
  }
}
