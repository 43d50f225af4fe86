import { PAGE_SIZE } from '../core/index.ts';
import { RemainingCurve } from './curve.ts';

/** One round: from a look at the dirty log to the next one. */
export interface Round {
  /** From 1; the last one is sent while the program stands still. */
  readonly number: number;
  readonly startMicroseconds: number;
  /** Pages sent, those of zeros and differences included. */
  readonly sentPages: number;
  readonly zeroPages: number;
  readonly sentBytes: number;
  /** Pages written during the round, each counted once. */
  readonly dirtiedPages: number;
  /** Pages left to send when the round began, in bytes. */
  readonly remainingBytes: number;
  /** Share of its processor time that the sender took from the program when the round began, in percent. */
  readonly throttlePercent: number;
}

/** Adds up a migration's rounds while they happen. */
export class RoundLog {
  readonly curve = new RemainingCurve();
  readonly rounds: Round[] = [];
  normalPages = 0;
  zeroPages = 0;
  /** Pages of which only the difference to an earlier copy was sent. */
  differencePages = 0;
  #open:
    | { start: number; remaining: number; throttle: number; bytes: number; pages: number; zero: number }
    | undefined;

  /** Pages sent in whatever way. */
  get sentPages(): number {
    return this.normalPages + this.zeroPages + this.differencePages;
  }

  /** How many rounds have begun. */
  get count(): number {
    return this.rounds.length + (this.#open === undefined ? 0 : 1);
  }

  /** A look at the dirty log found `dirtied` pages: the round before is over, the next one begins. */
  begin(
    now: number,
    dirtied: number,
    remainingPages: number,
    sentBytes: number,
    throttlePercent: number,
  ): void {
    this.end(dirtied, sentBytes);
    this.curve.add(now, remainingPages * PAGE_SIZE);
    this.#open = {
      start: now,
      remaining: remainingPages * PAGE_SIZE,
      throttle: throttlePercent,
      bytes: sentBytes,
      pages: this.sentPages,
      zero: this.zeroPages,
    };
  }

  /** The round that runs is over. */
  end(dirtied: number, sentBytes: number): void {
    if (this.#open === undefined) return;
    const { start, remaining, throttle, bytes, pages, zero } = this.#open;
    this.rounds.push({
      number: this.rounds.length + 1,
      startMicroseconds: Math.round(start),
      sentPages: this.sentPages - pages,
      zeroPages: this.zeroPages - zero,
      sentBytes: Math.round(sentBytes - bytes),
      dirtiedPages: dirtied,
      remainingBytes: remaining,
      throttlePercent: throttle,
    });
    this.#open = undefined;
  }
}
