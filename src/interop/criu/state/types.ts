import type { PageRange } from '../../../core/index.ts';
import type { StoredVma } from '../../../image/index.ts';
import type { TargetState } from '../../../target/index.ts';
import type { ImageDirectory } from '../images/types.ts';

/** What is read of an image directory here. */
export type StateSource = Pick<ImageDirectory, 'path' | 'isPreDump' | 'memories'>;

/**
 * Reads memory of a process of the dump, wherever it lies: in the images and their parents, or in a store already.
 * @returns undefined if it is not in any of them
 */
export type MemoryReader = (
  pid: number,
  startBytes: number,
  lengthBytes: number,
) => Promise<Uint8Array | undefined>;

/** A range of a process's pages that maps a part of an object of shared memory. */
export interface ObjectRange extends PageRange {
  /** Decimal id, as in the name of its pagemap: `pagemap-shmem-ID.img`. */
  readonly objectId: string;
  /** Page of the object that `startPage` shows. */
  readonly objectPage: number;
}

/** One process and its mappings, as they are stored. */
export interface ProcessMappings {
  readonly pid: number;
  /** 0 for the root of the tree, and where it is not recorded (pre-dump). */
  readonly parentPid: number;
  /** Empty where it is not recorded (pre-dump). */
  readonly name: string;
  /** Empty for a process that had ended. Of a pre-dump, which records none, the ranges of its pages. */
  readonly vmas: readonly StoredVma[];
  readonly sharedRanges: readonly ObjectRange[];
}

/** An object of memory that CRIU dumped once for all who share it. */
export interface SharedObject {
  readonly id: string;
  /** As a mapping of it is called: `/dev/zero`, `/SYSV00001234`, `/memfd:name`. */
  readonly name: string;
  readonly pageCount: number;
}

/** What an image directory tells beyond the contents of memory. */
export interface DirectoryState {
  /** Undefined for a pre-dump, which has none. */
  readonly state: TargetState | undefined;
  /** The root first, parents before their children; of a pre-dump by PID. */
  readonly processes: readonly ProcessMappings[];
  readonly objects: readonly SharedObject[];
  /** Mappings of shared memory of which there is no image. */
  readonly missingObjects: readonly MissingObject[];
}

/** A mapping whose pages are nowhere. */
export interface MissingObject {
  readonly pid: number;
  readonly startPage: number;
  readonly objectId: string;
}
