import {
  type CodecPool,
  encodePageDelta,
  MAX_PAGE_DELTA_BYTES,
  PAGE_DIGEST_BYTES,
  type PageDigests,
  SharedBuffers,
} from '../codec/index.ts';
import { PAGE_SIZE, PageRangeList } from '../core/index.ts';
import { BLOCK_PAGES, encodeDeltaBlock, MAX_BLOCK_SLOTS, positionOf } from '../image/index.ts';
import type {
  CheckpointReader,
  CheckpointWriter,
  Compression,
  KnownPages,
  ProcessIndex,
} from '../store/index.ts';
import {
  copyFromSegment,
  createPageEntries,
  ENTRY_KIND,
  type PageEntries,
  setWhole,
} from './page-entries.ts';
import { type PageChunk, SPOOL_CHUNK_PAGES } from './page-spool.ts';
import type { PreviousPages } from './previous-pages.ts';
import { ReadAhead } from './read-ahead.ts';

/** Blocks that may be filled, compressed or waiting to be written at once: 64 KiB each. */
const BLOCKS_UNDER_WAY = 48;

/** Chunks that may be compressed or waiting to be written at once, besides. */
const CHUNKS_UNDER_WAY = 6;

/** A difference longer than this would often not be smaller than the page's share of a compressed block. */
const DELTA_LIMIT_BYTES = MAX_PAGE_DELTA_BYTES / 2;

/** Differences put together in one block: about the bytes of a block of pages. */
const DELTA_BLOCK_BYTES = BLOCK_PAGES * PAGE_SIZE;

interface FillingBlock {
  readonly block: number;
  readonly buffer: Uint8Array;
  /** 16 bytes a page. */
  readonly digests: Uint8Array;
  pageCount: number;
}

interface FillingDeltas {
  readonly block: number;
  readonly records: Uint8Array[];
  /** Of the pages that the differences give. */
  readonly digests: Uint8Array[];
  bytes: number;
}

/**
 * Decides for every copied page how it is kept (zeros, as before, equal to a known page, as a difference, whole) and
 * sends what is new through the codec pool into the pack. What it decides depends on the pages alone, not on timing.
 */
export class PageEncoder {
  readonly #writer: CheckpointWriter;
  readonly #pool: CodecPool;
  readonly #compression: Compression;
  readonly #known: KnownPages;
  readonly #parent: CheckpointReader | undefined;
  readonly #buffers = new SharedBuffers(BLOCKS_UNDER_WAY, BLOCK_PAGES * PAGE_SIZE);
  readonly #entries = createPageEntries(SPOOL_CHUNK_PAGES);
  readonly #deltaBuffer = new Uint8Array(MAX_PAGE_DELTA_BYTES);
  /** Pages of the chunk under way that go into blocks straight from it, and the numbers of these blocks. */
  readonly #straight = new Uint16Array(SPOOL_CHUNK_PAGES);
  readonly #straightBlocks: number[] = [];
  #straightCount = 0;
  readonly #chunksUnderWay: Promise<void>[] = [];
  #released: Promise<void> = Promise.resolve();
  /** Pages of several chunks. */
  #filling: FillingBlock | undefined;
  #deltas: FillingDeltas | undefined;
  readonly #worth = new DeltaWorth();
  /** Pages that are not as they were before. */
  changedPages = 0;
  /** Changed pages found equal to one that the store has. */
  sharedPages = 0;
  /** Pages put into the pack, whole or as a difference. */
  writtenPages = 0;

  constructor(
    writer: CheckpointWriter,
    pool: CodecPool,
    compression: Compression,
    known: KnownPages,
    parent: CheckpointReader | undefined,
  ) {
    this.#writer = writer;
    this.#pool = pool;
    this.#compression = compression;
    this.#known = known;
    this.#parent = parent;
  }

