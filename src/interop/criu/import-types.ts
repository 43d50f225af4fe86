import type { WorkProgress } from '../../checkpoint/index.ts';
import type { NotRestorable } from '../../image/index.ts';
import type { Compression } from '../../store/index.ts';

/** What to take into a store. */
export interface ImportRequest {
  /** Made if there is none. */
  readonly storeDirectory: string;
  /** The images directory. */
  readonly path: string;
  /**
   * Takes the parents too, oldest first, a checkpoint each, but for those that the store has already; otherwise the
   * directory alone, with pages of its parents.
   */
  readonly chain?: boolean | undefined;
  /**
   * An unpacked archive that the images directory is in: everything in it is kept, and parents outside of it are
   * refused.
   */
  readonly archiveRoot?: string | undefined;
  readonly compression?: Compression | undefined;
  readonly workers?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: WorkProgress) => void) | undefined;
  /** Told things worth knowing that are no failures. */
  readonly onNote?: ((note: string) => void) | undefined;
}

/** One directory that became a checkpoint. */
export interface ImportedCheckpoint {
  readonly checkpoint: number;
  readonly path: string;
  readonly preDump: boolean;
  /** `deduplicated` if CRIU has punched pages out of it. */
  readonly notRestorable: NotRestorable | null;
  readonly processes: number;
  readonly sharedMemoryObjects: number;
  readonly pages: {
    /** In its pages files. */
    readonly present: number;
    /** Of its parents. */
    readonly parent: number;
    /** That the store did not have. */
    readonly written: number;
  };
  readonly files: { readonly count: number; readonly bytes: number };
  readonly bytes: {
    /** Of its pages files and the files that are kept. */
    readonly images: number;
    /** That it takes in the store. */
    readonly stored: number;
  };
  readonly memoryDigest: string;
}

/** One directory that the store held already. */
export interface KnownCheckpoint {
  readonly checkpoint: number;
  readonly path: string;
}

/** What an import did. */
export interface ImportResult {
  readonly storeDirectory: string;
  readonly path: string;
  readonly target: string;
  /** Of a chain, what the store held already, oldest first; the first of `checkpoints` is a delta on the last. */
  readonly known: readonly KnownCheckpoint[];
  /** What was written, oldest first. */
  readonly checkpoints: readonly ImportedCheckpoint[];
  readonly notes: readonly string[];
  readonly microseconds: number;
}
