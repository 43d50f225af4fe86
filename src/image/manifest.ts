import type { CodecName } from '../codec/index.ts';
import type { MapsEntry } from '../procfs/index.ts';

/** `base` holds every page; `delta` only what changed since its parent. */
export type CheckpointKind = 'base' | 'delta';

/** A mapping as stored: the maps line and the codes of its VmFlags line. */
export interface StoredVma extends MapsEntry {
  readonly flags: readonly string[];
}

/** What must be equal for one dump to be the parent of the next. */
export interface StoredIdentity {
  readonly kind: 'simulated' | 'live';
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

/** One process of a checkpoint. */
export interface StoredProcess {
  readonly pid: number;
  /** 0 for the root of the target. */
  readonly parentPid: number;
  readonly name: string;
  /**
   * Tells the process from a later one with its PID, and from itself after an exec; absent where no PID is used
   * twice, and in manifests of before.
   */
  readonly fingerprint?: string;
  readonly vmas: readonly StoredVma[];
  readonly index: StoredIndex;
  /** What the tracker left when it armed for the next period. */
  readonly trackerState: BlobReference | null;
}

/** State beyond memory; `format` says who can read it. */
export interface StoredState {
  readonly format: string;
  readonly summary: Readonly<Record<string, unknown>>;
  readonly content: BlobReference;
}

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
  /** ISO 8601, UTC. */
  readonly createdAt: string;
  readonly target: StoredIdentity;
  /** The pack that was written with this checkpoint. */
  readonly pack: number;
  /** Every pack that this checkpoint needs, ascending. */
  readonly packs: readonly number[];
  readonly codec: { readonly name: CodecName; readonly level: number };
  /** Name of the tracker that found the changes (and is armed for the next period). */
  readonly tracker: string;
  readonly processes: readonly StoredProcess[];
  readonly state: StoredState | null;
  readonly pages: PageCounts;
  /** `memory`: existing pages in bytes; `stored`: bytes of the pack as it was written. */
  readonly bytes: { readonly memory: number; readonly stored: number };
  readonly microseconds: DumpTimes;
  readonly warnings: readonly DumpWarning[];
  /** See `memoryDigest`. */
  readonly memoryDigest: string;
}
