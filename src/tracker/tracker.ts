import type { PageRangeList } from '../core/index.ts';
import type { ProcessView, Vma } from '../target/index.ts';

/** The ways to learn which pages changed. */
export const TRACKER_KINDS = ['pagemap-scan', 'soft-dirty', 'compare'] as const;
export type TrackerKind = (typeof TRACKER_KINDS)[number];

/**
 * What a tracker must know of the parent checkpoint. It is fetched before the freeze: inside it nothing is read from
 * the store. (Comparing contents with the parent's page digests is the dumper's work, after the thaw where possible.)
 */
export interface ParentPages {
  /** Pages that the parent holds, zero pages included. */
  readonly present: PageRangeList;
  /** What this tracker left with the parent when it armed, or undefined if another tracker did. */
  readonly trackerState: Uint8Array | undefined;
}

/** The pages of one process that may differ from the parent. Never too few. */
export interface Changes {
  /** Pages that may have changed, appeared, or must be looked at; only pages that exist (present or swapped). */
  readonly suspects: PageRangeList;
  /** Pages that exist and are proved unchanged since the parent. What is in neither list is a hole. */
  readonly unchanged: PageRangeList;
  /** pagemap words looked at. */
  readonly scannedPages: number;
  /** What could not be known, as sentences for people: such a checkpoint may lack memory that nobody could see. */
  readonly doubts: readonly string[];
  /** Why more pages are suspects than were written, as sentences for people. */
  readonly notes: readonly string[];
}

/** Answers "which pages changed since I was armed?". All calls are made while the process stands still. */
export interface Tracker {
  readonly kind: TrackerKind;
  /** Finds what may differ from `parent` (undefined: a base, so everything that exists is suspect). */
  collect(process: ProcessView, vmas: readonly Vma[], parent: ParentPages | undefined): Changes;
  /** Begins a new period; the returned bytes are stored with the checkpoint and come back as `trackerState`. */
  arm(process: ProcessView, vmas: readonly Vma[]): Uint8Array;
}
