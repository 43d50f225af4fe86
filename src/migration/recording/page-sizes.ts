/** How pages of a stretch of page numbers compress and change. */
export interface SizedStretch {
  readonly firstNumber: number;
  /** Exclusive. */
  readonly endNumber: number;
  /** Size in a stream of compressed pages, as a share of its plain size. */
  readonly compressedShare: number;
  /** Bytes of the difference that 1, 2, 4, 8... writes make to a page. */
  readonly differenceBytes: readonly number[];
}

/** Sizes of pages; a page in no stretch is sized as `otherwise` says. */
export interface PageSizes {
  /** In the order of their numbers, none overlapping another. */
  readonly stretches: readonly SizedStretch[];
  readonly otherwise: Pick<SizedStretch, 'compressedShare' | 'differenceBytes'>;
}
