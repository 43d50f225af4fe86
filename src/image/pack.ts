import { type CodecName, crc32, MAX_BLOCK_BYTES } from '../codec/index.ts';
import { ByteReader, ByteWriter, IntegrityError, StoreVersionError } from '../core/index.ts';
import { MAX_BLOCK_SLOTS, MAX_PACK_BLOCKS, STORE_FORMAT_VERSION } from './limits.ts';
import { formatNumber } from './location.ts';

/** What a block holds. The numbers are part of the format. */
export const BLOCK_KINDS = [
  'pages',
  'page-deltas',
  'digests',
  'index-segment',
  'index-root',
  'blob',
] as const;
export type BlockKind = (typeof BLOCK_KINDS)[number];

/** How the stored bytes of a block were made from the raw ones. The numbers are part of the format. */
export const BLOCK_CODECS: readonly CodecName[] = ['none', 'zstd'];

export const PACK_HEADER_BYTES = 24;
export const BLOCK_HEADER_BYTES = 28;
export const TABLE_ENTRY_BYTES = 24;

/** In place of a block number: the block holds no pages, so that no digests belong to it. */
export const NO_BLOCK = 0xffffffff;
export const PACK_TRAILER_BYTES = 32;

const PACK_MAGIC = 'CKPTPACK';
const TRAILER_MAGIC = 'CKPTPEND';
const BLOCK_MAGIC = 0x4b4c4243; // "CBLK"

/** The record in front of the stored bytes of a block. */
export interface BlockHeader {
  readonly block: number;
  readonly kind: BlockKind;
  readonly codec: CodecName;
  /** Pages or page differences inside; 1 for every other kind. */
  readonly itemCount: number;
  readonly rawBytes: number;
  readonly storedBytes: number;
  /** CRC-32 of the stored bytes. */
  readonly checksum: number;
}

/** Where a block lies in its pack. */
export interface TableEntry {
  readonly block: number;
  /** Offset of the block header in the pack. */
  readonly offsetBytes: number;
  /** Length behind the header. */
  readonly storedBytes: number;
  /** The block that holds the digests of its pages, or NO_BLOCK. */
  readonly digestBlock: number;
  /** Number of its first digest in that block. */
  readonly firstDigest: number;
}

/** The record at the very end of a pack. */
export interface PackTrailer {
  readonly tableOffsetBytes: number;
  readonly entryCount: number;
  /** CRC-32 of the table. */
  readonly tableChecksum: number;
}

/** The first `PACK_HEADER_BYTES` of a pack. */
export function encodePackHeader(pack: number): Uint8Array {
  const writer = new ByteWriter(PACK_HEADER_BYTES);
  writer.raw(new TextEncoder().encode(PACK_MAGIC));
  writer.u16(STORE_FORMAT_VERSION);
  writer.u16(0);
  writer.u32(pack);
  writer.u32(0);
  writer.u32(crc32(writer.view()));
  return writer.toBytes();
}

/**
 * Checks the header of pack `pack`.
 * @throws IntegrityError if it is damaged or belongs to another pack; StoreVersionError for a newer format.
 */
export function checkPackHeader(bytes: Uint8Array, pack: number): void {
  const reader = new ByteReader(bytes, `the header of pack ${formatNumber(pack)}`);
  if (Buffer.from(reader.raw(8)).toString('latin1') !== PACK_MAGIC) {
    throw reader.damaged('no pack magic');
  }
  const version = reader.u16();
  reader.u16();
  const number = reader.u32();
  reader.u32();
  if (reader.u32() !== crc32(bytes.subarray(0, PACK_HEADER_BYTES - 4))) {
    throw reader.damaged('a wrong checksum');
  }
  if (version !== STORE_FORMAT_VERSION) {
    throw new StoreVersionError(
      `pack ${formatNumber(pack)} has format version ${version}, this ckpt knows ${STORE_FORMAT_VERSION}`,
      {
        hint: 'use the ckpt that wrote this store, or a newer one',
        data: { pack, version },
      },
    );
  }
  if (number !== pack) throw reader.damaged(`the number of pack ${formatNumber(number)}`);
}

/** Whether the bytes at `at` look like the beginning of a block header. */
export function startsBlock(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === 0x43 && bytes[at + 1] === 0x42 && bytes[at + 2] === 0x4c && bytes[at + 3] === 0x4b;
}

/** Writes a block header into the first `BLOCK_HEADER_BYTES` of `into`. */
export function writeBlockHeader(header: BlockHeader, into: Uint8Array): void {
  const view = new DataView(into.buffer, into.byteOffset, BLOCK_HEADER_BYTES);
  view.setUint32(0, BLOCK_MAGIC, true);
  view.setUint32(4, header.block, true);
  view.setUint8(8, BLOCK_KINDS.indexOf(header.kind));
  view.setUint8(9, BLOCK_CODECS.indexOf(header.codec));
  view.setUint16(10, header.itemCount, true);
  view.setUint32(12, header.rawBytes, true);
  view.setUint32(16, header.storedBytes, true);
  view.setUint32(20, header.checksum, true);
  view.setUint32(24, crc32(into.subarray(0, BLOCK_HEADER_BYTES - 4)), true);
}

/**
 * Reads and checks a block header.
 * @param what names the place in errors: "block 17 of pack 000001 at offset 4096".
 * @throws IntegrityError
 */
