import type { FileHandle } from 'node:fs/promises';
import { crc32, type EncodedBlock, PAGE_DIGEST_BYTES } from '../codec/index.ts';
import { StoreFullError } from '../core/index.ts';
import {
  BLOCK_HEADER_BYTES,
  type BlockDigests,
  type BlockKind,
  encodeDigestBlock,
  encodePackHeader,
  encodeTable,
  encodeTrailer,
  formatNumber,
  MAX_PACK_BLOCKS,
  NO_BLOCK,
  PACK_TRAILER_BYTES,
  type TableEntry,
  writeBlockHeader,
} from '../image/index.ts';
import type { StoreFiles } from './files.ts';
import { packFileName } from './layout.ts';
import type { RawBlock } from './pack-reader.ts';

/** A block on its way into a pack. */
export interface BlockToWrite extends EncodedBlock {
  readonly rawBytes: number;
}

const BUFFER_BYTES = 1024 * 1024;

/** Digests put together in one block: 64 KiB of them, which is 16 MiB of pages. */
const DIGESTS_A_BLOCK = 4096;

/** Blocks that may wait to be written before `ready` makes the producer wait. */
const MAX_PENDING_BLOCKS = 64;

/** A block of digests that is being filled. */
interface GatheredDigests {
  readonly block: number;
  readonly blocks: BlockDigests[];
  count: number;
}

/** Where the digests of a block lie. */
type DigestPlace = Pick<TableEntry, 'digestBlock' | 'firstDigest'>;

const NO_DIGESTS: DigestPlace = { digestBlock: NO_BLOCK, firstDigest: 0 };

/**
 * Writes one pack in tmp/. Blocks are numbered when they are reserved and written in the order of `write`, however
 * long each takes to encode; so the same dump gives the same bytes with any number of workers.
 */
export class PackWriter {
  readonly pack: number;
  readonly #files: StoreFiles;
  readonly #name: string;
  readonly #handle: FileHandle;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  #buffered = 0;
  #offset = 0;
  readonly #entries: TableEntry[] = [];
  readonly #unwritten = new Set<number>();
  #nextBlock = 0;
  #digests: GatheredDigests | undefined;
  #pending = 0;
  #tail: Promise<void> = Promise.resolve();
  #failure: { readonly cause: unknown } | undefined;
  #wake: (() => void) | undefined;
  #open = true;

  private constructor(files: StoreFiles, pack: number, name: string, handle: FileHandle) {
    this.#files = files;
    this.pack = pack;
    this.#name = name;
    this.#handle = handle;
  }

  /** Begins pack `pack` in tmp/. */
  static async create(files: StoreFiles, pack: number): Promise<PackWriter> {
    const name = `tmp/${formatNumber(pack)}.pack`;
    await files.remove(name, 'clean-up');
    const writer = new PackWriter(files, pack, name, await files.create(name, 'pack-create'));
    await writer.#append(encodePackHeader(pack));
    return writer;
  }

  /** The number that the next reserved block will have. */
  get nextBlock(): number {
    return this.#nextBlock;
  }

  /** The number of a block to be written later. */
  reserve(): number {
    return this.reserveMany(1);
  }

