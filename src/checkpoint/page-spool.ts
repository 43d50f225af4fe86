import { PAGE_SIZE } from '../core/index.ts';
import type { ScratchFile } from './scratch-file.ts';

/** Pages per chunk: 1 MiB, large enough that a read costs its bytes and not its call. */
export const SPOOL_CHUNK_PAGES = 256;

/** Bytes of a full chunk. */
const CHUNK_BYTES = SPOOL_CHUNK_PAGES * PAGE_SIZE;

/** Chunks kept for reuse. */
const FREE_CHUNKS = 8;

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

  /** Gives a chunk back. */
  give(chunk: PageChunk): void {
    chunk.pageCount = 0;
    if (this.#free.length < FREE_CHUNKS) this.#free.push(chunk);
  }
}

interface Spilled {
  readonly processIndex: number;
  readonly pages: Float64Array;
  readonly offsetBytes: number;
}

/**
 * Holds what was copied while the target stood still until it runs again and there is time to encode. Up to a limit
 * the copy stays in memory; beyond it, it goes raw to a scratch file, so that ckpt's memory is bounded whatever the
 * target's size and the freeze waits for no compression.
 */
export class PageSpool {
  readonly #scratch: ScratchFile;
  readonly #memoryChunks: number;
  readonly #resident: PageChunk[] = [];
  readonly #spilled: Spilled[] = [];
  readonly #supply: ChunkSupply;
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

  /** Keeps a filled chunk; it belongs to the spool afterwards. */
  append(chunk: PageChunk): void {
    this.#pageCount += chunk.pageCount;
    if (chunk.pageCount === 0) this.#supply.give(chunk);
    else if (this.#spilled.length === 0 && this.#resident.length < this.#memoryChunks)
      this.#resident.push(chunk);
    else this.#spill(chunk);
  }

  /** The chunks in the order in which they came. The taker gives each back to the supply. */
  *drain(): Generator<PageChunk> {
    for (let chunk = this.#resident.shift(); chunk !== undefined; chunk = this.#resident.shift()) {
      this.#pageCount -= chunk.pageCount;
      yield chunk;
    }
    for (const { processIndex, pages, offsetBytes } of this.#spilled.splice(0)) {
      const chunk = this.#supply.take();
      chunk.processIndex = processIndex;
      chunk.pageCount = pages.length;
      chunk.pages.set(pages);
      this.#scratch.read(offsetBytes, pages.length * PAGE_SIZE, chunk.bytes);
      this.#pageCount -= chunk.pageCount;
      yield chunk;
    }
  }

  #spill(chunk: PageChunk): void {
    const offsetBytes = this.#scratch.append(chunk.bytes.subarray(0, chunk.pageCount * PAGE_SIZE));
    this.#spilled.push({
      processIndex: chunk.processIndex,
      pages: chunk.pages.slice(0, chunk.pageCount),
      offsetBytes,
    });
    this.#supply.give(chunk);
  }
}
