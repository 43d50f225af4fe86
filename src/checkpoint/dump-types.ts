import type { CodecName } from '../codec/index.ts';
import type { DumpTimes, DumpWarning, PageCounts } from '../image/index.ts';
import type { TrackerKind } from '../tracker/index.ts';

/** How to take a checkpoint. */
export interface CheckpointOptions {
  /** Take a delta on the newest checkpoint instead of a base. */
  readonly incremental: boolean;
  /** By default `auto`: the cheapest that is correct on the target's kernel. */
  readonly tracker?: TrackerKind | 'auto';
  readonly codec?: CodecName;
  /** zstd level. */
  readonly level?: number;
  /** Leave the target stopped afterwards. */
  readonly leaveStopped?: boolean;
  /** Pages copied while the target stands still that stay in memory; the rest goes to a scratch file. */
  readonly spoolBytes?: number;
  /** Called often, with cheap values. */
  readonly onProgress?: (progress: WorkProgress) => void;
  /** Aborts between two chunks: the target goes on, the store stays as it was. */
  readonly signal?: AbortSignal;
  /** Told things worth knowing that are no failures. */
  readonly onNote?: (note: string) => void;
}

/** Where long work is. */
export interface WorkProgress {
  readonly phase: string;
  readonly donePages: number;
  readonly totalPages: number;
  readonly doneBytes: number;
}

/** What a dump did; addresses are absent, counts are pages, times microseconds. */
export interface DumpResult {
  readonly checkpoint: number;
  /** How many are in it. */
  readonly processes: number;
  readonly kind: 'base' | 'delta';
  readonly parent: number | null;
  readonly tracker: string;
  /** Which tracker was taken, and why, for people. */
  readonly trackerReason: string;
  readonly pages: PageCounts;
  /** `memory`: existing pages in bytes; `stored`: what this checkpoint added to the store. */
  readonly bytes: { readonly memory: number; readonly stored: number };
  readonly microseconds: DumpTimes;
  readonly memoryDigest: string;
  readonly warnings: readonly DumpWarning[];
}
