import { PAGE_SIZE } from '../core/index.ts';
import { crc32, digestPages, PAGE_DIGEST_BYTES } from './digest.ts';
import { compressFrame, damaged, decompressFrame } from './frame.ts';
import { MAX_BLOCK_BYTES } from './limits.ts';
import { openZstd, type Zstd, type ZstdImplementation } from './zstd.ts';

/** How a block's bytes are kept: as a zstd frame, or as they are. */
export type CodecName = 'zstd' | 'none';

/** A block as it goes into a pack. */
export interface EncodedBlock {
  /** `none` also where zstd was asked for and did not help. */
  readonly codec: CodecName;
  readonly stored: Uint8Array;
  /** CRC-32 of `stored`. */
  readonly checksum: number;
}

/** What must be known to read a block back. */
export interface StoredBlock extends EncodedBlock {
  readonly rawLengthBytes: number;
}

/**
 * Encodes and decodes the blocks of one thread. Calls are synchronous, nothing is ever printed and no result is ever
 * null. The same codec gives the same bytes for the same input; another zstd version may give others.
 */
export interface BlockCodec {
  readonly implementation: ZstdImplementation;
  /**
   * @param raw 1 to MAX_BLOCK_BYTES bytes.
   * @param into takes the encoded bytes if they fit (it may be `raw` itself); else they get an array of their own.
   * @throws RangeError for other sizes, UsageError for an unknown level.
   */
  encode(raw: Uint8Array, codec: CodecName, level: number, into?: Uint8Array): EncodedBlock;
  /**
   * Encodes blocks of `blockPages` pages each, out of `bytes` and into it: block number n begins where page
   * n * `blockPages` was. Whatever else `bytes` holds is lost.
   * @param pages ascending; as many as fill the blocks.
   * @throws as `encode`; RangeError if the pages do not ascend or do not fill the blocks.
   */
  encodePages(
    bytes: Uint8Array,
    pages: Uint16Array,
    blockPages: number,
    codec: CodecName,
    level: number,
  ): EncodedBlock[];
  /**
   * The content of a stored block, proved in this order: checksum of what was stored, frame, length, and, if `digests`
   * (16 bytes a page) are given, each page of the content.
   * @param record names the block in errors.
   * @param into takes the content if it fits; else it gets an array of its own.
   * @throws IntegrityError naming the record and what is wrong with it.
   */
  decode(block: StoredBlock, record: string, digests?: Uint8Array, into?: Uint8Array): Uint8Array;
}

/** A frame that is not at least this much smaller than its content costs more time to read than it saves space. */
const WORTHWHILE_SHARE = 0.97;

/**
 * Opens the codec of the calling thread. By default it is node:zlib where that has zstd, else zstd-codec; the
 * environment variable CKPT_ZSTD (`node` or `wasm`) and `implementation` overrule this, the latter both.
 * @throws UnsupportedError if the forced implementation does not exist here.
 */
export async function openBlockCodec(implementation?: ZstdImplementation): Promise<BlockCodec> {
  const zstd = await openZstd(implementation);
  return {
    implementation: zstd.implementation,
    encode: (raw, codec, level, into) => encodeBlock(zstd, raw, codec, level, into),
    encodePages: (bytes, pages, blockPages, codec, level) =>
      encodePages(zstd, bytes, pages, blockPages, codec, level),
    decode: (block, record, digests, into) => decodeBlock(zstd, block, record, digests, into),
  };
}

function encodeBlock(
  zstd: Zstd,
  raw: Uint8Array,
  wanted: CodecName,
  level: number,
  into: Uint8Array | undefined,
): EncodedBlock {
  if (wanted === 'zstd') {
    const frame = compressFrame(zstd, raw, level);
    if (frame.length <= raw.length * WORTHWHILE_SHARE) {
      return { codec: 'zstd', stored: placed(frame, into), checksum: crc32(frame) };
    }
  }
  return { codec: 'none', stored: placed(raw, into), checksum: crc32(raw) };
}

function encodePages(
  zstd: Zstd,
  bytes: Uint8Array,
  pages: Uint16Array,
  blockPages: number,
  codec: CodecName,
  level: number,
): EncodedBlock[] {
  if (pages.length % blockPages !== 0) {
    throw new RangeError(`${pages.length} pages do not fill blocks of ${blockPages}`);
  }
  const blocks: EncodedBlock[] = [];
  for (let first = 0; first < pages.length; first += blockPages) {
    for (let slot = first; slot < first + blockPages; slot++) {
      const page = pages[slot]!;
      // Else what has been placed before would have overwritten it.
      if (page < slot || (slot > 0 && page <= pages[slot - 1]!)) throw new RangeError('pages do not ascend');
      if (page !== slot) bytes.copyWithin(slot * PAGE_SIZE, page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
    }
    const raw = bytes.subarray(first * PAGE_SIZE, (first + blockPages) * PAGE_SIZE);
    blocks.push(encodeBlock(zstd, raw, codec, level, raw));
  }
  return blocks;
}

function decodeBlock(
  zstd: Zstd,
  block: StoredBlock,
  record: string,
  digests: Uint8Array | undefined,
  into: Uint8Array | undefined,
): Uint8Array {
  const { stored, rawLengthBytes } = block;
  const checksum = crc32(stored);
  if (checksum !== block.checksum) {
    throw damaged(record, `its checksum is ${hex32(checksum)}, ${hex32(block.checksum)} was written`);
  }
  const raw = block.codec === 'zstd' ? decompressFrame(zstd, stored, rawLengthBytes, record) : stored;
  if (raw.length !== rawLengthBytes || raw.length > MAX_BLOCK_BYTES) {
    throw damaged(record, `it holds ${raw.length} bytes where ${rawLengthBytes} belong`);
  }
  const content = placed(raw, into);
  if (digests !== undefined) verifyDigests(content, digests, record);
  return content;
}

/** `bytes` at the start of `into` if they fit there, else in an array of their own. */
function placed(bytes: Uint8Array, into: Uint8Array | undefined): Uint8Array {
  // Not `slice`: that of a Buffer shares its memory, which cannot move between threads.
  if (into === undefined || into.length < bytes.length) return new Uint8Array(bytes);
  const isThere = bytes.buffer === into.buffer && bytes.byteOffset === into.byteOffset;
  if (!isThere) into.set(bytes);
  return into.subarray(0, bytes.length);
}

function verifyDigests(raw: Uint8Array, digests: Uint8Array, record: string): void {
  if (digests.length * PAGE_SIZE !== raw.length * PAGE_DIGEST_BYTES) {
    throw damaged(
      record,
      `${digests.length / PAGE_DIGEST_BYTES} digests for ${raw.length / PAGE_SIZE} pages`,
    );
  }
  const found = new Uint8Array(digests.length);
  digestPages(raw, raw.length / PAGE_SIZE, found);
  const firstDifference = found.findIndex((byte, at) => byte !== digests[at]);
  if (firstDifference < 0) return;
  throw damaged(
    record,
    `page ${Math.floor(firstDifference / PAGE_DIGEST_BYTES)} of it is not what was dumped`,
  );
}

const hex32 = (value: number) => `0x${value.toString(16).padStart(8, '0')}`;
