import type { MemoryProfile, Rehearsal, SweepResult } from '../../migration/index.ts';
import type { Shadow } from '../shadow-report.ts';

/** Everything that the page of a rehearsal shows. Plain data: the page is the same for the same input. */
export interface RehearsalReportInput {
  readonly rehearsal: Rehearsal;
  /** What was rehearsed, for people: `redis-server (PID 4711)`, `sim:kv-store.yaml`, a trace's name. */
  readonly target: string;
  readonly profile?: MemoryProfile;
  readonly sweep?: SweepResult;
  /** All that the rehearsal was told or took for granted, in the order in which it is shown. */
  readonly parameters: readonly ReportParameter[];
  /** What became of it on the real network. */
  readonly shadow?: Shadow;
  /** What else is to be known about how this came to be. */
  readonly notes: readonly string[];
  readonly generatedAt: Date;
}

export interface ReportParameter {
  /** Heading under which it stands. */
  readonly group: string;
  readonly name: string;
  /** The value as people write it, and what is usual if that is another one. */
  readonly value: string;
  readonly usual?: string;
}
