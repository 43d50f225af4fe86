import { PAGE_DIGEST_BYTES } from '../codec/index.ts';
import { CheckpointNotFoundError, type PageRangeList } from '../core/index.ts';
import {
  type BlobReference,
  blockOfPosition,
  type DigestedProcess,
  describeProcess,
  formatNumber,
  type Manifest,
  memoryDigest,
  type Segment,
  type StoredProcess,
  slotOfPosition,
} from '../image/index.ts';
import { readBlob, readBlobPart } from './blobs.ts';
import type { BlockSource, ReadStatistics } from './block-source.ts';
import { type PageRun, type PageVersion, type ReadOptions, readPages } from './page-reader.ts';
import { ProcessIndex } from './process-index.ts';

/** Files as they were kept. */
export interface KeptFiles {
  /** Says who can read the listing. */
  readonly format: string;
  readonly listing: Uint8Array;
  /** All files together. */
  readonly contentBytes: number;
  /**
   * Reads a part of the content, in pieces of at most 256 KiB. Every block is proved by its checksum; reading the whole
   * proves the digest, too, before the last piece is handed out.
   * @throws RangeError beyond the content; IntegrityError, while it is read
   */
  read(offsetBytes: number, lengthBytes: number): AsyncIterable<Uint8Array>;
}

/** Reads one checkpoint. It needs no lock, and costs memory for a few dozen megabytes of decoded blocks. */
export class CheckpointReader {
  readonly manifest: Manifest;
  readonly #source: BlockSource;
  readonly #indexes = new Map<number, Promise<ProcessIndex>>();

  constructor(manifest: Manifest, source: BlockSource) {
    this.manifest = manifest;
    this.#source = source;
  }

  /** Blocks and bytes that the whole store handle has read so far. */
  get statistics(): Readonly<ReadStatistics> {
    return this.#source.statistics;
  }

  /**
   * The page index of a process.
   * @throws CheckpointNotFoundError if the checkpoint has no such process, IntegrityError if its root is damaged.
   */
  async index(pid: number): Promise<ProcessIndex> {
    const opened = this.#indexes.get(pid) ?? this.#openIndex(this.#process(pid));
    this.#indexes.set(pid, opened);
    return opened;
  }

  /**
   * The pages of a process in address order, each block read and decoded once.
   * @param ranges only these pages; those that do not exist are left out.
   * @throws IntegrityError naming pack, block, offset and page.
   */
  async *pages(
    pid: number,
    ranges?: PageRangeList,
    version: PageVersion = 'newest',
  ): AsyncGenerator<PageRun> {
    yield* readPages(this.#source, await this.index(pid), { ranges, version });
  }

  /**
   * Begins to decode the block that the whole version of an entry lies in, so that `pages` finds it decoded if it comes
   * there soon. Failures are met there too.
   * @param all whether all pages of the block are wanted: they are then proved while it is decoded, else one by one.
   */
  prefetch(segment: Segment, entry: number, all: boolean): void {
    const block = blockOfPosition(segment.positions[entry]!);
    const digestsOf = (itemCount: number) => (all ? digestsOfBlock(segment, entry, itemCount) : undefined);
    this.#source.lease(segment.packs[entry]!, block, 'pages', digestsOf).then(
      (lease) => lease.release(),
      () => undefined,
    );
  }

  /**
   * The pages of a process that can be proved, in address order; damage is reported instead of thrown.
   * @param onLost is told of pages that are left out, and why; of a damaged part of the index, whole windows.
   * @throws IntegrityError if the root of the process's index is damaged, so that nothing can be found.
   */
  async *salvage(
    pid: number,
    onLost: NonNullable<ReadOptions['onLost']>,
    ranges?: PageRangeList,
  ): AsyncGenerator<PageRun> {
    yield* readPages(this.#source, await this.index(pid), { ranges, onLost });
  }

  /** The state beyond memory; undefined if none was stored. */
  async state(): Promise<Uint8Array | undefined> {
    const { state } = this.manifest;
    return state === null ? undefined : this.#blob(state.content, 'the state');
  }

  /**
   * The files that are kept beside memory; undefined if there are none.
   * @throws IntegrityError if the listing is damaged
   */
  async files(): Promise<KeptFiles | undefined> {
    const { files } = this.manifest;
    if (files === undefined) return undefined;
    const { format, listing, content } = files;
    const what = `the files of ${this.#name}`;
    return {
      format,
      listing: await this.#blob(listing, 'the listing of the files'),
      contentBytes: content.bytes,
      read: (offsetBytes, lengthBytes) =>
        readBlobPart(this.#source, content, 'blob', what, offsetBytes, lengthBytes),
    };
  }

  /** What the tracker left for a process when it armed; undefined if nothing. */
  async trackerState(pid: number): Promise<Uint8Array | undefined> {
    const blob = this.#process(pid).trackerState;
    return blob === null ? undefined : this.#blob(blob, `the tracker state of process ${pid}`);
  }

  /**
   * The memory digest that follows from the roots of the page indexes. A restore computes it from what it restored
   * instead; both must be equal to the manifest's.
   */
  async memoryDigest(): Promise<string> {
    const processes: DigestedProcess[] = [];
    for (const { pid, vmas } of this.manifest.processes) {
      processes.push({ pid, vmas, segments: (await this.index(pid)).segments });
    }
    return memoryDigest(processes);
  }

  async #openIndex(process: StoredProcess): Promise<ProcessIndex> {
    return ProcessIndex.open(this.#source, process, `${describeProcess(process)} of ${this.#name}`);
  }

  async #blob(blob: BlobReference, what: string): Promise<Uint8Array> {
    return readBlob(this.#source, blob, 'blob', `${what} of ${this.#name}`);
  }

  get #name(): string {
    return `checkpoint ${formatNumber(this.manifest.number)}`;
  }

  #process(pid: number): StoredProcess {
    const process = this.manifest.processes.find((candidate) => candidate.pid === pid);
    if (process !== undefined) return process;
    const known = this.manifest.processes.map((candidate) => candidate.pid).join(', ');
    throw new CheckpointNotFoundError(`${this.#name} has no process ${pid}`, { hint: `it has ${known}` });
  }
}

/** The digests of the pages of a block, if they lie in the segment as in the block, beginning with `entry`. */
function digestsOfBlock(segment: Segment, entry: number, itemCount: number): Uint8Array | undefined {
  const { packs, positions, deltaPacks, digests, count } = segment;
  if (slotOfPosition(positions[entry]!) !== 0 || entry + itemCount > count) return undefined;
  for (let slot = 0; slot < itemCount; slot++) {
    const at = entry + slot;
    const isInPlace = packs[at] === packs[entry] && positions[at] === positions[entry]! + slot;
    if (!isInPlace || deltaPacks[at] !== 0) return undefined;
  }
  return digests.slice(entry * PAGE_DIGEST_BYTES, (entry + itemCount) * PAGE_DIGEST_BYTES);
}