  /**
   * Encodes the pages of a chunk, all of process `pid`.
   * @returns where each page is now; valid until the next call. What the chunk holds is lost, and it may be reused when
   *   `released` has resolved.
   */
  async encode(
    chunk: PageChunk,
    found: PageDigests,
    previous: PreviousPages,
    pid: number,
    ahead?: ReadAhead,
  ): Promise<PageEntries> {
    const entries = this.#entries;
    entries.digests.set(found.digests.subarray(0, chunk.pageCount * PAGE_DIGEST_BYTES));
    const candidates: number[] = [];
    for (let index = 0; index < chunk.pageCount; index++) {
      const page = chunk.pages[index]!;
      if (!previous.covers(page)) await previous.enter(page);
      if (!this.#keepKnown(entries, index, found, previous, page)) {
        if (this.#isDeltaCandidate(previous)) {
          // Until the difference is taken, the entry says where the version lies that it will refer to.
          copyFromSegment(entries, index, previous.segment!, previous.index);
          candidates.push(index);
        } else if (this.#filling === undefined) this.#storeStraight(entries, index);
        else this.#copyWhole(this.#filling, chunk, entries, index);
      }
    }
    await this.#carryOver(chunk, entries);
    if (candidates.length > 0) await this.#storeDifferences(chunk, entries, candidates, pid, ahead);
    ahead?.pass(chunk.pages[chunk.pageCount - 1]!);
    this.#sendStraight(chunk, entries);
    if (this.#chunksUnderWay.length > CHUNKS_UNDER_WAY) await this.#chunksUnderWay.shift();
    await this.#writer.ready();
    return entries;
  }

  /** Resolves when the chunk of the last `encode` is no longer needed. Never rejects. */
  get released(): Promise<void> {
    return this.#released;
  }

  /** Older versions of pages, to be fetched before the pages are encoded. */
  readAhead(parent: CheckpointReader, index: ProcessIndex): ReadAhead {
    return new ReadAhead(parent, index, () => this.#worth.isWorthIt);
  }

  /** Writes the blocks that are not full. */
  async finish(): Promise<void> {
    this.#flushBlock();
    this.#flushDeltas();
    await this.#writer.ready();
  }

  /** Tries everything that stores no bytes. */
  #keepKnown(
    entries: PageEntries,
    index: number,
    found: PageDigests,
    previous: PreviousPages,
    page: number,
  ): boolean {
    entries.kinds[index] = ENTRY_KIND.own;
    const hasPrevious = previous.find(page);
    if (hasPrevious && previous.hasDigest(entries.digests, index)) {
      if (previous.fromParent) entries.kinds[index] = ENTRY_KIND.inherited;
      copyFromSegment(entries, index, previous.segment!, previous.index);
      return true;
    }
    this.changedPages++;
    if (found.zeroFlags[index] === 1) {
      setWhole(entries, index, 0, 0);
      return true;
    }
    if (!this.#known.find(entries.digests, index * PAGE_DIGEST_BYTES)) return false;
    setWhole(entries, index, this.#known.foundPack, this.#known.foundPosition);
    this.sharedPages++;
    return true;
  }

  /** Whether the page that `previous` stands on has an older version that a difference could refer to. */
  #isDeltaCandidate(previous: PreviousPages): boolean {
    if (this.#parent === undefined || !previous.fromParent || previous.index < 0) return false;
    if (previous.segment!.packs[previous.index] === 0) return false;
    return this.#worth.shouldTry();
  }

  /** Waits for a buffer. */
  async #beginBlock(block: number): Promise<FillingBlock> {
    const buffer = await this.#buffers.take();
    const digests = new Uint8Array(BLOCK_PAGES * PAGE_DIGEST_BYTES);
    this.#filling = { block, buffer, digests, pageCount: 0 };
    return this.#filling;
  }

  /** Gives a page of the chunk under way a place in a block that is made of pages of this chunk alone. */
  #storeStraight(entries: PageEntries, index: number): void {
    const slot = this.#straightCount % BLOCK_PAGES;
    if (slot === 0) this.#straightBlocks.push(this.#writer.reserveBlock());
    this.#straight[this.#straightCount++] = index;
    this.#placeWhole(entries, index, positionOf(this.#straightBlocks.at(-1)!, slot));
  }

  /** Copies the pages of a block that the chunk did not fill: those of the next chunk are to join them. */
  async #carryOver(chunk: PageChunk, entries: PageEntries): Promise<void> {
    const pageCount = this.#straightCount % BLOCK_PAGES;
    if (pageCount === 0) return;
    const filling = await this.#beginBlock(this.#straightBlocks.pop()!);
    this.#straightCount -= pageCount;
    for (let slot = 0; slot < pageCount; slot++) {
      copyPage(chunk, entries, this.#straight[this.#straightCount + slot]!, filling);
    }
  }

  /** Has the full blocks encoded where they lie. */
  #sendStraight(chunk: PageChunk, entries: PageEntries): void {
    const blocks = this.#straightBlocks.splice(0);
    const pages = this.#straight.slice(0, this.#straightCount);
    this.#straightCount = 0;
    this.#released = Promise.resolve();
    if (blocks.length === 0) return;
    const { name, level } = this.#compression;
    const encoded = this.#pool.compressPages(chunk.bytes, pages, BLOCK_PAGES, name, level);
    const digests = new Uint8Array(BLOCK_PAGES * PAGE_DIGEST_BYTES);
    for (const [number, block] of blocks.entries()) {
      for (let slot = 0; slot < BLOCK_PAGES; slot++) {
        digests.set(digestBytes(entries, pages[number * BLOCK_PAGES + slot]!), slot * PAGE_DIGEST_BYTES);
      }
      const content = encoded.then((all) => ({ ...all[number]!, rawBytes: BLOCK_PAGES * PAGE_SIZE }));
      // They are written in this order, so the last one has the last word.
      this.#released = this.#writer.writeBlock(block, 'pages', digests, content);
    }
    this.#chunksUnderWay.push(this.#released);
  }

  #copyWhole(filling: FillingBlock, chunk: PageChunk, entries: PageEntries, index: number): void {
    this.#placeWhole(entries, index, positionOf(filling.block, filling.pageCount));
    copyPage(chunk, entries, index, filling);
    if (filling.pageCount === BLOCK_PAGES) this.#flushBlock();
  }

