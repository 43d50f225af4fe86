import { type CodecName, type CodecPool, Sha256 } from '../codec/index.ts';
import { IntegrityError } from '../core/index.ts';
import { BLOB_CHUNK_BYTES, type BlobReference, type BlockKind } from '../image/index.ts';
import type { BlockSource } from './block-source.ts';
import type { BlockToWrite, PackWriter } from './pack-writer.ts';

/** How blocks are encoded. */
export interface Compression {
  readonly name: CodecName;
  readonly level: number;
}

/** Encodes one block in the pool. */
export async function encodeInPool(
  codec: CodecPool,
  raw: Uint8Array,
  compression: Compression,
): Promise<BlockToWrite> {
  const encoded = await codec.compress(raw, compression.name, compression.level);
  return { ...encoded, rawBytes: raw.length };
}

/** Queues opaque bytes as consecutive blocks. */
export async function writeBlob(
  writer: PackWriter,
  codec: CodecPool,
  compression: Compression,
  kind: BlockKind,
  bytes: Uint8Array,
): Promise<BlobReference> {
  return writeBlobStream(writer, codec, compression, kind, [bytes]);
}

/**
 * Queues opaque bytes of which only the next ones are known, as consecutive blocks. Nobody else may reserve blocks
 * until it is done.
 * @param content pieces of any length
 */
export async function writeBlobStream(
  writer: PackWriter,
  codec: CodecPool,
  compression: Compression,
  kind: BlockKind,
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<BlobReference> {
  const digest = new Sha256();
  const firstBlock = writer.nextBlock;
  let blockCount = 0;
  let bytes = 0;
  for await (const raw of inChunks(content)) {
    const block = writer.reserve();
    if (block !== firstBlock + blockCount++)
      throw new RangeError(`block ${block} is not behind the one before`);
    digest.update(raw);
    bytes += raw.length;
    writer.write(block, kind, 1, encodeInPool(codec, raw, compression));
    await writer.ready();
  }
  return { bytes, sha256: digest.digestHex(), pack: writer.pack, firstBlock, blockCount };
}

/** Joins and cuts pieces to arrays of BLOB_CHUNK_BYTES, the last one shorter; each is the receiver's to keep. */
async function* inChunks(
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let chunk = new Uint8Array(BLOB_CHUNK_BYTES);
  let filled = 0;
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length; ) {
      const part = piece.subarray(at, at + BLOB_CHUNK_BYTES - filled);
      chunk.set(part, filled);
      filled += part.length;
      at += part.length;
      if (filled < BLOB_CHUNK_BYTES) continue;
      yield chunk;
      chunk = new Uint8Array(BLOB_CHUNK_BYTES);
      filled = 0;
    }
  }
  if (filled > 0) yield chunk.slice(0, filled);
}

/**
 * Reads a part of opaque bytes back, block by block.
 * @param what names them in errors.
 * @throws IntegrityError if a block is wrong; if the part is the whole, also if its digest is
 */
export async function* readBlobPart(
  source: BlockSource,
  blob: BlobReference,
  kind: BlockKind,
  what: string,
  offsetBytes: number,
  lengthBytes: number,
): AsyncGenerator<Uint8Array> {
  const end = offsetBytes + lengthBytes;
  if (offsetBytes < 0 || lengthBytes < 0 || end > blob.bytes) {
    throw new RangeError(`bytes ${offsetBytes} to ${end} of ${what} are asked for, it has ${blob.bytes}`);
  }
  const digest = lengthBytes === blob.bytes ? new Sha256() : undefined;
  let at = offsetBytes - (offsetBytes % BLOB_CHUNK_BYTES);
  for (let chunk = at / BLOB_CHUNK_BYTES; at < end; chunk++) {
    const { bytes, where } = await source.block(blob.pack, blob.firstBlock + chunk, kind);
    if (bytes.length !== Math.min(BLOB_CHUNK_BYTES, blob.bytes - at)) {
      throw damagedBlob(what, `${where} has ${bytes.length} bytes`);
    }
    digest?.update(bytes);
    const isLast = at + bytes.length >= end;
    if (isLast && digest !== undefined) requireDigest(digest, blob, what);
    yield bytes.subarray(Math.max(0, offsetBytes - at), isLast ? end - at : bytes.length);
    at += bytes.length;
  }
}

/**
 * Reads opaque bytes back.
 * @param what names them in errors.
 * @throws IntegrityError if a block or the digest of the whole is wrong.
 */
export async function readBlob(
  source: BlockSource,
  blob: BlobReference,
  kind: BlockKind,
  what: string,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(blob.bytes);
  let at = 0;
  for await (const part of readBlobPart(source, blob, kind, what, 0, blob.bytes)) {
    bytes.set(part, at);
    at += part.length;
  }
  if (at === 0) requireDigest(new Sha256(), blob, what);
  return bytes;
}

function requireDigest(digest: Sha256, blob: BlobReference, what: string): void {
  if (digest.digestHex() !== blob.sha256) {
    throw damagedBlob(what, 'its digest is not the one in the manifest');
  }
}

function damagedBlob(what: string, found: string): IntegrityError {
  return new IntegrityError(`${what} is damaged: ${found}`, {
    hint: "run 'ckpt verify' to list everything that is damaged",
  });
}
