import { IntegrityError, UsageError } from '../core/index.ts';
import { MAX_BLOCK_BYTES, MAX_ZSTD_LEVEL, MIN_ZSTD_LEVEL } from './limits.ts';
import type { Zstd } from './zstd.ts';
import { readFrameLayout } from './zstd-frame.ts';

/** @throws UsageError if ckpt does not offer this zstd level. */
export function checkZstdLevel(level: number): void {
  if (!Number.isInteger(level) || level < MIN_ZSTD_LEVEL || level > MAX_ZSTD_LEVEL) {
    throw new UsageError(`zstd level ${level} is not known`, {
      hint: `levels are ${MIN_ZSTD_LEVEL} (fastest) to ${MAX_ZSTD_LEVEL} (smallest)`,
    });
  }
}

/**
 * One zstd frame of `raw`, which must have 1 to MAX_BLOCK_BYTES bytes; valid until the next call with this `zstd`.
 * @throws RangeError for other sizes, UsageError for an unknown level.
 */
export function compressFrame(zstd: Zstd, raw: Uint8Array, level: number): Uint8Array {
  checkZstdLevel(level);
  if (raw.length === 0 || raw.length > MAX_BLOCK_BYTES) {
    throw new RangeError(`a block has 1 to ${MAX_BLOCK_BYTES} bytes, not ${raw.length}`);
  }
  return zstd.compress(raw, level);
}

/**
 * The content of one zstd frame; valid until the next call with this `zstd`.
 * @param record names the frame in errors.
 * @throws IntegrityError if `frame` is not exactly one frame of exactly `rawLengthBytes`, or does not decode.
 */
export function decompressFrame(
  zstd: Zstd,
  frame: Uint8Array,
  rawLengthBytes: number,
  record: string,
): Uint8Array {
  const layout = readFrameLayout(frame, record);
  if (layout.contentBytes !== rawLengthBytes || rawLengthBytes > MAX_BLOCK_BYTES || rawLengthBytes === 0) {
    throw damaged(record, `it holds ${layout.contentBytes} bytes where ${rawLengthBytes} belong`);
  }
  if (layout.frameBytes !== frame.length) {
    throw damaged(record, `its frame ends after ${layout.frameBytes} of ${frame.length} bytes`);
  }
  const raw = decodeOrThrow(zstd, frame, rawLengthBytes, record);
  if (raw.length !== rawLengthBytes) {
    throw damaged(record, `it decodes to ${raw.length} bytes instead of ${rawLengthBytes}`);
  }
  return raw;
}

function decodeOrThrow(zstd: Zstd, frame: Uint8Array, rawLengthBytes: number, record: string): Uint8Array {
  try {
    return zstd.decompress(frame, rawLengthBytes);
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