export function readBlockHeader(bytes: Uint8Array, what: string): BlockHeader {
  const reader = new ByteReader(bytes, `the header of ${what}`);
  if (reader.u32() !== BLOCK_MAGIC) throw reader.damaged('no block magic');
  const block = reader.u32();
  const kind = BLOCK_KINDS[reader.u8()];
  const codec = BLOCK_CODECS[reader.u8()];
  const itemCount = reader.u16();
  const rawBytes = reader.u32();
  const storedBytes = reader.u32();
  const checksum = reader.u32();
  if (reader.u32() !== crc32(bytes.subarray(0, BLOCK_HEADER_BYTES - 4))) {
    throw reader.damaged('a wrong checksum');
  }
  if (kind === undefined || codec === undefined) throw reader.damaged('an unknown kind or codec');
  if (rawBytes > MAX_BLOCK_BYTES || itemCount > MAX_BLOCK_SLOTS || block >= MAX_PACK_BLOCKS) {
    throw reader.damaged('a length beyond the limits of the format');
  }
  return { block, kind, codec, itemCount, rawBytes, storedBytes, checksum };
}

/** Encodes the block table; entries are sorted by block number. */
export function encodeTable(entries: readonly TableEntry[]): Uint8Array {
  const writer = new ByteWriter(entries.length * TABLE_ENTRY_BYTES);
  for (const entry of entries) {
    writer.u32(entry.block);
    writer.u64(entry.offsetBytes);
    writer.u32(entry.storedBytes);
    writer.u32(entry.digestBlock);
    writer.u32(entry.firstDigest);
  }
  return writer.toBytes();
}

/** The block table of a pack in columns, ascending by block number. Pruned packs have gaps in the numbers. */
export interface BlockTable {
  readonly blocks: Uint32Array;
  readonly offsetsBytes: Float64Array;
  readonly storedBytes: Uint32Array;
  readonly digestBlocks: Uint32Array;
  readonly firstDigests: Uint32Array;
}

/** A table of `entryCount` blocks, to be filled. */
export function createTable(entryCount: number): BlockTable {
  return {
    blocks: new Uint32Array(entryCount),
    offsetsBytes: new Float64Array(entryCount),
    storedBytes: new Uint32Array(entryCount),
    digestBlocks: new Uint32Array(entryCount).fill(NO_BLOCK),
    firstDigests: new Uint32Array(entryCount),
  };
}

/**
 * Decodes and checks the table.
 * @throws IntegrityError if the checksum is wrong or an entry points outside the blocks of the pack.
 */
export function decodeTable(bytes: Uint8Array, trailer: PackTrailer, pack: number): BlockTable {
  const reader = new ByteReader(bytes, `the block table of pack ${formatNumber(pack)}`);
  if (crc32(bytes) !== trailer.tableChecksum) throw reader.damaged('a wrong checksum');
  const table = createTable(trailer.entryCount);
  let previous = -1;
  for (let index = 0; index < trailer.entryCount; index++) {
    const block = reader.u32();
    const offset = reader.u64();
    const stored = reader.u32();
    const end = offset + BLOCK_HEADER_BYTES + stored;
    if (block <= previous || offset < PACK_HEADER_BYTES || end > trailer.tableOffsetBytes) {
      throw reader.damaged(`an impossible entry for block ${block}`);
    }
    previous = block;
    table.blocks[index] = block;
    table.offsetsBytes[index] = offset;
    table.storedBytes[index] = stored;
    table.digestBlocks[index] = reader.u32();
    table.firstDigests[index] = reader.u32();
  }
  reader.expectEnd();
  return table;
}

/** The last `PACK_TRAILER_BYTES` of a pack. */
export function encodeTrailer(trailer: PackTrailer): Uint8Array {
  const writer = new ByteWriter(PACK_TRAILER_BYTES);
  writer.raw(new TextEncoder().encode(TRAILER_MAGIC));
  writer.u64(trailer.tableOffsetBytes);
  writer.u32(trailer.entryCount);
  writer.u32(trailer.tableChecksum);
  writer.u32(0);
  writer.u32(crc32(writer.view()));
  return writer.toBytes();
}

/**
 * Checks the trailer of a pack of `packBytes` bytes.
 * @throws IntegrityError saying how long the file is, because a missing trailer most often is a truncated file.
 */
export function decodeTrailer(bytes: Uint8Array, pack: number, packBytes: number): PackTrailer {
  const truncated = (found: string) =>
    new IntegrityError(
      `pack ${formatNumber(pack)} is truncated or damaged: ${found} at the end of its ${packBytes} bytes`,
      {
        hint: "run 'ckpt verify' to list what can still be read",
        data: { pack, packBytes },
      },
    );
  if (bytes.length !== PACK_TRAILER_BYTES) throw truncated('no trailer');
  const reader = new ByteReader(bytes, `the trailer of pack ${formatNumber(pack)}`);
  if (Buffer.from(reader.raw(8)).toString('latin1') !== TRAILER_MAGIC) throw truncated('no trailer');
  if (
    crc32(bytes.subarray(0, PACK_TRAILER_BYTES - 4)) !==
    new DataView(bytes.buffer, bytes.byteOffset).getUint32(28, true)
  ) {
    throw truncated('a wrong checksum in the trailer');
  }
  const trailer = { tableOffsetBytes: reader.u64(), entryCount: reader.u32(), tableChecksum: reader.u32() };
  const tableBytes = trailer.entryCount * TABLE_ENTRY_BYTES;
  if (trailer.tableOffsetBytes + tableBytes + PACK_TRAILER_BYTES !== packBytes) {
    throw truncated(`a table of ${tableBytes} bytes at offset ${trailer.tableOffsetBytes} that does not fit`);
  }
  return trailer;
}
