import { type CodecPool, PAGE_DIGEST_BYTES } from '../codec/index.ts';
import { formatPageAddress, PageRangeList } from '../core/index.ts';
import {
  appendEntry,
  appendZeroPage,
  createSegment,
  encodeSegment,
  type GrowingSegment,
  lowerBoundInSegment,
  SEGMENT_PAGES,
  type Segment,
  type SegmentReference,
  sameEntry,
  segmentDigest,
  windowStartOf,
} from '../image/index.ts';
import { type Compression, encodeInPool } from './blobs.ts';
import type { BlockToWrite, PackWriter } from './pack-writer.ts';
import type { ProcessIndex } from './process-index.ts';

/** What is known of one window until it is complete. */
interface Window {
  readonly startPage: number;
  /** Pages that are not taken over from the parent. */
  own: GrowingSegment | undefined;
  readonly inherited: PageRangeList;
}

/** A segment that is ready to be referenced, and the packs that its pages need. */
interface FinishedSegment {
  readonly reference: SegmentReference;
  readonly packs: ReadonlySet<number>;
}

/**
 * Builds the page index of one process. Pages are added in ascending order, each once; a window is encoded as soon as
 * the first page behind it arrives. Unchanged windows are references to the parent's segments and cost nothing.
 */
export class IndexBuilder {
  readonly #writer: PackWriter;
  readonly #codec: CodecPool;
  readonly #compression: Compression;
  readonly #parent: ProcessIndex | undefined;
  readonly #onSegment: (reference: SegmentReference, segment: Segment) => void;
  readonly #segments: Promise<FinishedSegment | undefined>[] = [];
  #window: Window | undefined;
  #nextPage = 0;
  #tail: Promise<unknown> = Promise.resolve();

  /** @param onSegment is given each segment that is not the parent's, which stays as it is. */
  constructor(
    writer: PackWriter,
    codec: CodecPool,
    compression: Compression,
    parent: ProcessIndex | undefined,
    onSegment: (reference: SegmentReference, segment: Segment) => void,
  ) {
    this.#writer = writer;
    this.#codec = codec;
    this.#compression = compression;
    this.#parent = parent;
    this.#onSegment = onSegment;
  }

