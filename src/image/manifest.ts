import type { CodecName } from '../codec/index.ts';
import type { MapsEntry } from '../procfs/index.ts';

/** `base` holds every page; `delta` only what changed since its parent. */
export type CheckpointKind = 'base' | 'delta';

/** A mapping as stored: the maps line and the codes of its VmFlags line. */
export interface StoredVma extends MapsEntry {
  readonly flags: readonly string[];
}

/** What a checkpoint is of: a simulated program, a live process, or what CRIU dumped elsewhere. */
export const STORED_KINDS = ['simulated', 'live', 'criu'] as const;

/** What must be equal for one dump to be the parent of the next. */
export interface StoredIdentity {
  readonly kind: (typeof STORED_KINDS)[number];
  readonly name: string;
  readonly fingerprint: string;
}

/** Opaque bytes that lie in consecutive blocks of one pack, each but the last of BLOB_CHUNK_BYTES. */
export interface BlobReference {
  readonly bytes: number;
  /** SHA-256 of the bytes, 64 hexadecimal digits. */
  readonly sha256: string;
  readonly pack: number;
  readonly firstBlock: number;
  readonly blockCount: number;
}

/** Where the page index of a process lies, and what it counts. */
export interface StoredIndex {
  readonly root: BlobReference;
  readonly segments: number;
  readonly zeroPages: number;
  readonly dataPages: number;
}

/**
 * The lowest number that stands for an object of shared memory in the place of a PID: the kernel's PID_MAX_LIMIT
 * (include/linux/threads.h), which no PID reaches.
 */
export const FIRST_OBJECT_PID = 4_194_304;

/** One process of a checkpoint, or an object of memory that several processes share. */
export interface StoredProcess {
  /** Of an object of shared memory: its number, FIRST_OBJECT_PID or higher. */
  readonly pid: number;
  /** 0 for the root of the target. */
  readonly parentPid: number;
  readonly name: string;
  /**
   * Tells the process from a later one with its PID, and from itself after an exec; absent where no PID is used
   * twice, and in manifests of before.
   */
  readonly fingerprint?: string;
  /**
   * Decimal id of the object of shared memory that this is instead of a process: its pages are offsets in the object,
   * its only VMA reaches from 0 to its size.
   */
  readonly sharedMemory?: string;
  readonly vmas: readonly StoredVma[];
  readonly index: StoredIndex;
  /** What the tracker left when it armed for the next period. */
  readonly trackerState: BlobReference | null;
}

/** `process 1234`, or `shared memory 7`. */
export function describeProcess({ pid, sharedMemory }: Pick<StoredProcess, 'pid' | 'sharedMemory'>): string {
  return sharedMemory === undefined ? `process ${pid}` : `shared memory ${sharedMemory}`;
}

/** State beyond memory; `format` says who can read it. */
export interface StoredState {
  readonly format: string;
  readonly summary: Readonly<Record<string, unknown>>;
  readonly content: BlobReference;
}

/** Files kept byte for byte beside memory; `format` says who can read the listing. */
export interface StoredFiles {
  readonly format: string;
  /** What lies where in the content. */
  readonly listing: BlobReference;
  /** The bytes of all files. */
  readonly content: BlobReference;
}

/** Why a checkpoint cannot be restored that is no pre-dump. */
export const REASONS_NOT_RESTORABLE = ['pages-only', 'deduplicated'] as const;

/**
 * `pages-only`: a page server received it, and the rest of its state is still elsewhere. `deduplicated`: CRIU punched
 * pages out of it that a later checkpoint of its chain had anew.
 */
export type NotRestorable = (typeof REASONS_NOT_RESTORABLE)[number];

/** Pages counted in a checkpoint. */
export interface PageCounts {
  /** In the VMAs. */
  readonly mapped: number;
  /** Existing, zero pages included. */
  readonly present: number;
  /** pagemap words that the tracker looked at. */
  readonly scanned: number;
  /** Named by the tracker as possibly changed since the parent; by the comparison, where the tracker names every page. */
  readonly dirty: number;
  /** Existing and all zeros. */
  readonly zero: number;
  /** Found equal to a page that the store already had. */
  readonly shared: number;
  /** Put into the pack, whole or as a difference. */
  readonly written: number;
}

/** Where the time of a dump went. */
export interface DumpTimes {
  readonly freeze: number;
  readonly scan: number;
  readonly read: number;
  readonly total: number;
}

/** Something that the dump could not do, without failing. */
export interface DumpWarning {
  readonly pid: number;
  /** Pages concerned; 0-0 if it concerns none in particular. */
  readonly startPage: number;
  readonly endPage: number;
  readonly reason: string;
}

/** Everything about a checkpoint but its pages. */
export interface Manifest {
  readonly number: number;
  readonly kind: CheckpointKind;
  /** The checkpoint that a delta was taken against; null for a base. It may have been pruned since. */
  readonly parent: number | null;
  /** Taken without stopping the target for the copy: a chain that ends here cannot be restored. */
  readonly preDump: boolean;
  /** Absent where the checkpoint is whole. */
  readonly notRestorable?: NotRestorable;
  /** ISO 8601, UTC. */
  readonly createdAt: string;
  readonly target: StoredIdentity;
  /** The pack that was written with this checkpoint's pages. */
  readonly pack: number;
  /** Every pack that this checkpoint needs, ascending. */
  readonly packs: readonly number[];
  readonly codec: { readonly name: CodecName; readonly level: number };
  /** Name of the tracker that found the changes (and is armed for the next period). */
  readonly tracker: string;
  readonly processes: readonly StoredProcess[];
  readonly state: StoredState | null;
  /** Absent where no files are kept. */
  readonly files?: StoredFiles;
  readonly pages: PageCounts;
  /** `memory`: existing pages in bytes; `stored`: bytes of the pack as it was written. */
  readonly bytes: { readonly memory: number; readonly stored: number };
  readonly microseconds: DumpTimes;
  readonly warnings: readonly DumpWarning[];
  /** See `memoryDigest`. */
  readonly memoryDigest: string;
}
