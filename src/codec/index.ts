export {
  type BlockCodec,
  type CodecName,
  type EncodedBlock,
  openBlockCodec,
  type StoredBlock,
} from './block.ts';
export {
  crc32,
  digestPage,
  digestPages,
  isZeroPage,
  PAGE_DIGEST_BYTES,
  Sha256,
  ZERO_PAGE_DIGEST,
} from './digest.ts';
export type { PageDigests } from './jobs.ts';
export {
  DEFAULT_ZSTD_LEVEL,
  MAX_BLOCK_BYTES,
  MAX_ZSTD_LEVEL,
  MIN_ZSTD_LEVEL,
} from './limits.ts';
export { applyPageDelta, encodePageDelta, MAX_PAGE_DELTA_BYTES } from './page-delta.ts';
export { CodecPool, type CodecPoolOptions } from './pool.ts';
export { SharedBuffers } from './shared-buffers.ts';
export { chooseZstd, type ZstdImplementation } from './zstd.ts';
export { compressZstdStream } from './zstd-frames.ts';
export { decompressZstdStream } from './zstd-stream.ts';
