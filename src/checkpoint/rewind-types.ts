import type { RewriteObstacle } from '../target/index.ts';
import type { WorkProgress } from './dump-types.ts';
import type { CheckpointName } from './read-store.ts';

/** One `ckpt restore --in-place`. */
export interface RewindRequest {
  readonly storeDirectory: string;
  readonly checkpoint: CheckpointName;
  /** Root of the target. */
  readonly pid: number;
  /** The process alone, without its descendants. */
  readonly single?: boolean;
  /** Do what can be done, whatever stands against the rest. */
  readonly force?: boolean;
  /** Look and compare, but change nothing. */
  readonly dryRun?: boolean;
  /** Leave the target stopped afterwards. */
  readonly leaveStopped?: boolean;
  readonly workers?: number;
  /** Aborts until the first change is made; from then on the rewinding is finished, or undone. */
  readonly signal?: AbortSignal;
  /** Given what lets a stopped target go on at once; returns what takes that back. */
  readonly onStop?: (release: () => void) => () => void;
  readonly onProgress?: (progress: WorkProgress) => void;
  readonly onNote?: (note: string) => void;
}

/** What a rewind did, or would do. */
export interface RewindResult {
  readonly checkpoint: number;
  readonly pid: number;
  /** `refused`: obstacles were found, and nothing was touched. `planned`: neither was it, as asked for. */
  readonly outcome: 'rewound' | 'planned' | 'refused';
  readonly processes: number;
  readonly obstacles: readonly RewriteObstacle[];
  /** Calls that change mappings. */
  readonly mappings: { readonly unmapped: number; readonly mapped: number; readonly adjusted: number };
  readonly pages: {
    /** Present ones that were read and compared. */
    readonly compared: number;
    readonly written: number;
    /** Present ones that the checkpoint does not have. */
    readonly discarded: number;
  };
  /** Threads created since, which are ended. */
  readonly threadsEnded: number;
  readonly leftStopped: boolean;
  readonly microseconds: { readonly freeze: number; readonly total: number };
}
