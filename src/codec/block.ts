import { PAGE_SIZE } from '../core/index.ts';
import { type BlockCodec, damaged } from './block-codec.ts';
import { crc32, digestPage, isZeroPage, PAGE_DIGEST_BYTES, ZERO_PAGE_DIGEST } from './digest.ts';
import { MAX_BLOCK_BYTES } from './limits.ts';

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

/** A frame that is not at least this much smaller than its content costs more time to read than it saves space. */
const WORTHWHILE_SHARE = 0.97;

/** Encodes one block of at most MAX_BLOCK_BYTES. The result never shares memory with `raw`. */
export function encodeBlock(
  codec: BlockCodec,
  raw: Uint8Array,
  wanted: CodecName,
  level: number,
): EncodedBlock {
  if (wanted === 'zstd') {
    const stored = codec.compress(raw, level);
    if (stored.length <= raw.length * WORTHWHILE_SHARE)
      return { codec: 'zstd', stored, checksum: crc32(stored) };
  }
  const stored = raw.slice();
  return { codec: 'none', stored, checksum: crc32(stored) };
}

/**
 * The content of a stored block, proved in this order: checksum of what was stored, decoding, length, and, if
 * `digests` (16 bytes a page) are given, each page of the content.
 * @param record names the block in errors.
 * @throws IntegrityError naming the record and what is wrong with it.
 */
export function decodeBlock(
  codec: BlockCodec,
  block: StoredBlock,
  record: string,
  digests?: Uint8Array,
): Uint8Array {
  const { stored, rawLengthBytes } = block;
  const checksum = crc32(stored);
  if (checksum !== block.checksum) {
    throw damaged(record, `its checksum is ${hex32(checksum)}, ${hex32(block.checksum)} was written`);
  }
  const raw = block.codec === 'zstd' ? codec.decompress(stored, rawLengthBytes, record) : stored.slice();
  if (raw.length !== rawLengthBytes || raw.length > MAX_BLOCK_BYTES) {
    throw damaged(record, `it holds ${raw.length} bytes where ${rawLengthBytes} belong`);
  }
  if (digests !== undefined) verifyDigests(raw, digests, record);
  return raw;
}

function verifyDigests(raw: Uint8Array, digests: Uint8Array, record: string): void {
  if (digests.length * PAGE_SIZE !== raw.length * PAGE_DIGEST_BYTES) {
    throw damaged(
      record,
      `${digests.length / PAGE_DIGEST_BYTES} digests for ${raw.length / PAGE_SIZE} pages`,
    );
  }
  for (let page = 0; page * PAGE_SIZE < raw.length; page++) {
    const content = raw.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
    const found = isZeroPage(raw, page * PAGE_SIZE) ? ZERO_PAGE_DIGEST : digestPage(content);
    const expected = digests.subarray(page * PAGE_DIGEST_BYTES, (page + 1) * PAGE_DIGEST_BYTES);
    if (Buffer.compare(found, expected) !== 0)
      throw damaged(record, `page ${page} of it is not what was dumped`);
  }
}

const hex32 = (value: number) => `0x${value.toString(16).padStart(8, '0')}`;
