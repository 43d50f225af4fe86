import { PageBitmap } from '../page-bitmap.ts';
import type { RecordedState } from './recording.ts';

/** Instants at which a rehearsal may begin, at most. */
const MOST_STATES = 32;
/** What all of them together may take, as far as there can be two. */
const MOST_BYTES = 64 * 2 ** 20;

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

  /** Pages were written. */
  written(start: number, end: number): void {
    this.resident.addRange(start, end);
    if (this.zero.count > 0) this.zero.removeRange(start, end);
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
      resident: wordsOf(resident, pageCount),
      residentPages: resident.count,
      zero: wordsOf(zero, pageCount),
      zeroPages: zero.count,
    });
  }
}

/** The words of a set, on shared memory. */
function wordsOf(set: PageBitmap, pageCount: number): Uint32Array {
  const length = Math.ceil(pageCount / 32);
  const words = new Uint32Array(new SharedArrayBuffer(length * 4));
  for (let index = set.nextWord(0); index >= 0; index = set.nextWord(index + 1))
    words[index] = set.word(index);
  return words;
}
