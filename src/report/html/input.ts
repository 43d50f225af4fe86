import type { Rehearsal, Round, SweepResult } from '../../migration/index.ts';

/** Everything that the page of a rehearsal shows. Plain data: the page is the same for the same input. */
export interface RehearsalReportInput {
  readonly rehearsal: Rehearsal;
  /** What was rehearsed, for people: `redis-server (PID 4711)`, `sim:kv-store.yaml`, a trace's name. */
  readonly target: string;
  readonly profile?: ReportedProfile;
  readonly sweep?: SweepResult;
  /** All that the rehearsal was told or took for granted, in the order in which it is shown. */
  readonly parameters: readonly ReportParameter[];
  /** What a real run measured, to be held against the prediction. */
  readonly shadow?: MeasuredRun;
  readonly generatedAt: Date;
}

export interface ReportParameter {
  /** The option's name without dashes, or a name of its own if no option sets it. */
  readonly name: string;
  /** The value as people write it. */
  readonly value: string;
  /** Whether it was given, and not taken as usual. */
  readonly given: boolean;
}

/** How the target wrote while it was watched. Times count from the first look. */
export interface ReportedProfile {
  readonly intervals: readonly {
    readonly atMicroseconds: number;
    readonly lengthMicroseconds: number;
    readonly dirtyPages: number;
  }[];
  /** Distinct pages written in windows of growing length: the mean, and between which bounds the windows lie. */
  readonly workingSet: readonly {
    readonly windowMicroseconds: number;
    readonly pages: number;
    readonly low: number;
    readonly high: number;
  }[];
  readonly heat: {
    /** When each column begins. */
    readonly columns: readonly number[];
    readonly rows: readonly {
      readonly label: string;
      readonly startPage: number;
      readonly endPage: number;
      readonly pid: number;
    }[];
    /** Pages written, by row, then column. */
    readonly counts: readonly (readonly number[])[];
  };
  readonly residentPages: number;
}

/** A real run of what was rehearsed, on the real network. */
export interface MeasuredRun {
  readonly kind: 'shadow' | 'migration';
  /** Where to. */
  readonly peer: string;
  readonly totalMicroseconds: number;
  readonly downtimeMicroseconds: number;
  readonly transferredBytes: number;
  readonly rounds: readonly Round[];
}
