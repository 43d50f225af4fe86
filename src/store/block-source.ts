import { type CodecPool, crc32 } from '../codec/index.ts';
import { IntegrityError } from '../core/index.ts';
import { type BlockKind, type DigestExtent, decodeDigestBlock, MAX_PACK_BLOCKS } from '../image/index.ts';
import { BlockCache, type BlockLease } from './block-cache.ts';
import { PackReader, type RawBlock } from './pack-reader.ts';
import { SegmentCache } from './segment-cache.ts';

/** A decoded block. */
export interface DecodedBlock {
  readonly kind: BlockKind;
  readonly itemCount: number;
  readonly bytes: Uint8Array;
  readonly where: string;
  /** Digests that its pages were proved to have, 16 bytes each; undefined if they were not looked at. */
  readonly provenDigests: Uint8Array | undefined;
}

/** What has been read so far, for reports and tests. */
export interface ReadStatistics {
  /** Blocks read from packs and decoded; one read twice counts twice. */
  blocksRead: number;
  /** Their stored bytes. */
  bytesRead: number;
}

/** The digests of the pages of some blocks of a pack. */
export interface DecodedDigests {
  readonly extents: ReadonlyMap<number, DigestExtent>;
  /** 16 bytes each. */
  readonly digests: Uint8Array;
}

const OPEN_PACKS = 64;

/** Blocks of digests that are kept: 64 KiB each. */
const CACHED_DIGEST_BLOCKS = 256;

/** Reads blocks of all packs of a store: checks and decodes in the codec pool, and keeps the newest pages decoded. */
export class BlockSource {
  readonly statistics: ReadStatistics = { blocksRead: 0, bytesRead: 0 };
  /** Segments of the indexes that lie in these packs. */
  readonly segments = new SegmentCache();
  readonly #pathOfPack: (pack: number) => string;
  readonly #codec: CodecPool;
  readonly #openPack: (path: string, pack: number) => PackReader;
  readonly #packs = new Map<number, PackReader>();
  readonly #cache = new BlockCache();
  readonly #digestCache = new Map<number, Promise<DecodedDigests>>();

  /** @param openPack how packs are opened: strictly, or making the best of a damaged one. */
  constructor(
    pathOfPack: (pack: number) => string,
    codec: CodecPool,
    openPack: (path: string, pack: number) => PackReader = PackReader.open,
  ) {
    this.#pathOfPack = pathOfPack;
    this.#codec = codec;
    this.#openPack = openPack;
  }

  /**
   * A decoded block of kind `kind`, to be kept by the caller.
   * @throws IntegrityError naming pack, block and offset.
   */
  async block(pack: number, block: number, kind: BlockKind): Promise<DecodedBlock> {
    return checkedKind(await this.decode(this.readRaw(pack, block)), kind);
  }

  /**
   * Lends a decoded block of pages or differences, which is read and decoded once while it is among the newest ones.
   * @param digestsOf gives the digests of all pages of the block if they are known, to be proved while decoding.
   * @throws IntegrityError naming pack, block and offset.
   */
  async lease(
    pack: number,
    block: number,
    kind: 'pages' | 'page-deltas',
    digestsOf?: (itemCount: number) => Uint8Array | undefined,
  ): Promise<BlockLease> {
    const lease = await this.#cache.lease(pack * MAX_PACK_BLOCKS + block, (slot) => {
      const raw = this.readRaw(pack, block, slot);
      const { rawBytes, itemCount } = raw.header;
      const into = rawBytes <= slot.length ? slot : undefined;
      return { block: this.decode(raw, digestsOf?.(itemCount), into), rawBytes };
    });
    try {
      checkedKind(lease.block, kind);
      return lease;
    } catch (cause) {
      lease.release();
      throw cause;
    }
  }

  /**
   * A block of digests.
   * @throws IntegrityError naming pack, block and offset.
   */
  async digests(pack: number, block: number): Promise<DecodedDigests> {
    const key = pack * MAX_PACK_BLOCKS + block;
    const found = this.#digestCache.get(key) ?? this.#readDigests(pack, block);
    this.#digestCache.delete(key);
    this.#digestCache.set(key, found);
    found.catch(() => this.#digestCache.delete(key));
    for (const oldest of this.#digestCache.keys()) {
      if (this.#digestCache.size <= CACHED_DIGEST_BLOCKS) break;
      this.#digestCache.delete(oldest);
    }
    return found;
  }

  /** Reads a block without looking into it, into `into` if it fits there. */
  readRaw(pack: number, block: number, into?: Uint8Array): RawBlock {
    const raw = this.pack(pack).read(block, into);
    this.statistics.blocksRead++;
    this.statistics.bytesRead += raw.stored.length;
    return raw;
  }

  /** An open pack; the least recently used one is closed when there are too many. */
  pack(pack: number): PackReader {
    let reader = this.#packs.get(pack);
    if (reader === undefined) reader = this.#openPack(this.#pathOfPack(pack), pack);
    else this.#packs.delete(pack);
    this.#packs.set(pack, reader);
    for (const [oldest, unused] of this.#packs) {
      if (this.#packs.size <= OPEN_PACKS) break;
      unused.close();
      this.#packs.delete(oldest);
    }
    return reader;
  }

  /** Closes all packs and forgets all blocks. */
  close(): void {
    for (const reader of this.#packs.values()) reader.close();
    this.#packs.clear();
    this.#digestCache.clear();
    this.#cache.clear();
    this.segments.clear();
  }

  /**
   * Decodes a block that was read, past the cache.
   * @param digests of its pages, to be proved.
   * @param into shared memory that takes the content if it fits; `stored` may lie there too.
   * @throws IntegrityError
   */
  async decode(
    { header, stored, where }: RawBlock,
    digests?: Uint8Array,
    into?: Uint8Array,
  ): Promise<DecodedBlock> {
    const { codec, checksum, rawBytes, kind, itemCount } = header;
    if (codec === 'none' && digests === undefined) {
      // Nothing to decode: looking at the checksum costs less here than the way to a worker and back.
      if (crc32(stored) !== checksum || stored.length !== rawBytes) throw wrongChecksum(where);
      return { kind, itemCount, bytes: stored, where, provenDigests: undefined };
    }
    const block = { codec, checksum, rawLengthBytes: rawBytes, stored };
    const bytes = await this.#codec.decompress(block, where, digests, into);
    return { kind, itemCount, bytes, where, provenDigests: digests };
  }

  async #readDigests(pack: number, block: number): Promise<DecodedDigests> {
    const decoded = checkedKind(await this.decode(this.readRaw(pack, block)), 'digests');
    const { extents, digests } = decodeDigestBlock(decoded.bytes, decoded.where);
    return { extents: new Map(extents.map((extent) => [extent.block, extent])), digests };
  }
}

function checkedKind(block: DecodedBlock, kind: BlockKind): DecodedBlock {
  if (block.kind === kind) return block;
  throw new IntegrityError(`${block.where} holds ${block.kind}, the index says ${kind}`, {
    hint: "run 'ckpt verify' to list everything that is damaged",
  });
}

function wrongChecksum(where: string): IntegrityError {
  return new IntegrityError(`${where} is damaged: its checksum is not the one that was written`, {
    hint: "run 'ckpt verify' to list everything that is damaged",
  });
}
