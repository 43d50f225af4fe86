import { Random } from '../../core/index.ts';

/** What sending by ckpt costs on these machines with the pages of one target, as a rehearsal has to know it. */
export interface SendingCosts {
  /** Connecting, and until the destination is ready to take pages. */
  readonly setupMicroseconds: number;
  /** Reading, digesting and compressing a page, with all threads, so that the next one can follow. */
  readonly pageNanoseconds: number;
  /** As `share`, of pages that are sent for the first time. */
  readonly firstShare: number | undefined;
  /** Pages that had been sent before and were named as written since: by how long before that was, ascending. */
  readonly again: readonly SentAgain[];
  /** What the target's mappings take in each round. */
  readonly mappingsBytes: number;
  /** A look for written pages, and the part of it in which the target stands still. */
  readonly lookMicroseconds: number;
  readonly lookFrozenMicroseconds: number;
  /** From the arrival of a round until the destination has stored it. */
  readonly storeMicroseconds: number;
  /** From the arrival of the last round until the destination has stored and proved it, and is ready. */
  readonly prepareMicroseconds: number;
}

/** What becomes of pages that a look names, some time after the one before. */
export interface SentAgain {
  /** Between the two looks. */
  readonly microseconds: number;
  /** Bytes of messages for a byte of a page that does not hold zeros; undefined: as the page's own sample says. */
  readonly share: number | undefined;
  /** Share of the pages that hold what they held: a store of the same value marks its page as written, too. */
  readonly unchanged: number;
}

/**
 * The share of unchanged pages after another time than those that were measured: what is written all the time changes,
 * and what is written seldom often comes out as it was, so that it grows with the time. In between it is taken to do so
 * with its logarithm.
 */
export function unchangedAfter(again: readonly SentAgain[], microseconds: number): number {
  const above = again.findIndex((each) => each.microseconds >= microseconds);
  const next = again[above];
  if (next === undefined) return again.at(-1)?.unchanged ?? 0;
  const before = again[above - 1];
  if (before === undefined) return next.unchanged;
  const position =
    Math.log(microseconds / before.microseconds) / Math.log(next.microseconds / before.microseconds);
  return before.unchanged + (next.unchanged - before.unchanged) * position;
}

/** Of two processes on one machine with two cores of about 2020; the mappings are those of a small program. */
export const USUAL_SENDING: SendingCosts = {
  setupMicroseconds: 30_000,
  pageNanoseconds: 30_000,
  firstShare: undefined,
  again: [],
  mappingsBytes: 5000,
  lookMicroseconds: 6000,
  lookFrozenMicroseconds: 4000,
  storeMicroseconds: 15_000,
  prepareMicroseconds: 60_000,
};

/**
 * What cannot be known beforehand of run number `run`: how busy the two hosts are, and how often the program stores the
 * same value again. How long a disk takes to keep something safe changes most.
 */
export function disturbedSending(sending: SendingCosts, run: number): SendingCosts {
  const random = new Random(run);
  const between = (low: number, high: number) => low + (high - low) * random.nextFraction();
  const look = between(0.7, 1.5);
  const otherwise = between(-0.12, 0.12);
  return {
    ...sending,
    pageNanoseconds: sending.pageNanoseconds * between(0.7, 1.5),
    lookMicroseconds: sending.lookMicroseconds * look,
    lookFrozenMicroseconds: sending.lookFrozenMicroseconds * look,
    storeMicroseconds: sending.storeMicroseconds * between(0.5, 2),
    prepareMicroseconds: sending.prepareMicroseconds * between(0.6, 1.6),
    again: sending.again.map((each) => ({
      ...each,
      unchanged: Math.min(1, Math.max(0, each.unchanged + otherwise)),
    })),
  };
}
