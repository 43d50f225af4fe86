import type { IntervalName } from '../rehearse.ts';

/** One value of an axis: how it was written, and what it means. */
export interface AxisValue {
  readonly label: string;
  /** Bytes a second, microseconds, bytes, a percentage or share as the option has it, a word, or whether it is set. */
  readonly value: number | string | boolean;
}

/** An option of a rehearsal that takes several values. */
export interface SweepAxis {
  /** As on the command line, without the dashes. */
  readonly name: string;
  readonly values: readonly AxisValue[];
}

/** What one combination of values predicts. */
export interface SweepCell {
  /** For each axis, which of its values. */
  readonly indices: readonly number[];
  readonly verdict: 'converges' | 'does-not-converge';
  /** Whether it converges and keeps to its downtime limit, if it has one. */
  readonly meetsLimit: boolean;
  /** Share of the runs that converge. */
  readonly convergence: number;
  readonly totalMicroseconds: number;
  readonly downtimeMicroseconds: number;
  readonly transferredBytes: number;
  readonly rounds: number;
  readonly service: {
    readonly throttledMicroseconds: number;
    readonly faultedPages: number;
    readonly faultMicroseconds: number;
  };
  /** What the link carries at its best, bytes a second. */
  readonly bandwidthBytesPerSecond: number;
  /** 90 % intervals over the runs, [low, high]; absent if there was one run only. */
  readonly intervals?: Readonly<Record<IntervalName, readonly [number, number]>>;
}

/** All combinations of the values of some axes. */
export interface SweepResult {
  readonly axes: readonly SweepAxis[];
  /** Rehearsals behind each cell. */
  readonly runs: number;
  /** The last axis counts fastest. */
  readonly cells: readonly SweepCell[];
  /**
   * Cells worth having, as indices into `cells`: none of the others is as good in downtime, total time, bytes sent,
   * bandwidth and cost to the service, and better in one of them.
   */
  readonly frontier: readonly number[];
}
