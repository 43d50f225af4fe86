import type { TargetIdentity } from '../../target/index.ts';
import type { TrackerKind } from '../../tracker/index.ts';
import type { Outcome, PolicyName, StrategyName } from '../outcome.ts';
import type { PolicyChoice } from '../rehearse-once.ts';
import type { MigrationTime } from './migration-time.ts';

/** Where a migration is, in the words of QEMU's query-migrate. */
export interface MigrationProgress {
  readonly status: 'setup' | 'active' | 'device' | 'completed';
  /** From 1; the last one is sent while the target stands still. */
  readonly round: number;
  readonly atMicroseconds: number;
  readonly remainingBytes: number;
  readonly transferredBytes: number;
  /** Pages written a second, in the period between the last two looks; undefined before the second one. */
  readonly dirtyPagesRate: number | undefined;
  readonly bytesPerSecond: number;
  /** What remains, at the bandwidth that was last measured; undefined before it was. */
  readonly expectedDowntimeMicroseconds: number | undefined;
}

/** How to send a target. */
export interface SendOptions {
  readonly migrationId: string;
  /** `discard`: everything is done but the switch; the target goes on here. */
  readonly purpose: 'migrate' | 'discard';
  readonly choice: PolicyChoice;
  /** Version of this program, for the other end's messages. */
  readonly program: string;
  readonly tracker?: TrackerKind | 'auto';
  readonly compression?: 'zstd' | 'none';
  /** zstd level. */
  readonly level?: number;
  /** When a migration that still sends counts as one that does not converge; by default never. */
  readonly giveUpAfterMicroseconds?: number;
  /** By default time as it passes. */
  readonly time?: MigrationTime;
  /** Where page digests go that do not fit in memory. */
  readonly scratchDirectory: string;
  /** Leaves the live processes stopped where they were, instead of killing them, when the others run. */
  readonly leaveStopped?: boolean;
  /** Cancels: the target goes on. Without effect once the destination has been told to run it. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: MigrationProgress) => void;
  /** Told things worth knowing that are no failures. */
  readonly onNote?: (note: string) => void;
  /** Called before the target is kept from going on by itself, which is the last step before `commit`. */
  readonly onCommit?: () => void | Promise<void>;
}

/** What became of the target. */
export type MigrationEnd =
  /** It runs at the destination; here it has ended. */
  | 'moved'
  /** It was sent as it would be for a migration, and goes on here. */
  | 'rehearsed'
  /** It goes on here, since the destination cannot run it; its last checkpoint is there. */
  | 'not-runnable'
  /** It goes on here, since it wrote faster than could be sent. */
  | 'given-up';

/** A migration that has come to an end, with the figures that a rehearsal predicts. */
export interface Migration extends Outcome {
  readonly end: MigrationEnd;
  readonly migrationId: string;
  readonly target: TargetIdentity;
  readonly peer: string;
  readonly policy: PolicyName;
  readonly strategy: StrategyName;
  readonly tracker: TrackerKind;
  readonly trackerReason: string;
  readonly processes: number;
  /** What the destination calls the last checkpoint; undefined if none was completed. */
  readonly checkpoint: number | undefined;
  readonly memoryDigest: string | undefined;
  /** Why the destination cannot run it. */
  readonly obstacles: readonly string[];
  /** How long the target stood still for the looks at its pages while it ran, zero for a simulated one. */
  readonly scans: { readonly count: number; readonly microseconds: number; readonly longest: number };
  /** What the link was seen to carry; undefined if it was never what the sender waited for. */
  readonly linkBytesPerSecond: number | undefined;
  /** How long was waited for the destination to store rounds that it had received, while the target ran. */
  readonly storeMicroseconds: number;
  /** What was told after the stop, and how long each part of the downtime took. */
  readonly stop: StopTimes | undefined;
  readonly warnings: readonly string[];
}

/** Parts of the time between the stop at the source and the resume at the destination, in microseconds. */
export interface StopTimes {
  /** From the request to stop until everything stood still. */
  readonly freeze: number;
  /** The last look, and the state beyond memory. */
  readonly scan: number;
  /** From then until the destination had received the rest. */
  readonly send: number;
  /** Until the destination had stored and proved it, and said that it is ready. */
  readonly prepare: number;
  /** Until the destination ran it, and had said so; 0 if it was not told to. */
  readonly start: number;
}
