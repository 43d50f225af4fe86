import { applyPageDelta, digestPage, PAGE_DIGEST_BYTES } from '../codec/index.ts';
import { formatPageAddress, IntegrityError, PAGE_SIZE, type PageRangeList } from '../core/index.ts';
import {
  blockOfPosition,
  decodeDeltaBlock,
  describeLocation,
  lowerBoundInSegment,
  SEGMENT_PAGES,
  type Segment,
  type SegmentReference,
  sameDigest,
  slotOfPosition,
  windowStartOf,
} from '../image/index.ts';
import type { BlockLease } from './block-cache.ts';
import type { BlockSource } from './block-source.ts';
import type { ProcessIndex } from './process-index.ts';

/** Adjacent pages of a process, read from the store. */
export interface PageRun {
  readonly startPage: number;
  readonly pageCount: number;
  /** Their contents, valid until the next run is asked for; undefined for pages of zeros. */
  readonly bytes: Uint8Array | undefined;
}

/**
 * Which version of a page is read. `newest`: what the page held, proved by its digest. `whole`: the version that is
 * stored whole, which is what a new difference must refer to.
 */
export type PageVersion = 'newest' | 'whole';

/** What to read, and how. */
export interface ReadOptions {
  /** Only these pages; those that do not exist are left out. */
  readonly ranges?: PageRangeList | undefined;
  readonly version?: PageVersion;
  /**
   * Makes damage no failure: pages that cannot be proved are left out and named here. Of a damaged index segment that
   * is its whole window, whether or not a page existed there.
   */
  readonly onLost?: (startPage: number, endPage: number, why: IntegrityError) => void;
}

/** Data pages handed out together. */
const RUN_PAGES = 64;

/**
 * Blocks of pages asked for ahead, so that they decode in parallel. Twice as many must fit the cache of decoded blocks:
 * of scattered pages each has a block of its own, and one that is pushed out before its turn is decoded again.
 */
const READ_AHEAD_BLOCKS = 48;

/** Entries that are searched for the digests of a block: its pages mostly lie together. */
const SEARCHED_ENTRIES = 512;

/**
 * Reads pages in address order. Each block is read and decoded once as long as the pages that share it lie near each
 * other, which the order of a dump sees to; blocks ahead are decoded meanwhile.
 * @throws IntegrityError naming pack, block, offset and page, unless `onLost` is given.
 */
export async function* readPages(
  source: BlockSource,
  index: ProcessIndex,
  options: ReadOptions = {},
): AsyncGenerator<PageRun> {
  const { ranges } = options;
  const gatherer = new RunGatherer();
  const behind = ranges === undefined ? Number.POSITIVE_INFINITY : endOf(ranges);
  for (let number = index.firstAt(startOf(ranges)); number < index.segments.length; number++) {
    const reference = index.segments[number]!;
    if (reference.startPage >= behind) break;
    const windowEnd = reference.startPage + SEGMENT_PAGES;
    const wanted = ranges?.within(reference.startPage, windowEnd);
    if (wanted !== undefined && wanted.rangeCount === 0) continue;
    const segment = await loadSegment(index, reference, options);
    if (segment === undefined) continue;
    const reader = new SegmentReader(source, segment, selectEntries(segment, wanted), options);
    try {
      for (let at = 0; at < reader.entries.length; at++) {
        const entry = reader.entries[at]!;
        const page = segment.startPage + segment.offsets[entry]!;
        const isZero = segment.packs[entry] === 0;
        const full = gatherer.flushUnlessNext(page, isZero);
        if (full !== undefined) yield full;
        if (isZero) gatherer.addZero();
        else if (!(await reader.readInto(at, gatherer.nextPage()))) gatherer.dropLast();
      }
    } finally {
      reader.release();
    }
  }
  const rest = gatherer.flush();
  if (rest !== undefined) yield rest;
}

async function loadSegment(
  index: ProcessIndex,
  reference: SegmentReference,
  { onLost }: ReadOptions,
): Promise<Segment | undefined> {
  try {
    return (await index.load(reference)).segment;
  } catch (cause) {
    if (onLost === undefined || !(cause instanceof IntegrityError)) throw cause;
    onLost(reference.startPage, reference.startPage + SEGMENT_PAGES, cause);
    return undefined;
  }
}

function startOf(ranges: PageRangeList | undefined): number {
  return ranges === undefined || ranges.rangeCount === 0 ? 0 : windowStartOf(ranges.startPage(0));
}

function endOf(ranges: PageRangeList): number {
  return ranges.rangeCount === 0 ? 0 : ranges.endPage(ranges.rangeCount - 1);
}

