import { type CodecPool, PAGE_DIGEST_BYTES, SharedBuffers } from '../../codec/index.ts';
import { PAGE_SIZE, PageRangeList } from '../../core/index.ts';
import type { Compression } from '../../store/index.ts';
import type { MessageOf } from '../wire/messages.ts';
import { BATCH_PAGES } from './sending-constants.ts';
import type { SourceProcess } from './source-process.ts';

/** Batches that the workers have while another one is sent. */
const BATCHES_AHEAD = 6;

/** Pages that were read together, ready to be sent. */
export interface ReadyBatch {
  readonly process: SourceProcess;
  /** Messages with what the destination lacks of them, in the order of addresses within each. */
  readonly messages: readonly MessageOf<'pages'>[];
  /** Pages that are sent, those of zeros included. */
  readonly sentPages: number;
  readonly zeroPages: number;
  /** Pages that were read, sent or not. */
  readonly readPages: number;
  /** The messages have been encoded: their bytes are not needed any longer. */
  readonly release: () => void;
}

interface Batch {
  readonly process: SourceProcess;
  readonly pages: Float64Array;
  readonly pageCount: number;
  readonly bytes: Uint8Array;
}

/** Reads pages of processes and has them digested and compressed in the codec pool, a few batches ahead of the sender. */
export class PagePipeline {
  readonly #pool: CodecPool;
  readonly #compression: Compression;
  readonly #buffers = new SharedBuffers(BATCHES_AHEAD + 2, BATCH_PAGES * PAGE_SIZE);

  constructor(pool: CodecPool, compression: Compression) {
    this.#pool = pool;
    this.#compression = compression;
  }

  /**
   * The pages of a list, in the order of addresses. What is no more, or is as the destination has it, is left out.
   * @param goesOn asked before each batch is read; after false the batches under way come, and nothing else
   * @throws TargetError if the process is gone
   */
  async *batches(
    process: SourceProcess,
    pages: PageRangeList,
    goesOn: () => boolean,
  ): AsyncGenerator<ReadyBatch> {
    const ahead: Promise<ReadyBatch>[] = [];
    try {
      for await (const batch of this.#read(process, pages, goesOn)) {
        const ready = this.#prepare(batch);
        // Observed here so that a rejection which is met later is not reported as unhandled in the meantime.
        ready.catch(() => undefined);
        ahead.push(ready);
        if (ahead.length > BATCHES_AHEAD) yield ahead.shift()!;
      }
      while (ahead.length > 0) yield ahead.shift()!;
    } finally {
      // A process that ends takes its batches with it; their buffers are for the next one.
      for (const ready of ahead) {
        ready.then(
          ({ release }) => release(),
          () => undefined,
        );
      }
    }
  }

  async *#read(process: SourceProcess, pages: PageRangeList, goesOn: () => boolean): AsyncGenerator<Batch> {
    let numbers = new Float64Array(BATCH_PAGES);
    let count = 0;
    let left = pages.pageCount;
    for (const { startPage, endPage } of pages) {
      for (let page = startPage; page < endPage; page++) {
        if (count === 0 && !goesOn()) return;
        numbers[count++] = page;
        if (--left > 0 && count < BATCH_PAGES) continue;
        yield await this.#readBatch(process, numbers, count);
        numbers = new Float64Array(BATCH_PAGES);
        count = 0;
      }
    }
  }

  /** Reads the listed pages; those that cannot be read are taken out. */
  async #readBatch(process: SourceProcess, pages: Float64Array, wanted: number): Promise<Batch> {
    const bytes = await this.#buffers.take();
    let kept = 0;
    try {
      for (let at = 0; at < wanted; ) {
        const read = readPages(process, pages, at, wanted - at, bytes.subarray(kept * PAGE_SIZE));
        for (let index = at; index < at + read; index++) {
          process.took(pages[index]!, true);
          pages[kept++] = pages[index]!;
        }
        at += read;
        if (read > 0 || at >= wanted) continue;
        process.took(pages[at]!, false);
        at++;
      }
    } catch (error) {
      this.#buffers.give(bytes);
      throw error;
    }
    return { process, pages, pageCount: kept, bytes };
  }

  async #prepare(batch: Batch): Promise<ReadyBatch> {
    const { process, pages, pageCount, bytes } = batch;
    const zeros = new PageRangeList();
    const others = new PageRangeList();
    if (pageCount > 0) {
      const { digests, zeroFlags } = await this.#pool.digestPages(bytes, pageCount);
      let kept = 0;
      for (let index = 0; index < pageCount; index++) {
        const page = pages[index]!;
        if (process.digests.has(page, digests, index)) continue;
        process.digests.set(page, digests.subarray(index * PAGE_DIGEST_BYTES), 0);
        if (zeroFlags[index] === 1) zeros.append(page, page + 1);
        else {
          if (kept !== index) bytes.copyWithin(kept * PAGE_SIZE, index * PAGE_SIZE, (index + 1) * PAGE_SIZE);
          kept++;
          others.append(page, page + 1);
        }
      }
    }
    const messages = [...zeroMessage(process, zeros), ...(await this.#dataMessage(process, others, bytes))];
    const sentPages = zeros.pageCount + others.pageCount;
    return {
      process,
      messages,
      sentPages,
      zeroPages: zeros.pageCount,
      readPages: pageCount,
      release: () => this.#buffers.give(bytes),
    };
  }

  async #dataMessage(
    process: SourceProcess,
    ranges: PageRangeList,
    bytes: Uint8Array,
  ): Promise<MessageOf<'pages'>[]> {
    if (ranges.pageCount === 0) return [];
    const raw = bytes.subarray(0, ranges.pageCount * PAGE_SIZE);
    const { name, level } = this.#compression;
    const { codec, stored, checksum } = await this.#pool.compress(raw, name, level, bytes);
    const encoding = codec === 'zstd' ? 'zstd' : 'raw';
    return [{ type: 'pages', pid: process.view.pid, ranges, encoding, checksum, bytes: stored }];
  }
}

function zeroMessage(process: SourceProcess, ranges: PageRangeList): MessageOf<'pages'>[] {
  if (ranges.pageCount === 0) return [];
  const { pid } = process.view;
  return [{ type: 'pages', pid, ranges, encoding: 'zero', checksum: 0, bytes: new Uint8Array() }];
}

/** Reads pages from `from` on; adjacent ones only, where scattered ones cannot be read at once. */
function readPages(
  { view }: SourceProcess,
  pages: Float64Array,
  from: number,
  count: number,
  into: Uint8Array,
): number {
  if (view.readPages !== undefined) return view.readPages(pages, from, count, into);
  let run = 1;
  while (run < count && pages[from + run] === pages[from]! + run) run++;
  return view.readMemory(pages[from]!, run, into);
}