  #placeWhole(entries: PageEntries, index: number, position: number): void {
    const { pack } = this.#writer;
    setWhole(entries, index, pack, position);
    this.#known.add(entries.digests, index * PAGE_DIGEST_BYTES, pack, position);
    this.writtenPages++;
  }

  /** Fetches the previous versions of the candidates and keeps the differences where they are small. */
  async #storeDifferences(
    chunk: PageChunk,
    entries: PageEntries,
    candidates: readonly number[],
    pid: number,
    ahead: ReadAhead | undefined,
  ): Promise<void> {
    const ranges = new PageRangeList();
    for (const index of candidates) ranges.append(chunk.pages[index]!, chunk.pages[index]! + 1);
    let next = 0;
    for await (const run of this.#parent!.pages(pid, ranges, 'whole')) {
      for (let page = 0; page < run.pageCount; page++) {
        const index = candidates[next++]!;
        ahead?.pass(chunk.pages[index]!);
        const older = run.bytes!.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
        const length = encodePageDelta(older, pageBytes(chunk, index), this.#deltaBuffer);
        const worthwhile = length >= 0 && length <= DELTA_LIMIT_BYTES;
        this.#worth.learn(worthwhile);
        if (worthwhile) this.#storeDelta(entries, index, this.#deltaBuffer.slice(0, length));
        else {
          const filling = this.#filling ?? (await this.#beginBlock(this.#writer.reserveBlock()));
          this.#copyWhole(filling, chunk, entries, index);
        }
      }
    }
  }

  #storeDelta(entries: PageEntries, index: number, record: Uint8Array): void {
    this.#deltas ??= { block: this.#writer.reserveBlock(), records: [], digests: [], bytes: 0 };
    const { block, records, digests } = this.#deltas;
    digests.push(digestBytes(entries, index).slice());
    entries.deltaPacks[index] = this.#writer.pack;
    entries.deltaPositions[index] = positionOf(block, records.length);
    records.push(record);
    this.writtenPages++;
    this.#deltas.bytes += record.length + 2;
    if (this.#deltas.bytes >= DELTA_BLOCK_BYTES || records.length === MAX_BLOCK_SLOTS) this.#flushDeltas();
  }

  #flushBlock(): void {
    const filling = this.#filling;
    if (filling === undefined) return;
    this.#filling = undefined;
    const { block, buffer, pageCount } = filling;
    const raw = buffer.subarray(0, pageCount * PAGE_SIZE);
    const digests = filling.digests.subarray(0, pageCount * PAGE_DIGEST_BYTES);
    // Encoded in place: an array for every block is garbage that piles up faster than it is collected.
    const encoded = this.#pool
      .compress(raw, this.#compression.name, this.#compression.level, raw)
      .then((result) => ({ ...result, rawBytes: raw.length }));
    const written = this.#writer.writeBlock(block, 'pages', digests, encoded);
    void written.then(() => this.#buffers.give(buffer));
  }

  #flushDeltas(): void {
    const deltas = this.#deltas;
    if (deltas === undefined) return;
    this.#deltas = undefined;
    this.#writer.encodeBlock(
      deltas.block,
      'page-deltas',
      Buffer.concat(deltas.digests),
      encodeDeltaBlock(deltas.records),
    );
  }
}

function digestBytes(entries: PageEntries, index: number): Uint8Array {
  return entries.digests.subarray(index * PAGE_DIGEST_BYTES, (index + 1) * PAGE_DIGEST_BYTES);
}

/** Puts a page behind those that a block has. */
function copyPage(chunk: PageChunk, entries: PageEntries, index: number, filling: FillingBlock): void {
  filling.buffer.set(pageBytes(chunk, index), filling.pageCount * PAGE_SIZE);
  filling.digests.set(digestBytes(entries, index), filling.pageCount * PAGE_DIGEST_BYTES);
  filling.pageCount++;
}

function pageBytes(chunk: PageChunk, index: number): Uint8Array {
  return chunk.bytes.subarray(index * PAGE_SIZE, (index + 1) * PAGE_SIZE);
}

/** Tries before the share of small differences is believed. */
const TRIES_TO_LEARN = 64;
/** Below this share of small differences, fetching the previous versions is not worth its time. */
const WORTHWHILE_SHARE = 0.25;
/** How often it is tried nevertheless, since programs change. */
const RETRY_INTERVAL = 16;

/** Learns whether this dump's pages change little, so that programs that rewrite whole pages pay little for asking. */
class DeltaWorth {
  #tries = 0;
  #small = 0;
  #skipped = 0;

  get isWorthIt(): boolean {
    return this.#tries < TRIES_TO_LEARN || this.#small >= this.#tries * WORTHWHILE_SHARE;
  }

  shouldTry(): boolean {
    if (this.isWorthIt) return true;
    this.#skipped++;
    return this.#skipped % RETRY_INTERVAL === 0;
  }

  learn(small: boolean): void {
    this.#tries++;
    if (small) this.#small++;
  }
}