function selectEntries(segment: Segment, wanted: PageRangeList | undefined): Uint16Array {
  const entries = new Uint16Array(segment.count);
  let count = 0;
  const add = (from: number, to: number) => {
    for (let entry = from; entry < to; entry++) entries[count++] = entry;
  };
  if (wanted === undefined) add(0, segment.count);
  else {
    for (const { startPage, endPage } of wanted) {
      add(lowerBoundInSegment(segment, startPage), lowerBoundInSegment(segment, endPage));
    }
  }
  return entries.subarray(0, count);
}

/** Joins pages into runs. */
class RunGatherer {
  readonly #bytes = new Uint8Array(RUN_PAGES * PAGE_SIZE);
  #startPage = 0;
  #pageCount = 0;
  #zero = false;

  /** The run gathered so far, if `page` cannot be added to it. */
  flushUnlessNext(page: number, zero: boolean): PageRun | undefined {
    const fits = page === this.#startPage + this.#pageCount && zero === this.#zero;
    if (fits && (zero || this.#pageCount < RUN_PAGES)) return undefined;
    const run = this.flush();
    this.#startPage = page;
    this.#zero = zero;
    return run;
  }

  addZero(): void {
    this.#pageCount++;
  }

  /** Room for the next page. */
  nextPage(): Uint8Array {
    const at = this.#pageCount++ * PAGE_SIZE;
    return this.#bytes.subarray(at, at + PAGE_SIZE);
  }

  /** Takes back the room that `nextPage` gave last. */
  dropLast(): void {
    this.#pageCount--;
  }

  flush(): PageRun | undefined {
    if (this.#pageCount === 0) return undefined;
    const bytes = this.#zero ? undefined : this.#bytes.subarray(0, this.#pageCount * PAGE_SIZE);
    const run = { startPage: this.#startPage, pageCount: this.#pageCount, bytes };
    this.#pageCount = 0;
    return run;
  }
}

/** Reads chosen entries of one segment. */
class SegmentReader {
  readonly entries: Uint16Array;
  readonly #source: BlockSource;
  readonly #segment: Segment;
  readonly #options: ReadOptions;
  readonly #newest: boolean;
  #ahead = 0;
  /** The entry at which to look ahead again: half of what was asked for is then still to come. */
  #lookAgainAt = 0;
  #whole: CurrentBlock | undefined;
  #deltas: CurrentBlock | undefined;

  constructor(source: BlockSource, segment: Segment, entries: Uint16Array, options: ReadOptions) {
    this.#source = source;
    this.#segment = segment;
    this.entries = entries;
    this.#options = options;
    this.#newest = options.version !== 'whole';
  }

  /** Gives back the blocks that were read last. */
  release(): void {
    this.#whole?.lease.release();
    this.#deltas?.lease.release();
    this.#whole = undefined;
    this.#deltas = undefined;
  }

  /** Reads data page number `at` of `entries`; false if it is lost and that is no failure. */
  async readInto(at: number, into: Uint8Array): Promise<boolean> {
    try {
      await this.#read(at, into);
      return true;
    } catch (cause) {
      const { onLost } = this.#options;
      if (onLost === undefined || !(cause instanceof IntegrityError)) throw cause;
      const page = this.#segment.startPage + this.#segment.offsets[this.entries[at]!]!;
      onLost(page, page + 1, cause);
      return false;
    }
  }

  async #read(at: number, into: Uint8Array): Promise<void> {
    if (at >= this.#lookAgainAt) this.#readAhead(at);
    const segment = this.#segment;
    const entry = this.entries[at]!;
    const isDelta = this.#newest && segment.deltaPacks[entry] !== 0;
    const whole = await this.#wholeBlock(at);
    const { block } = whole.lease;
    const slot = slotOfPosition(segment.positions[entry]!);
    const end = (slot + 1) * PAGE_SIZE;
    if (end > block.bytes.length) throw this.#damaged(entry, `${block.where} has no slot ${slot}`);
    into.set(block.bytes.subarray(slot * PAGE_SIZE, end));
    if (isDelta) this.#applyDelta(await this.#deltaBlock(entry), entry, into);
    else if (!this.#newest && segment.deltaPacks[entry] !== 0) return;
    else if (block.provenDigests && sameDigest(block.provenDigests, slot, segment.digests, entry)) return;
    if (!sameDigest(digestPage(into), 0, segment.digests, entry)) {
      throw this.#damaged(
        entry,
        `${(isDelta ? this.#deltas : whole)?.lease.block.where} does not hold its content`,
      );
    }
  }

  #applyDelta({ records }: CurrentBlock, entry: number, into: Uint8Array): void {
    const where = describeLocation(this.#segment.deltaPacks[entry]!, this.#segment.deltaPositions[entry]!);
    const record = records?.[slotOfPosition(this.#segment.deltaPositions[entry]!)];
    if (record === undefined) throw this.#damaged(entry, `there is no difference at ${where}`);
    applyPageDelta(into, record, into, `the difference at ${where}`);
  }

  async #wholeBlock(at: number): Promise<CurrentBlock> {
    const entry = this.entries[at]!;
    const pack = this.#segment.packs[entry]!;
    const block = blockOfPosition(this.#segment.positions[entry]!);
    if (this.#whole?.number !== block || this.#whole.pack !== pack) {
      const lease = await this.#requestWhole(at);
      this.#whole?.lease.release();
      this.#whole = { pack, number: block, lease };
    }
    return this.#whole;
  }

  async #deltaBlock(entry: number): Promise<CurrentBlock> {
    const pack = this.#segment.deltaPacks[entry]!;
    const number = blockOfPosition(this.#segment.deltaPositions[entry]!);
    if (this.#deltas?.number !== number || this.#deltas.pack !== pack) {
      const lease = await this.#source.lease(pack, number, 'page-deltas');
      try {
        const records = decodeDeltaBlock(lease.block.bytes, lease.block.where);
        this.#deltas?.lease.release();
        this.#deltas = { pack, number, lease, records };
      } catch (cause) {
        lease.release();
        throw cause;
      }
    }
    return this.#deltas;
  }

  /** Begins to decode the blocks of the entries behind `at`. Failures are met again when the page is read. */
  #readAhead(at: number): void {
    let lastWhole = -1;
    let blocks = 0;
    let next = Math.max(at, this.#ahead);
    for (; next < this.entries.length && blocks < READ_AHEAD_BLOCKS; next++) {
      const entry = this.entries[next]!;
      const whole = blockOfPosition(this.#segment.positions[entry]!);
      if (this.#segment.packs[entry] === 0 || whole === lastWhole) continue;
      this.#requestWhole(next).then(
        (lease) => lease.release(),
        () => undefined,
      );
      lastWhole = whole;
      blocks++;
    }
    this.#ahead = next;
    this.#lookAgainAt = at + Math.ceil((next - at) / 2);
  }

  async #requestWhole(at: number): Promise<BlockLease> {
    const entry = this.entries[at]!;
    const block = blockOfPosition(this.#segment.positions[entry]!);
    return this.#source.lease(this.#segment.packs[entry]!, block, 'pages', (itemCount) =>
      this.#digestsOfBlock(at, itemCount),
    );
  }

  /** The digests of all pages of a block, if the entries near `at` name them all and one bad page may fail the block. */
  #digestsOfBlock(at: number, itemCount: number): Uint8Array | undefined {
    if (this.#options.onLost !== undefined) return undefined;
    const segment = this.#segment;
    const pack = segment.packs[this.entries[at]!];
    const block = blockOfPosition(segment.positions[this.entries[at]!]!);
    const digests = new Uint8Array(itemCount * PAGE_DIGEST_BYTES);
    const found = new Uint8Array(itemCount);
    let missing = itemCount;
    const end = Math.min(this.entries.length, at + SEARCHED_ENTRIES);
    for (let next = at; next < end && missing > 0; next++) {
      const entry = this.entries[next]!;
      if (segment.packs[entry] !== pack || segment.deltaPacks[entry] !== 0) continue;
      const position = segment.positions[entry]!;
      const slot = slotOfPosition(position);
      if (blockOfPosition(position) !== block || slot >= itemCount || found[slot] === 1) continue;
      found[slot] = 1;
      missing--;
      digests.set(
        segment.digests.subarray(entry * PAGE_DIGEST_BYTES, (entry + 1) * PAGE_DIGEST_BYTES),
        slot * PAGE_DIGEST_BYTES,
      );
    }
    return missing === 0 ? digests : undefined;
  }

  #damaged(entry: number, found: string): IntegrityError {
    const page = this.#segment.startPage + this.#segment.offsets[entry]!;
    return new IntegrityError(`page ${formatPageAddress(page)} is damaged: ${found}`, {
      hint: "run 'ckpt verify' to list everything that is damaged",
      data: { address: formatPageAddress(page) },
    });
  }
}

interface CurrentBlock {
  readonly pack: number;
  readonly number: number;
  readonly lease: BlockLease;
  /** Only of a block of differences. */
  readonly records?: readonly Uint8Array[];
}
