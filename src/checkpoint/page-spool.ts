import type { CodecPool, PageDigests } from '../codec/index.ts';
import { PAGE_SIZE } from '../core/index.ts';
import type { DigestedChunk } from './digested.ts';
import type { PagesAhead } from './read-ahead.ts';
import type { ScratchFile } from './scratch-file.ts';

/** Pages per chunk: 1 MiB, large enough that a read costs its bytes and not its call. */
export const SPOOL_CHUNK_PAGES = 256;

/** Bytes of a full chunk. */
const CHUNK_BYTES = SPOOL_CHUNK_PAGES * PAGE_SIZE;

/** Chunks kept for reuse. */
const FREE_CHUNKS = 16;

/** Pages copied out of a target, in ascending order of (process, page). */
export interface PageChunk {
  /** Index of the process in the dump's list. */
  processIndex: number;
  /** How many entries of `pages`, and pages of `bytes`, are in use. */
  pageCount: number;
  readonly pages: Float64Array;
  /** Shared with the worker threads. */
  readonly bytes: Uint8Array<SharedArrayBuffer>;
}

/** Chunks to fill, kept for reuse: a shared buffer costs more to make than to fill. */
export class ChunkSupply {
  readonly #free: PageChunk[] = [];

  /** An empty chunk. */
  take(): PageChunk {
    return (
      this.#free.pop() ?? {
        processIndex: 0,
        pageCount: 0,
        pages: new Float64Array(SPOOL_CHUNK_PAGES),
        bytes: new Uint8Array(new SharedArrayBuffer(CHUNK_BYTES)),
      }
    );
  }

  /** Gives a chunk back as soon as nobody works on it any more. */
  giveWhen(chunk: PageChunk, released: Promise<void>): void {
    void released.then(() => this.give(chunk));
  }

  /** Gives a chunk back. */
  give(chunk: PageChunk): void {
    chunk.pageCount = 0;
    if (this.#free.length < FREE_CHUNKS) this.#free.push(chunk);
  }
}

/** A chunk that was kept, in memory or in the scratch file, and the digests of its pages once they are known. */
interface Kept {
  readonly processIndex: number;
  readonly pageCount: number;
  chunk: PageChunk | undefined;
  readonly spilled: { readonly pages: Float64Array; readonly offsetBytes: number } | undefined;
  found: PageDigests | undefined;
}

/** Spilled chunks that are read back at a time to be digested. */
const CHUNKS_AHEAD = 4;

/**
 * Holds what was copied while the target stood still until it runs again and there is time to encode. Up to a limit
 * the copy stays in memory; beyond it, it goes raw to a scratch file, so that ckpt's memory is bounded whatever the
 * target's size and the freeze waits for no compression.
 */
export class PageSpool {
  readonly #scratch: ScratchFile;
  readonly #supply: ChunkSupply;
  readonly #memoryChunks: number;
  readonly #kept: Kept[] = [];
  #residentChunks = 0;
  #pageCount = 0;

  constructor(scratch: ScratchFile, supply: ChunkSupply, memoryLimitBytes: number) {
    this.#scratch = scratch;
    this.#supply = supply;
    this.#memoryChunks = Math.max(1, Math.floor(memoryLimitBytes / CHUNK_BYTES));
  }

  /** Pages held. */
  get pageCount(): number {
    return this.#pageCount;
  }

  /** Keeps a filled chunk, which belongs to the spool afterwards, and its digests if they are known. */
  append(chunk: PageChunk, found?: PageDigests): void {
    if (chunk.pageCount === 0) {
      this.#supply.give(chunk);
      return;
    }
    const { processIndex, pageCount } = chunk;
    this.#pageCount += pageCount;
    const isResident = this.#residentChunks < this.#memoryChunks;
    if (isResident) this.#residentChunks++;
    this.#kept.push({
      processIndex,
      pageCount,
      chunk: isResident ? chunk : undefined,
      spilled: isResident ? undefined : this.#spill(chunk),
      found,
    });
  }

  /** Computes the digests that are not known yet. */
  async digestAll(pool: CodecPool): Promise<void> {
    const unknown = this.#kept.filter(({ found }) => found === undefined);
    const digest = async (kept: Kept) => {
      const chunk = kept.chunk ?? this.#readBack(kept);
      kept.found = await pool.digestPages(chunk.bytes, chunk.pageCount);
      if (kept.chunk === undefined) this.#supply.give(chunk);
    };
    await Promise.all(unknown.filter(({ chunk }) => chunk !== undefined).map(digest));
    const spilled = unknown.filter(({ found }) => found === undefined);
    for (let at = 0; at < spilled.length; at += CHUNKS_AHEAD) {
      await Promise.all(spilled.slice(at, at + CHUNKS_AHEAD).map(digest));
    }
  }

  /** Calls `use` with the digests of all chunks, after `digestAll`. */
  forEachDigests(use: (digests: Uint8Array, pageCount: number) => void): void {
    for (const { found, pageCount } of this.#kept) if (found !== undefined) use(found.digests, pageCount);
  }

  /** The pages of a process that `drain` has not given out, after `digestAll`. */
  *pagesAhead(processIndex: number): Generator<PagesAhead> {
    for (const { processIndex: ofProcess, chunk, spilled, pageCount, found } of [...this.#kept]) {
      const pages = spilled?.pages ?? chunk?.pages;
      if (ofProcess === processIndex && pages !== undefined) yield { pages, pageCount, found: found! };
    }
  }

  /** The chunks in the order in which they came, after `digestAll`. The taker gives each back to the supply. */
  *drain(): Generator<DigestedChunk> {
    for (const kept of this.#kept) {
      const chunk = kept.chunk ?? this.#readBack(kept);
      this.#pageCount -= kept.pageCount;
      kept.chunk = undefined;
      yield { chunk, found: kept.found! };
    }
    this.#kept.length = 0;
    this.#residentChunks = 0;
  }

  /** The chunks in the order in which they came; each is valid until the next one is asked for, and stays kept. */
  *chunks(): Generator<PageChunk> {
    for (const kept of this.#kept) {
      const chunk = kept.chunk ?? this.#readBack(kept);
      yield chunk;
      if (kept.chunk === undefined) this.#supply.give(chunk);
    }
  }

  #spill(chunk: PageChunk): { readonly pages: Float64Array; readonly offsetBytes: number } {
    const offsetBytes = this.#scratch.append(chunk.bytes.subarray(0, chunk.pageCount * PAGE_SIZE));
    const pages = chunk.pages.slice(0, chunk.pageCount);
    this.#supply.give(chunk);
    return { pages, offsetBytes };
  }

  #readBack({ processIndex, pageCount, spilled }: Kept): PageChunk {
    const chunk = this.#supply.take();
    chunk.processIndex = processIndex;
    chunk.pageCount = pageCount;
    chunk.pages.set(spilled!.pages);
    this.#scratch.read(spilled!.offsetBytes, pageCount * PAGE_SIZE, chunk.bytes);
    return chunk;
  }
}
