import { ByteReader } from '../core/index.ts';

const MAGIC = 0xfd2fb528;
const RUN_LENGTH_BLOCK = 1;
const RESERVED_BLOCK = 3;

/** What a frame's outside tells. */
interface FrameLayout {
  readonly contentBytes: number;
  /** Bytes from the frame's start to its end. */
  readonly frameBytes: number;
}

/**
 * Walks over the headers of one zstd frame (RFC 8878, section 3.1.1) and returns its extent. Decoders differ in what
 * they forgive: a truncated frame, bytes behind it, a false content size that makes zstd-codec allocate beyond its
 * heap and print. Looking at the outside first makes them all equally strict.
 * @param record names the frame in errors.
 * @throws IntegrityError if the bytes are not one whole frame in a single segment, without a dictionary.
 */
export function readFrameLayout(frame: Uint8Array, record: string): FrameLayout {
  const reader = new ByteReader(frame, record);
  const contentBytes = readFrameHeader(reader);
  const hasChecksum = (frame[4]! & 4) !== 0;
  let last = false;
  while (!last) {
    const header = reader.u16() | (reader.u8() << 16);
    last = (header & 1) !== 0;
    const type = (header >> 1) & 3;
    if (type === RESERVED_BLOCK) throw reader.damaged('a zstd block of reserved type');
    const size = header >> 3;
    // A run-length block keeps one byte, which stands for `size` of them.
    reader.raw(type === RUN_LENGTH_BLOCK ? 1 : size);
  }
  if (hasChecksum) reader.raw(4);
  return { contentBytes, frameBytes: reader.offsetBytes };
}

/** Reads magic number and frame header. @returns the content size. */
function readFrameHeader(reader: ByteReader): number {
  if (reader.u32() !== MAGIC) throw reader.damaged('no zstd magic number');
  const descriptor = reader.u8();
  const singleSegment = (descriptor & 0x20) !== 0;
  if ((descriptor & 0x18) !== 0) throw reader.damaged('unknown bits in the zstd frame header');
  if ((descriptor & 3) !== 0) throw reader.damaged('a zstd frame that needs a dictionary');
  // Both encoders write single-segment frames: content size stated, and no window beyond the content itself.
  if (!singleSegment) throw reader.damaged('a zstd frame without a single segment');
  switch (descriptor >> 6) {
    case 0:
      return reader.u8();
    case 1:
      return reader.u16() + 256;
    case 2:
      return reader.u32();
    default:
      return reader.u64();
  }
}
