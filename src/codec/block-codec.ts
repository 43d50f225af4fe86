import { IntegrityError, UsageError } from '../core/index.ts';
import { MAX_BLOCK_BYTES, MAX_ZSTD_LEVEL, MIN_ZSTD_LEVEL } from './limits.ts';
import { openZstd, type Zstd, type ZstdImplementation } from './zstd.ts';
import { readFrameLayout } from './zstd-frame.ts';

/** zstd for the blocks of one thread. Calls are synchronous; nothing is ever printed and no result is ever null. */
export interface BlockCodec {
  readonly implementation: ZstdImplementation;
  /**
   * One zstd frame of `raw`, which must have 1 to MAX_BLOCK_BYTES bytes. The same codec gives the same bytes for the
   * same input; other zstd versions may give others.
   * @throws RangeError for other sizes, UsageError for an unknown level.
   */
  compress(raw: Uint8Array, level: number): Uint8Array;
  /**
   * The content of one zstd frame.
   * @param record names the block in errors.
   * @throws IntegrityError if `stored` is not exactly one frame of exactly `rawLengthBytes`, or does not decode.
   */
  decompress(stored: Uint8Array, rawLengthBytes: number, record: string): Uint8Array;
}

/** @throws UsageError if ckpt does not offer this zstd level. */
export function checkZstdLevel(level: number): void {
  if (!Number.isInteger(level) || level < MIN_ZSTD_LEVEL || level > MAX_ZSTD_LEVEL) {
    throw new UsageError(`zstd level ${level} is not known`, {
      hint: `levels are ${MIN_ZSTD_LEVEL} (fastest) to ${MAX_ZSTD_LEVEL} (smallest)`,
    });
  }
}

/**
 * Opens zstd for the calling thread. See `openZstd` for which one.
 * @throws UnsupportedError if the forced implementation does not exist here.
 */
export async function openBlockCodec(implementation?: ZstdImplementation): Promise<BlockCodec> {
  const zstd = await openZstd(implementation);
  return {
    implementation: zstd.implementation,
    compress: (raw, level) => {
      checkZstdLevel(level);
      if (raw.length === 0 || raw.length > MAX_BLOCK_BYTES) {
        throw new RangeError(`a block has 1 to ${MAX_BLOCK_BYTES} bytes, not ${raw.length}`);
      }
      return zstd.compress(raw, level);
    },
    decompress: (stored, rawLengthBytes, record) => decompressBlock(zstd, stored, rawLengthBytes, record),
  };
}

function decompressBlock(zstd: Zstd, stored: Uint8Array, rawLengthBytes: number, record: string): Uint8Array {
  const layout = readFrameLayout(stored, record);
  if (layout.contentBytes !== rawLengthBytes || rawLengthBytes > MAX_BLOCK_BYTES || rawLengthBytes === 0) {
    throw damaged(record, `it holds ${layout.contentBytes} bytes where ${rawLengthBytes} belong`);
  }
  if (layout.frameBytes !== stored.length) {
    throw damaged(record, `its frame ends after ${layout.frameBytes} of ${stored.length} bytes`);
  }
  const raw = decodeOrThrow(zstd, stored, rawLengthBytes, record);
  if (raw.length !== rawLengthBytes) {
    throw damaged(record, `it decodes to ${raw.length} bytes instead of ${rawLengthBytes}`);
  }
  return raw;
}

function decodeOrThrow(zstd: Zstd, stored: Uint8Array, rawLengthBytes: number, record: string): Uint8Array {
  try {
    return zstd.decompress(stored, rawLengthBytes);
  } catch (cause) {
    throw damaged(record, 'zstd cannot decode it', cause);
  }
}

/** The error for a stored block that is not what was written. */
export function damaged(record: string, found: string, cause?: unknown): IntegrityError {
  return new IntegrityError(`${record} is damaged: ${found}`, {
    hint: "run 'ckpt verify' to list everything that is damaged",
    data: { record },
    cause,
  });
}
