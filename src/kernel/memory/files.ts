/**
 * tmpfs and shared anonymous memory live in memory and swap; ext4 has a disk below and wants to be told of stores.
 * `hugetlb` files hold huge pages of the reserved pool; `program` is the image that processes execute.
 */
export type FileKind = 'tmpfs' | 'ext4' | 'shared-anonymous' | 'hugetlb' | 'program';

/** An inode with its page cache. */
export class FileNode {
  readonly id: number;
  readonly path: string;
  readonly kind: FileKind;
  sizePages: number;
  /** Page cache: file page to frame. */
  readonly pages = new Map<number, number>();
  /** Pages of memory files that are in swap: file page to slot. */
  readonly swapped = new Map<number, number>();
  /** Blocks of a disk file that are not in the page cache: file page to the frame that stores the contents. */
  readonly disk = new Map<number, number>();
  /** hugetlb: huge pages of the pool that its mapping was promised and has not taken yet. */
  promisedHuge = 0;
  /** Cached pages that carry PG_readahead: the next fault on them reads further ahead. */
  readonly readAheadMarks = new Set<number>();
  /** Mappings of it, in all address spaces. Memory without a name goes with the last one. */
  mappings = 0;

  constructor(id: number, path: string, kind: FileKind, sizePages: number) {
    this.id = id;
    this.path = path;
    this.kind = kind;
    this.sizePages = sizePages;
  }

  /** vma_is_shmem: swapped, not written back. */
  get swappable(): boolean {
    return this.kind === 'tmpfs' || this.kind === 'shared-anonymous';
  }

  /** The file system has a page_mkwrite method. */
  get wantsWriteNotice(): boolean {
    return this.kind === 'ext4';
  }

  /** Belongs to a mapping rather than to a directory: shared anonymous memory and anonymous huge pages. */
  get unnamed(): boolean {
    return this.kind === 'shared-anonymous' || this.kind === 'hugetlb';
  }

  /** Written back to a disk (mapping_can_writeback). */
  get writtenBack(): boolean {
    return this.kind === 'ext4';
  }
}

/** An open file description. Mappings merge only if they share one, not merely the file. */
export class OpenFile {
  readonly id: number;
  readonly node: FileNode;
  readonly writable: boolean;

  constructor(id: number, node: FileNode, writable: boolean) {
    this.id = id;
    this.node = node;
    this.writable = writable;
  }

  get path(): string {
    return this.node.path;
  }
}
