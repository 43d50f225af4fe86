import type { Compression } from '../../store/index.ts';
import type { FetchCounts } from './post-copy.ts';

/** How migrations are received. */
export interface ReceiveOptions {
  /** Where rounds go; undefined with `discard`. */
  readonly storeDirectory: string | undefined;
  /** Pages are received, decoded and counted; nothing is kept and nothing runs. */
  readonly discard?: boolean;
  /** How long a simulated target runs on after it has come; it then rests as a further checkpoint. */
  readonly runMicroseconds?: number;
  /** Makes a live target run despite obstacles that the program may not mind. */
  readonly force?: boolean;
  readonly compression?: Compression;
  /** Threads for the codec; by default one for each core. */
  readonly workers?: number;
  /** How long a source may say nothing while it is waited for; an hour by default. */
  readonly quietMicroseconds?: number;
  /** Gives a migration up that has not been committed. */
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: ReceiveEvent) => void;
}

/** What is worth telling while migrations come in. */
export type ReceiveEvent =
  | { readonly kind: 'begun'; readonly peer: string; readonly target: string; readonly purpose: string }
  | { readonly kind: 'progress'; readonly progress: ReceiveProgress }
  | { readonly kind: 'note'; readonly text: string };

/** Where a migration is. */
export interface ReceiveProgress {
  readonly round: number;
  readonly final: boolean;
  /** Pages of all rounds, those of zeros included. */
  readonly pages: number;
  /** Bytes of all messages. */
  readonly receivedBytes: number;
}

/** What became of a migration. */
export interface ReceivedMigration {
  readonly migrationId: string;
  readonly target: string;
  /**
   * `started`: it runs here. `kept`: it cannot be made to run here, its checkpoint is here and the source goes on.
   * `discarded`: it was only counted.
   */
  readonly outcome: 'started' | 'kept' | 'discarded';
  /** The whole checkpoint; null if nothing was kept. */
  readonly checkpoint: number | null;
  readonly memoryDigest: string | null;
  readonly rounds: number;
  readonly pages: { readonly received: number; readonly zero: number };
  readonly receivedBytes: number;
  readonly microseconds: {
    readonly total: number;
    /** From the beginning of the last round to `ready`, then to `started`. */
    readonly lastRound: number;
    readonly start: number;
  };
  /** Root process of a live target that runs. */
  readonly pid: number | null;
  /** Why it cannot be made to run here. */
  readonly obstacles: readonly string[];
  /** How a simulated target went on. */
  readonly run: RanOn | null;
  /** What it cost to run before all of the memory was here; null unless it did. */
  readonly fetched: FetchCounts | null;
}

/** A simulated target after it has run on. */
export interface RanOn {
  readonly microseconds: number;
  /** Its virtual time. */
  readonly nowMicroseconds: number;
  /** The checkpoint in which it rests. */
  readonly checkpoint: number;
  readonly memoryDigest: string;
}
