import type { CodecPool } from '../codec/index.ts';
import { PAGE_SIZE, type PageRange, pageCountOf } from '../core/index.ts';
import {
  type BlockKind,
  type DigestedProcess,
  type DumpTimes,
  type DumpWarning,
  decodeManifest,
  encodeManifest,
  encodeRoot,
  formatNumber,
  type Manifest,
  memoryDigest,
  type NotRestorable,
  type PageCounts,
  type StoredFiles,
  type StoredIdentity,
  type StoredProcess,
  type StoredState,
  type StoredVma,
} from '../image/index.ts';
import { type Compression, encodeInPool, writeBlob, writeBlobStream } from './blobs.ts';
import type { StoreFiles } from './files.ts';
import { IndexBuilder } from './index-builder.ts';
import type { BlockToWrite, PackWriter } from './pack-writer.ts';
import type { PendingCheckpoints } from './pending-checkpoints.ts';
import type { ProcessIndex } from './process-index.ts';
import { removeUnneededPacks } from './recovery.ts';
import type { SegmentCache } from './segment-cache.ts';

/** What identifies a process of a new checkpoint. */
export interface NewProcess {
  readonly pid: number;
  readonly parentPid: number;
  readonly name: string;
  readonly fingerprint?: string;
  /** Decimal id of the object of shared memory that this is instead of a process; `pid` is then FIRST_OBJECT_PID or higher. */
  readonly sharedMemory?: string;
  readonly vmas: readonly StoredVma[];
  /** Pages that are those of objects of shared memory of the same checkpoint; for who builds the index, not stored. */
  readonly sharedRanges?: readonly SharedRange[];
}

/** A range of a process's pages that maps a part of an object of shared memory. */
export interface SharedRange extends PageRange {
  /** `pid` of the object. */
  readonly objectPid: number;
  /** Page of the object that `startPage` shows. */
  readonly objectPage: number;
}

/** Files to be kept byte for byte. */
export interface NewFiles {
  /** Says who can read the listing. */
  readonly format: string;
  readonly listing: Uint8Array;
  /** The bytes of all files, in pieces of any length; read once, a few megabytes ahead at most. */
  readonly content: AsyncIterable<Uint8Array>;
}

/** What only the dumper knows of a new checkpoint. */
export interface CheckpointFacts {
  readonly preDump: boolean;
  readonly notRestorable?: NotRestorable | undefined;
  readonly target: StoredIdentity;
  readonly tracker: string;
  readonly pages: Pick<PageCounts, 'scanned' | 'dirty' | 'shared' | 'written'>;
  readonly warnings: readonly DumpWarning[];
  /** ISO 8601, UTC; now, if left out. */
  readonly createdAt?: string;
  /** Asked for last, when the pack is safely on disk, so that `total` covers nearly everything. */
  readonly times: () => DumpTimes;
}

/** What is fixed when a checkpoint is begun. */
export interface CheckpointPlan {
  readonly number: number;
  readonly parent: number | null;
  readonly compression: Compression;
  /** The checkpoint that is written anew while most of its pages stay where they are. */
  readonly rewrites?: Manifest;
}

/** Writes one checkpoint. It exists from the end of `commit` on; before that nothing of it can be seen. */
export class CheckpointWriter {
  readonly number: number;
  readonly #plan: CheckpointPlan;
  readonly #files: StoreFiles;
  readonly #pack: PackWriter;
  readonly #codec: CodecPool;
  readonly #segments: SegmentCache;
  readonly #pending: PendingCheckpoints;
  readonly #processes: StoredProcess[] = [];
  readonly #digested: DigestedProcess[] = [];
  readonly #packs = new Set<number>();
  #state: StoredState | null = null;
  #keptFiles: StoredFiles | undefined;
  #published = false;
  #aborted = false;

  constructor(
    files: StoreFiles,
    pack: PackWriter,
    codec: CodecPool,
    segments: SegmentCache,
    pending: PendingCheckpoints,
    plan: CheckpointPlan,
  ) {
    this.number = plan.number;
    this.#plan = plan;
    this.#files = files;
    this.#pack = pack;
    this.#codec = codec;
    this.#segments = segments;
    this.#pending = pending;
  }

  /** Number of the pack that blocks go into. */
  get pack(): number {
    return this.#pack.pack;
  }

  /** The number of a block to be written later, so that the index can name its slots now. */
  reserveBlock(): number {
    return this.#pack.reserve();
  }

  /**
   * Queues a reserved block; blocks lie in the pack in the order of these calls. What encoding or writing throws is
   * thrown by the next `ready` or by `commit`.
   * @param digests 16 bytes for each page in the block, or for the page that each difference gives.
   * @returns resolves, even after a failure, when the content is no longer needed.
   */
  writeBlock(
    block: number,
    kind: 'pages' | 'page-deltas',
    digests: Uint8Array,
    content: Promise<BlockToWrite>,
  ): Promise<void> {
    return this.#pack.writePages(block, kind, digests, content);
  }

