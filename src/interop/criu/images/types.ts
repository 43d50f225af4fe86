import type { PageObject } from '../page-server/protocol.ts';
import type { InventoryFacts } from './inventory.ts';

/**
 * Entries of a pagemap, ascending and disjoint; neighbours of the same flags are joined. Element `i` of each list is of
 * entry `i`. Pages are those of the address space, or of the object for shared memory.
 */
export interface PagemapEntries {
  readonly startPages: Float64Array;
  readonly pageCounts: Float64Array;
  /** Bits of PAGE_FLAGS. */
  readonly flags: Uint8Array;
  /** Page of the pages file at which the content begins, of entries that are present. */
  readonly dataPages: Float64Array;
}

/** One pagemap and its pages file, checked: framing, order, overlap, flags and sizes are right. */
export interface MemoryImage {
  readonly object: PageObject;
  /** Of the pagemap file, such as `pagemap-1.img`. */
  readonly name: string;
  readonly pagesId: number;
  /** The pages file; it need not exist where no page is present. */
  readonly pagesPath: string;
  readonly entries: PagemapEntries;
  /** Pages in the pages file. */
  readonly presentPages: number;
  /** Whether the pages file takes less room than its size: holes, of `--auto-dedup` or of a copy that makes them. */
  readonly hasHoles: boolean;
}

/** One process of an image directory. */
export interface ImageProcess {
  readonly pid: number;
  /** 0 for the root of the tree, and where it is not recorded (pre-dump). */
  readonly parentPid: number;
  /** The name that `comm` has; empty where it is not recorded (pre-dump). */
  readonly name: string;
  readonly state: 'alive' | 'stopped' | 'zombie';
  /** Thread ids, that of the process first; empty where they are not recorded (pre-dump). */
  readonly threads: readonly number[];
}

/** A file that is kept byte for byte. */
export interface KeptFile {
  /** Relative to the root of what is kept, with `/` between the parts. */
  readonly name: string;
  readonly kind: 'file' | 'link' | 'directory';
  /** Permission bits. */
  readonly mode: number;
  /** Size of a file; 0 for others. */
  readonly bytes: number;
  /** What a link says. */
  readonly target?: string;
  /** Where it lies now. */
  readonly path: string;
}

/** One directory that CRIU wrote: a dump or a pre-dump, without its parents. */
export interface ImageDirectory {
  /** Absolute, without links. */
  readonly path: string;
  readonly inventory: InventoryFacts;
  /** Has memory only: a restore needs the dump that follows. */
  readonly isPreDump: boolean;
  /** Those of the process tree; those with a pagemap in a pre-dump, which records no more. Ascending by PID. */
  readonly processes: readonly ImageProcess[];
  /** Tasks by PID, then objects by id. */
  readonly memories: readonly MemoryImage[];
  /** Everything but the pagemaps and their pages, by name. */
  readonly otherFiles: readonly KeptFile[];
  /** Where the parent is, as the link says it (`../1`), or `parent` if it is a directory; undefined without one. */
  readonly parentLink: string | undefined;
  /** Things worth knowing that are no failures: sockets that were left out, other dumps inside. */
  readonly notes: readonly string[];
}
