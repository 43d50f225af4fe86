import { PAGE_DIGEST_BYTES } from '../codec/index.ts';
import { ByteReader, ByteWriter } from '../core/index.ts';

/** The digests of the pages (or of what differences give) of one block. */
export interface BlockDigests {
  readonly block: number;
  /** 16 bytes for each of the block's slots. */
  readonly digests: Uint8Array;
}

/** Where the digests of a block lie in a block of digests. */
export interface DigestExtent {
  readonly block: number;
  readonly firstDigest: number;
  readonly digestCount: number;
}

/** The content of a block of digests. */
export interface DigestBlock {
  readonly extents: readonly DigestExtent[];
  /** All digests, 16 bytes each. */
  readonly digests: Uint8Array;
}

/**
 * The content of a block of digests: a 32-bit count of blocks; for each its number (32 bits) and its count of digests
 * (16 bits); then the digests. They are never compressed: hashes do not get smaller.
 */
export function encodeDigestBlock(blocks: readonly BlockDigests[]): Uint8Array {
  const writer = new ByteWriter(4096);
  writer.u32(blocks.length);
  for (const { block, digests } of blocks) {
    writer.u32(block);
    writer.u16(digests.length / PAGE_DIGEST_BYTES);
  }
  for (const { digests } of blocks) writer.raw(digests);
  return writer.toBytes();
}

/**
 * Decodes a block of digests; the digests are a view of `bytes`.
 * @throws IntegrityError
 */
export function decodeDigestBlock(bytes: Uint8Array, what: string): DigestBlock {
  const reader = new ByteReader(bytes, what);
  let firstDigest = 0;
  const extents: DigestExtent[] = [];
  for (let count = reader.u32(); count > 0; count--) {
    const block = reader.u32();
    const digestCount = reader.u16();
    extents.push({ block, firstDigest, digestCount });
    firstDigest += digestCount;
  }
  const digests = reader.raw(firstDigest * PAGE_DIGEST_BYTES);
  reader.expectEnd();
  return { extents, digests };
}
