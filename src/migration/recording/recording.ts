import type { NumberedSegment } from '../page-numbers.ts';
import type { PageHeat } from './page-heat.ts';
import type { PageSizes } from './page-sizes.ts';

/** Page ranges of each interval, coded one behind the other: see `coded-ranges.ts`. */
export interface CodedRanges {
  readonly bytes: Uint8Array;
  /** Where the ranges of each interval begin in `bytes`; one more entry than intervals. */
  readonly offsets: Float64Array;
  /** Pages of each interval. */
  readonly pages: Uint32Array;
}

/** A mapping that was there at some time of the recording. */
export interface RecordedMapping {
  readonly pid: number;
  readonly startPage: number;
  /** Exclusive. */
  readonly endPage: number;
  /** Its path, or what it is for (`heap`); empty for plain anonymous memory. */
  readonly label: string;
}

/** Which pages there were at an instant, as words of bitmaps over the page numbers. */
export interface RecordedState {
  /** The interval that begins then. */
  readonly interval: number;
  readonly atMicroseconds: number;
  readonly resident: Uint32Array;
  readonly residentPages: number;
  readonly zero: Uint32Array;
  readonly zeroPages: number;
}

/**
 * What was seen of a target's memory: which pages it had, which of them it wrote in which interval, and how well they
 * compress. Plain data; the arrays lie on shared memory, so that worker threads get them without a copy. Pages are
 * numbers from 0 in the order in which a sender scans them.
 */
export interface Recording {
  readonly target: string;
  readonly kind: 'simulated' | 'live';
  /** How written pages were found. */
  readonly tracker: string;
  /** Between two scans, as it was asked for. */
  readonly intervalMicroseconds: number;
  /** From the first scan to the last. */
  readonly microseconds: number;
  /** One above the highest page number. */
  readonly pageCount: number;
  /** In the order of their numbers. */
  readonly segments: readonly NumberedSegment[];
  readonly mappings: readonly RecordedMapping[];
  /** From the beginning, and from instants spread over the recording at which a rehearsal may begin. */
  readonly states: readonly RecordedState[];
  /** When each interval ends; the first one begins at 0. */
  readonly endsMicroseconds: Float64Array;
  /** Pages written in each interval, new ones included. */
  readonly written: CodedRanges;
  /** Pages that were there at an interval's beginning and not at its end. */
  readonly gone: CodedRanges;
  /** How often each page is written. */
  readonly heat: PageHeat;
  readonly sizes: PageSizes;
  /** Share of a processor that the program needs to keep its pace; 0: unknown, taken as never slowed. */
  readonly cpuShare: number;
  /** What is not known, and what was assumed instead. */
  readonly notes: readonly string[];
}
