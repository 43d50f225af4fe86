/** What sending by ckpt costs on these machines with the pages of one target, as a rehearsal has to know it. */
export interface SendingCosts {
  /** Connecting, and until the destination is ready to take pages. */
  readonly setupMicroseconds: number;
  /** Reading, digesting and compressing a page, with all threads, so that the next one can follow. */
  readonly pageNanoseconds: number;
  /** Pages that are sent for the first time. */
  readonly first: SentContent;
  /** Pages that had been sent before and were named as written since. */
  readonly again: SentContent;
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

/** What becomes of pages on their way. */
export interface SentContent {
  /** Bytes of messages for a byte of a page that does not hold zeros; undefined: as the page's own sample says. */
  readonly share: number | undefined;
  /** Share of the pages that are as the destination has them, and are not sent. */
  readonly unchanged: number;
}

/** Of two processes on one machine with two cores of about 2020; the mappings are those of a small program. */
export const USUAL_SENDING: SendingCosts = {
  setupMicroseconds: 30_000,
  pageNanoseconds: 30_000,
  first: { share: undefined, unchanged: 0 },
  again: { share: undefined, unchanged: 0 },
  mappingsBytes: 5000,
  lookMicroseconds: 6000,
  lookFrozenMicroseconds: 4000,
  storeMicroseconds: 15_000,
  prepareMicroseconds: 60_000,
};