  /** The first of `count` consecutive block numbers. */
  reserveMany(count: number): number {
    const first = this.#nextBlock;
    this.#nextBlock += count;
    if (this.#nextBlock > MAX_PACK_BLOCKS) {
      throw new StoreFullError(
        `pack ${formatNumber(this.pack)} has no room for more than ${MAX_PACK_BLOCKS} blocks`,
        {
          hint: 'dump fewer processes at once',
        },
      );
    }
    for (let block = first; block < this.#nextBlock; block++) this.#unwritten.add(block);
    return first;
  }

  /**
   * Queues a reserved block without pages. `content` may still be encoding; undefined leaves a gap in the numbers.
   * Failures are thrown by the next `ready` or `finish`.
   */
  write(block: number, kind: BlockKind, itemCount: number, content: Promise<BlockToWrite | undefined>): void {
    void this.#queue(block, kind, itemCount, content, NO_DIGESTS);
  }

  /**
   * Queues a reserved block of pages or differences.
   * @param digests 16 bytes for each page in the block, or for the page that each difference gives.
   * @returns resolves, even after a failure, when the content is no longer needed.
   */
  writePages(
    block: number,
    kind: 'pages' | 'page-deltas',
    digests: Uint8Array,
    content: Promise<BlockToWrite>,
  ): Promise<void> {
    this.#digests ??= { block: this.reserve(), blocks: [], count: 0 };
    const gathered = this.#digests;
    const place = { digestBlock: gathered.block, firstDigest: gathered.count };
    const itemCount = digests.length / PAGE_DIGEST_BYTES;
    // Copied, so that the caller may use its array for the next block.
    gathered.blocks.push({ block, digests: digests.slice() });
    gathered.count += itemCount;
    const written = this.#queue(block, kind, itemCount, content, place);
    if (gathered.count >= DIGESTS_A_BLOCK) this.#flushDigests();
    return written;
  }

  /** Queues a block exactly as another pack has it; its digests have to be copied too. */
  copy({ header, stored }: RawBlock, digests: DigestPlace): void {
    const { block, kind, itemCount, codec, checksum, rawBytes } = header;
    this.#nextBlock = Math.max(this.#nextBlock, block + 1);
    this.#unwritten.add(block);
    void this.#queue(block, kind, itemCount, Promise.resolve({ codec, stored, checksum, rawBytes }), digests);
  }

  /**
   * Waits until few enough blocks are under way.
   * @throws whatever writing or encoding one of them threw
   */
  async ready(): Promise<void> {
    while (this.#pending >= MAX_PENDING_BLOCKS && this.#failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#failure !== undefined) throw this.#failure.cause;
  }

  /**
   * Writes table and trailer and makes the file durable; it stays in tmp/ until `publish`.
   * @returns its length in bytes.
   */
  async finish(): Promise<number> {
    this.#flushDigests();
    await this.#tail;
    if (this.#failure !== undefined) throw this.#failure.cause;
    if (this.#unwritten.size > 0) {
      throw new RangeError(`blocks ${[...this.#unwritten].join(', ')} were reserved and never written`);
    }
    const table = encodeTable([...this.#entries].sort((a, b) => a.block - b.block));
    const tableOffsetBytes = this.#offset;
    await this.#append(table);
    const trailer = { tableOffsetBytes, entryCount: this.#entries.length, tableChecksum: crc32(table) };
    await this.#append(encodeTrailer(trailer));
    await this.#flush();
    this.#files.reached('pack-sync');
    await this.#files.attempt('sync', this.#name, () => this.#handle.sync());
    await this.#close();
    return tableOffsetBytes + table.length + PACK_TRAILER_BYTES;
  }

  /** Gives the finished pack its name; it is durable afterwards. */
  async publish(): Promise<void> {
    await this.#files.rename(this.#name, packFileName(this.pack), 'pack-rename');
    await this.#files.syncDirectory('packs', 'pack-sync-directory');
  }

  /** Drops the pack. */
  async abort(): Promise<void> {
    this.#failure ??= { cause: new RangeError('the pack was given up') };
    await this.#tail;
    await this.#close();
    await this.#files.remove(this.#name, 'clean-up');
  }

  #queue(
    block: number,
    kind: BlockKind,
    itemCount: number,
    content: Promise<BlockToWrite | undefined>,
    digests: DigestPlace,
  ): Promise<void> {
    if (!this.#unwritten.delete(block)) throw new RangeError(`block ${block} is not reserved`);
    this.#pending++;
    // Observed here so that a rejection which is met later is not reported as unhandled in the meantime.
    content.catch(() => undefined);
    this.#tail = this.#tail.then(async () => {
      try {
        if (this.#failure === undefined) {
          const encoded = await content;
          if (encoded !== undefined) await this.#writeBlock(block, kind, itemCount, encoded, digests);
        }
      } catch (cause) {
        this.#failure ??= { cause };
      }
      this.#pending--;
      this.#wake?.();
    });
    return this.#tail;
  }

  #flushDigests(): void {
    const gathered = this.#digests;
    if (gathered === undefined) return;
    this.#digests = undefined;
    const stored = encodeDigestBlock(gathered.blocks);
    const content = { codec: 'none', stored, checksum: crc32(stored), rawBytes: stored.length } as const;
    void this.#queue(gathered.block, 'digests', 1, Promise.resolve(content), NO_DIGESTS);
  }

  async #writeBlock(
    block: number,
    kind: BlockKind,
    itemCount: number,
    { codec, stored, checksum, rawBytes }: BlockToWrite,
    digests: DigestPlace,
  ): Promise<void> {
    const header = new Uint8Array(BLOCK_HEADER_BYTES);
    writeBlockHeader(
      { block, kind, codec, itemCount, rawBytes, storedBytes: stored.length, checksum },
      header,
    );
    this.#entries.push({ block, offsetBytes: this.#offset, storedBytes: stored.length, ...digests });
    await this.#append(header);
    await this.#append(stored);
  }

  async #append(bytes: Uint8Array): Promise<void> {
    this.#offset += bytes.length;
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + BUFFER_BYTES - this.#buffered);
      this.#buffer.set(part, this.#buffered);
      this.#buffered += part.length;
      at += part.length;
      if (this.#buffered === BUFFER_BYTES) await this.#flush();
    }
  }

  async #flush(): Promise<void> {
    for (let at = 0; at < this.#buffered; ) {
      this.#files.reached('pack-write');
      const { bytesWritten } = await this.#files.attempt('write', this.#name, () =>
        this.#handle.write(this.#buffer, at, this.#buffered - at),
      );
      at += bytesWritten;
    }
    this.#buffered = 0;
  }

  async #close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#handle.close();
  }
}