  /** Encodes raw bytes in the codec pool and queues them; `raw` must not change until they are written. */
  encodeBlock(block: number, kind: 'pages' | 'page-deltas', digests: Uint8Array, raw: Uint8Array): void {
    void this.writeBlock(block, kind, digests, encodeInPool(this.#codec, raw, this.#plan.compression));
  }

  /** Waits until few enough blocks are under way; call it between batches to stay bounded in memory. */
  async ready(): Promise<void> {
    await this.#pack.ready();
  }

  /**
   * An index for the pages of a process; processes are indexed one after another.
   * @param parent the index of the same process in the parent checkpoint, if pages are to be inherited from it.
   */
  buildIndex(parent: ProcessIndex | undefined): IndexBuilder {
    return new IndexBuilder(this.#pack, this.#codec, this.#plan.compression, parent, (reference, segment) => {
      if (!this.#aborted) this.#segments.add(reference, segment);
    });
  }

  /** Completes a process whose pages have all been added to `builder`. */
  async finishProcess(process: NewProcess, builder: IndexBuilder, trackerState?: Uint8Array): Promise<void> {
    const { pid, parentPid, name, fingerprint, sharedMemory, vmas } = process;
    const { segments, packs } = await builder.finish();
    for (const pack of packs) this.#packs.add(pack);
    let zeroPages = 0;
    let dataPages = 0;
    for (const segment of segments) {
      zeroPages += segment.zeroPages;
      dataPages += segment.dataPages;
    }
    const root = await this.#writeBlob('index-root', encodeRoot(segments));
    this.#processes.push({
      pid,
      parentPid,
      name,
      ...(fingerprint === undefined ? {} : { fingerprint }),
      ...(sharedMemory === undefined ? {} : { sharedMemory }),
      vmas,
      index: { root, segments: segments.length, zeroPages, dataPages },
      trackerState: trackerState === undefined ? null : await this.#writeBlob('blob', trackerState),
    });
    this.#digested.push({ pid, vmas, segments });
  }

  /** The memory digest of the processes that are complete. */
  get memoryDigest(): string {
    return memoryDigest(this.#digested);
  }

  /** Keeps the target's state beyond memory. */
  async setState(state: {
    readonly format: string;
    readonly bytes: Uint8Array;
    readonly summary: Readonly<Record<string, unknown>>;
  }): Promise<void> {
    const content = await this.#writeBlob('blob', state.bytes);
    this.#state = { format: state.format, summary: state.summary, content };
  }

  /**
   * Keeps files byte for byte. No pages may be written meanwhile.
   * @throws StoreFullError, StoreUnusableError; what reading the content throws
   */
  async setFiles({ format, listing, content }: NewFiles): Promise<void> {
    this.#keptFiles = {
      format,
      listing: await this.#writeBlob('blob', listing),
      content: await writeBlobStream(this.#pack, this.#codec, this.#plan.compression, 'blob', content),
    };
  }

  /**
   * Makes the checkpoint exist: pack synced, renamed and its directory synced, then the manifest the same way.
   * @throws StoreFullError, StoreUnusableError; the store is then as it was before, after `abort`.
   */
  async commit(facts: CheckpointFacts): Promise<Manifest> {
    const storedBytes = await this.#pack.finish();
    this.#published = true;
    await this.#pack.publish();
    const manifest = this.#manifest(facts, storedBytes);
    const text = encodeManifest(manifest);
    // A manifest that could not be read back would be noticed only when it is needed.
    decodeManifest(text, this.number);
    await this.#files.replaceText('checkpoints', `${formatNumber(this.number)}.json`, text, 'manifest');
    this.#pending.end(this.pack);
    return manifest;
  }

  /** Gives the checkpoint up and removes what was written of it. */
  async abort(): Promise<void> {
    // The next checkpoint's pack will have the same number and other contents.
    this.#aborted = true;
    this.#segments.clear();
    await this.#pack.abort();
    this.#pending.end(this.pack);
    // If only the very last step failed the manifest may be there, and then its pack has to stay.
    if (this.#published) await removeUnneededPacks(this.#files, this.#pending);
  }

  #manifest(facts: CheckpointFacts, storedBytes: number): Manifest {
    const { preDump, notRestorable, target, tracker, pages, warnings, times } = facts;
    const { rewrites } = this.#plan;
    const processes = [...this.#processes].sort((a, b) => a.pid - b.pid);
    const zero = processes.reduce((sum, { index }) => sum + index.zeroPages, 0);
    const present = processes.reduce((sum, { index }) => sum + index.dataPages, zero);
    const mapped = processes.flatMap(({ vmas }) => vmas).reduce((sum, vma) => sum + pageCountOf(vma), 0);
    return {
      number: this.number,
      kind: this.#plan.parent === null ? 'base' : 'delta',
      parent: this.#plan.parent,
      preDump,
      ...(notRestorable === undefined ? {} : { notRestorable }),
      createdAt: facts.createdAt ?? new Date().toISOString(),
      target,
      pack: rewrites?.pack ?? this.pack,
      packs: [...this.#packs.add(this.pack)].sort((a, b) => a - b),
      codec: this.#plan.compression,
      tracker,
      processes,
      state: this.#state,
      ...(this.#keptFiles === undefined ? {} : { files: this.#keptFiles }),
      pages: { mapped, present, zero, ...pages },
      bytes: { memory: present * PAGE_SIZE, stored: storedBytes + (rewrites?.bytes.stored ?? 0) },
      microseconds: times(),
      warnings,
      memoryDigest: this.memoryDigest,
    };
  }

  async #writeBlob(kind: BlockKind, bytes: Uint8Array) {
    return writeBlob(this.#pack, this.#codec, this.#plan.compression, kind, bytes);
  }
}
