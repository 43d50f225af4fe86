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
  const blockCount = Math.ceil(bytes.length / BLOB_CHUNK_BYTES);
  const firstBlock = writer.reserveMany(blockCount);
  for (let chunk = 0; chunk < blockCount; chunk++) {
    const raw = bytes.slice(chunk * BLOB_CHUNK_BYTES, (chunk + 1) * BLOB_CHUNK_BYTES);
    writer.write(firstBlock + chunk, kind, 1, encodeInPool(codec, raw, compression));
    await writer.ready();
  }
  const sha256 = new Sha256().update(bytes).digestHex();
  return { bytes: bytes.length, sha256, pack: writer.pack, firstBlock, blockCount };
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
  for (let block = blob.firstBlock; block < blob.firstBlock + blob.blockCount; block++) {
    const chunk = await source.block(blob.pack, block, kind);
    if (chunk.bytes.length !== Math.min(BLOB_CHUNK_BYTES, blob.bytes - at)) {
      throw damagedBlob(what, `${chunk.where} has ${chunk.bytes.length} bytes`);
    }
    bytes.set(chunk.bytes, at);
    at += chunk.bytes.length;
  }
  if (new Sha256().update(bytes).digestHex() !== blob.sha256) {
    throw damagedBlob(what, 'its digest is not the one in the manifest');
  }
  return bytes;
}

function damagedBlob(what: string, found: string): IntegrityError {
  return new IntegrityError(`${what} is damaged: ${found}`, {
    hint: "run 'ckpt verify' to list everything that is damaged",
  });
}
