import { formatPageAddress, IntegrityError, PageRangeList } from '../core/index.ts';
import {
  decodeRoot,
  decodeSegment,
  type Segment,
  type SegmentReference,
  type StoredProcess,
  segmentDigest,
} from '../image/index.ts';
import { readBlob } from './blobs.ts';
import type { BlockSource } from './block-source.ts';
import { fillDigests } from './fill-digests.ts';

/** A decoded segment and its entry in the root. */
export interface LoadedSegment {
  readonly segment: Segment;
  readonly reference: SegmentReference;
}

/** The page index of one process of one checkpoint: complete, whatever the length of the chain. */
export class ProcessIndex {
  readonly process: StoredProcess;
  /** In address order. */
  readonly segments: readonly SegmentReference[];
  readonly #source: BlockSource;
  readonly #what: string;

  private constructor(
    process: StoredProcess,
    segments: SegmentReference[],
    source: BlockSource,
    what: string,
  ) {
    this.process = process;
    this.segments = segments;
    this.#source = source;
    this.#what = what;
  }

  /**
   * Reads the root of the index.
   * @param what names the process in errors: "process 1 of checkpoint 000003".
   * @throws IntegrityError
   */
  static async open(source: BlockSource, process: StoredProcess, what: string): Promise<ProcessIndex> {
    const name = `the index root of ${what}`;
    const segments = decodeRoot(await readBlob(source, process.index.root, 'index-root', name), name);
    let zeroPages = 0;
    let dataPages = 0;
    for (const segment of segments) {
      zeroPages += segment.zeroPages;
      dataPages += segment.dataPages;
    }
    const { index } = process;
    if (
      segments.length !== index.segments ||
      zeroPages !== index.zeroPages ||
      dataPages !== index.dataPages
    ) {
      throw new IntegrityError(`${name} is damaged: it does not have the pages that the manifest counts`);
    }
    return new ProcessIndex(process, segments, source, what);
  }

  /** The segment of the window that begins at `startPage`, or undefined if no page exists there. */
  async window(startPage: number): Promise<LoadedSegment | undefined> {
    const reference = this.referenceOf(startPage);
    return reference === undefined ? undefined : this.load(reference);
  }

  /** The root's entry for the window that begins at `startPage`. */
  referenceOf(startPage: number): SegmentReference | undefined {
    const found = this.segments[this.firstAt(startPage)];
    return found?.startPage === startPage ? found : undefined;
  }

  /** Number of the first segment whose window begins at or behind `startPage`. */
  firstAt(startPage: number): number {
    let low = 0;
    let high = this.segments.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.segments[middle]!.startPage < startPage) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * Decodes a segment of this index and proves it: its pages and their digests are those that the root stands for.
   * @throws IntegrityError
   */
  async load(reference: SegmentReference): Promise<LoadedSegment> {
    const segment = await this.#source.segments.load(reference, () => this.#read(reference));
    return { segment, reference };
  }

  /** All pages that exist, zero pages included. */
  async present(): Promise<PageRangeList> {
    const present = new PageRangeList();
    for (const reference of this.segments) {
      const { segment } = await this.load(reference);
      for (let index = 0; index < segment.count; ) {
        const start = index++;
        while (index < segment.count && segment.offsets[index] === segment.offsets[index - 1]! + 1) index++;
        const startPage = segment.startPage + segment.offsets[start]!;
        present.append(startPage, startPage + index - start);
      }
    }
    return present;
  }

  async #read(reference: SegmentReference): Promise<Segment> {
    const { pack, block } = reference.location;
    const { bytes, where } = await this.#source.block(pack, block, 'index-segment');
    const segment = decodeSegment(bytes, where);
    await fillDigests(this.#source, segment);
    let zeroPages = 0;
    for (let index = 0; index < segment.count; index++) if (segment.packs[index] === 0) zeroPages++;
    if (
      segment.startPage !== reference.startPage ||
      zeroPages !== reference.zeroPages ||
      segment.count - zeroPages !== reference.dataPages ||
      Buffer.compare(segmentDigest(segment), reference.digest) !== 0
    ) {
      throw new IntegrityError(
        `${where} is not the index segment of ${formatPageAddress(reference.startPage)} in ${this.#what}`,
        { hint: "run 'ckpt verify' to list everything that is damaged" },
      );
    }
    return segment;
  }
}