  /** Adds pages of zeros. */
  addZero(startPage: number, endPage: number): void {
    this.#eachWindow(startPage, endPage, (window, start, end) => {
      const own = ownOf(window);
      for (let page = start; page < end; page++) appendZeroPage(own, page);
    });
  }

  /** Adds a page that lies whole at (`pack`, `position`); its digest is at `digestOffset` of `digests`. */
  addWhole(page: number, digests: Uint8Array, digestOffset: number, pack: number, position: number): void {
    this.#add(page, digests, digestOffset, pack, position, 0, 0);
  }

  /**
   * Adds a page that is the whole page at (`pack`, `position`) with the difference at (`deltaPack`, `deltaPosition`)
   * applied. The first must be a whole page: differences never refer to differences.
   */
  addDelta(
    page: number,
    digests: Uint8Array,
    digestOffset: number,
    pack: number,
    position: number,
    deltaPack: number,
    deltaPosition: number,
  ): void {
    this.#add(page, digests, digestOffset, pack, position, deltaPack, deltaPosition);
  }

  /** Takes pages over from the parent, each of which must have them; `finish` throws RangeError if not. */
  addInherited(startPage: number, endPage: number): void {
    this.#eachWindow(startPage, endPage, (window, start, end) => window.inherited.append(start, end));
  }

  /**
   * Completes the last window and waits until all are encoded.
   * @returns the segments in address order, and every pack that they and their pages lie in.
   * @throws RangeError if a page was to be inherited that the parent does not have.
   */
  async finish(): Promise<{ segments: SegmentReference[]; packs: Set<number> }> {
    this.#closeWindow();
    const segments: SegmentReference[] = [];
    const packs = new Set<number>();
    for (const finished of await Promise.all(this.#segments)) {
      if (finished === undefined) continue;
      segments.push(finished.reference);
      for (const pack of finished.packs) packs.add(pack);
    }
    return { segments, packs };
  }

  #add(
    page: number,
    digests: Uint8Array,
    digestOffset: number,
    pack: number,
    position: number,
    deltaPack: number,
    deltaPosition: number,
  ): void {
    const own = ownOf(this.#windowFor(page, page + 1));
    const index = own.count++;
    own.offsets[index] = page - own.startPage;
    own.packs[index] = pack;
    own.positions[index] = position;
    own.deltaPacks[index] = deltaPack;
    own.deltaPositions[index] = deltaPosition;
    const to = index * PAGE_DIGEST_BYTES;
    for (let byte = 0; byte < PAGE_DIGEST_BYTES; byte++)
      own.digests[to + byte] = digests[digestOffset + byte]!;
  }

  #eachWindow(
    startPage: number,
    endPage: number,
    use: (window: Window, startPage: number, endPage: number) => void,
  ): void {
    for (let start = startPage; start < endPage; ) {
      const end = Math.min(endPage, windowStartOf(start) + SEGMENT_PAGES);
      use(this.#windowFor(start, end), start, end);
      start = end;
    }
  }

  #windowFor(startPage: number, endPage: number): Window {
    if (startPage < this.#nextPage) {
      throw new RangeError(`page ${formatPageAddress(startPage)} was added out of order`);
    }
    this.#nextPage = endPage;
    const windowStart = windowStartOf(startPage);
    if (this.#window?.startPage !== windowStart) {
      this.#closeWindow();
      this.#window = { startPage: windowStart, own: undefined, inherited: new PageRangeList() };
    }
    return this.#window;
  }

  /** Queues the current window. Its block number and its place in the pack are fixed here and now. */
  #closeWindow(): void {
    const window = this.#window;
    if (window === undefined) return;
    this.#window = undefined;
    const block = this.#writer.reserve();
    // Windows are finished one after another, which bounds memory to one decoded parent segment at a time.
    const finished = this.#tail.then(() => this.#finishWindow(window, block));
    this.#tail = finished.catch(() => undefined);
    this.#segments.push(finished.then((result) => result.finished));
    this.#segments.at(-1)?.catch(() => undefined);
    this.#writer.write(
      block,
      'index-segment',
      1,
      finished.then((result) => result.content),
    );
  }

  async #finishWindow(
    window: Window,
    block: number,
  ): Promise<{ finished: FinishedSegment | undefined; content: BlockToWrite | undefined }> {
    const parent = await this.#parent?.window(window.startPage);
    const segment = mergeWindow(window, parent?.segment);
    if (segment.count === 0) return { finished: undefined, content: undefined };
    const packs = packsOf(segment);
    if (parent !== undefined && sameSegment(segment, parent.segment)) {
      packs.add(parent.reference.location.pack);
      return { finished: { reference: parent.reference, packs }, content: undefined };
    }
    const content = await encodeInPool(this.#codec, encodeSegment(segment), this.#compression);
    let zeroPages = 0;
    for (let index = 0; index < segment.count; index++) if (segment.packs[index] === 0) zeroPages++;
    const location = { pack: this.#writer.pack, block };
    packs.add(location.pack);
    const { startPage } = segment;
    const counts = { zeroPages, dataPages: segment.count - zeroPages };
    const reference = { startPage, location, ...counts, digest: segmentDigest(segment) };
    this.#onSegment(reference, segment);
    return { finished: { reference, packs }, content };
  }
}

function ownOf(window: Window): GrowingSegment {
  window.own ??= createSegment(window.startPage);
  return window.own;
}

/** Joins a window's own pages with those that it takes over from the parent. */
function mergeWindow(window: Window, parent: Segment | undefined): Segment {
  if (window.inherited.rangeCount === 0) return ownOf(window);
  const merged = createSegment(window.startPage);
  const { own } = window;
  let nextOwn = 0;
  for (const { startPage, endPage } of window.inherited) {
    while (own !== undefined && nextOwn < own.count && own.startPage + own.offsets[nextOwn]! < startPage) {
      appendEntry(merged, own, nextOwn++);
    }
    inherit(merged, parent, startPage, endPage);
  }
  while (own !== undefined && nextOwn < own.count) appendEntry(merged, own, nextOwn++);
  return merged;
}

function inherit(
  merged: GrowingSegment,
  parent: Segment | undefined,
  startPage: number,
  endPage: number,
): void {
  let entry = parent === undefined ? 0 : lowerBoundInSegment(parent, startPage);
  for (let page = startPage; page < endPage; page++, entry++) {
    if (parent === undefined || entry >= parent.count || parent.startPage + parent.offsets[entry]! !== page) {
      throw new RangeError(
        `page ${formatPageAddress(page)} is to be inherited, but the parent does not have it`,
      );
    }
    appendEntry(merged, parent, entry);
  }
}

function sameSegment(segment: Segment, parent: Segment): boolean {
  if (segment.count !== parent.count) return false;
  for (let index = 0; index < segment.count; index++) {
    if (!sameEntry(segment, index, parent, index)) return false;
  }
  return true;
}

function packsOf(segment: Segment): Set<number> {
  const packs = new Set<number>();
  let previous = 0;
  let previousDelta = 0;
  for (let index = 0; index < segment.count; index++) {
    const pack = segment.packs[index]!;
    const deltaPack = segment.deltaPacks[index]!;
    if (pack !== previous && pack !== 0) packs.add(pack);
    if (deltaPack !== previousDelta && deltaPack !== 0) packs.add(deltaPack);
    previous = pack;
    previousDelta = deltaPack;
  }
  return packs;
}
