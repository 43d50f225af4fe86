import { Decompress } from 'fzstd';
import createXxhash, { type XXHash } from 'xxhash-wasm';
import { ByteFeed, formatBytes, IntegrityError } from '../core/index.ts';

/** ZSTD_MAGICNUMBER of zstd.h. */
const FRAME_MAGIC = 0xfd2fb528;
/** ZSTD_MAGIC_SKIPPABLE_START and the fifteen values behind it. */
const SKIPPABLE_MAGIC = 0x184d2a50;

/** What `zstd -d` allows without `--long`: ZSTD_WINDOWLOG_LIMIT_DEFAULT is 27. */
const MAX_WINDOW_BYTES = 2 ** 27;
const MAX_BLOCK_BYTES = 128 * 1024;

const BLOCK_HEADER_BYTES = 3;
/** Less than that fzstd may put aside until more comes. */
const LEAST_SHARED_BYTES = 64;

/** Content_Checksum_flag of a frame header descriptor. */
const CHECKSUM_FLAG = 4;

const RUN_LENGTH_BLOCK = 1;
const RESERVED_BLOCK = 3;

/** Bytes of the content size, by the two bits of the descriptor that tell (RFC 8878, 3.1.1.1.1.1). */
const CONTENT_SIZE_BYTES = [0, 2, 4, 8] as const;

interface FrameHeader {
  /** For the decoder. */
  readonly bytes: Uint8Array;
  readonly contentBytes: number | undefined;
  readonly hasChecksum: boolean;
}

/**
 * The content of a zstd stream of any length, such as other programs write: one frame or many, with or without
 * stated sizes, skippable ones among them. In memory there are a window of at most 128 MiB and two blocks.
 *
 * Frames are taken apart here and decoded by fzstd block by block, because that neither checks the content's checksum nor
 * tells a stream that ends between two frames from one that was cut.
 * @param what names the stream in errors.
 * @throws IntegrityError with the offset of whatever is damaged, cut or needs more memory than allowed.
 */
export async function* decompressZstdStream(
  source: AsyncIterable<Uint8Array>,
  what: string,
): AsyncGenerator<Uint8Array> {
  const xxhash = await createXxhash();
  const reader = new FrameReader(new ByteFeed(source), what);
  try {
    for (;;) {
      const header = await reader.nextFrame();
      if (header === undefined) return;
      yield* reader.content(header, header.hasChecksum ? xxhash.create64() : undefined);
    }
  } finally {
    await reader.close();
  }
}

class FrameReader {
  readonly #feed: ByteFeed;
  readonly #what: string;
  /** Serves for one block after the other. */
  readonly #block = new Uint8Array(BLOCK_HEADER_BYTES + MAX_BLOCK_BYTES);

  constructor(feed: ByteFeed, what: string) {
    this.#feed = feed;
    this.#what = what;
  }

  close(): Promise<void> {
    return this.#feed.close();
  }

  /** The header of the next frame that has content, or undefined at the end of the stream. */
  async nextFrame(): Promise<FrameHeader | undefined> {
    for (;;) {
      const magic = await this.#feed.upTo(4);
      if (magic.length === 0) return undefined;
      if (magic.length < 4) throw this.#damaged('it ends inside a frame');
      const value = viewOf(magic).getUint32(0, true);
      if (value === FRAME_MAGIC) return this.#frameHeader();
      if ((value & 0xfffffff0) >>> 0 !== SKIPPABLE_MAGIC) throw this.#damaged('no zstd frame begins here', 4);
      await this.#skip(viewOf(await this.#exactly(4)).getUint32(0, true));
    }
  }

  /** Yields what the blocks of a frame hold, and proves size and checksum where the frame states them. */
  async *content(header: FrameHeader, checksum: XXHash<bigint> | undefined): AsyncGenerator<Uint8Array> {
    const expectedBytes = header.contentBytes ?? Number.POSITIVE_INFINITY;
    let contentBytes = 0;
    for await (const piece of this.#decoded(header)) {
      contentBytes += piece.length;
      if (contentBytes > expectedBytes) break;
      checksum?.update(piece);
      yield piece;
    }
    if (contentBytes !== (header.contentBytes ?? contentBytes)) {
      throw this.#damaged(`a frame does not hold the ${header.contentBytes} bytes that it announces`);
    }
    if (checksum === undefined) return;
    const stored = viewOf(await this.#exactly(4)).getUint32(0, true);
    if (stored !== Number(checksum.digest() & 0xffffffffn))
      throw this.#damaged('a checksum is not that of the content', 4);
  }

  async *#decoded(header: FrameHeader): AsyncGenerator<Uint8Array> {
    const pieces: Uint8Array[] = [];
    const decoder = new Decompress((piece) => pieces.push(piece));
    this.#decode(decoder, header.bytes, false);
    for (let last = false; !last; ) {
      const block = await this.#nextBlock();
      last = block.last;
      this.#decode(decoder, block.bytes, last);
      for (const piece of pieces.splice(0)) {
        if (piece.length > 0) yield piece;
      }
    }
  }

  async #frameHeader(): Promise<FrameHeader> {
    const descriptor = (await this.#exactly(1))[0]!;
    if ((descriptor & 0x08) !== 0) throw this.#damaged('unknown bits in a frame header', 1);
    if ((descriptor & 3) !== 0) throw this.#damaged('a frame needs a dictionary', 1);
    const singleSegment = (descriptor & 0x20) !== 0;
    const sizeBytes = CONTENT_SIZE_BYTES[descriptor >> 6]! || (singleSegment ? 1 : 0);
    const rest = await this.#exactly((singleSegment ? 0 : 1) + sizeBytes);
    const contentBytes = contentSize(rest.subarray(rest.length - sizeBytes));
    const windowBytes = singleSegment ? contentBytes! : windowSize(rest[0]!);
    if (windowBytes > MAX_WINDOW_BYTES) {
      throw this.#damaged(
        `a frame needs a window of ${formatBytes(windowBytes)}, more than ${formatBytes(MAX_WINDOW_BYTES)}`,
      );
    }
    const bytes = new Uint8Array(5 + rest.length);
    viewOf(bytes).setUint32(0, FRAME_MAGIC, true);
    // The decoder is not to wait for a checksum: it is read here.
    bytes[4] = descriptor & ~CHECKSUM_FLAG;
    bytes.set(rest, 5);
    return { bytes, contentBytes, hasChecksum: (descriptor & CHECKSUM_FLAG) !== 0 };
  }

  async #nextBlock(): Promise<{ readonly last: boolean; readonly bytes: Uint8Array }> {
    const header = await this.#exactly(BLOCK_HEADER_BYTES);
    const word = header[0]! | (header[1]! << 8) | (header[2]! << 16);
    const type = (word >> 1) & 3;
    const sizeBytes = word >> 3;
    if (type === RESERVED_BLOCK) throw this.#damaged('a block of reserved type', 3);
    if (sizeBytes > MAX_BLOCK_BYTES) throw this.#damaged(`a block of ${sizeBytes} bytes`, 3);
    const bodyBytes = type === RUN_LENGTH_BLOCK ? 1 : sizeBytes;
    const bytes = this.#room(BLOCK_HEADER_BYTES + bodyBytes);
    bytes.set(header);
    await this.#fill(bytes.subarray(BLOCK_HEADER_BYTES));
    return { last: (word & 1) !== 0, bytes };
  }

  /** fzstd holds on to what it was given until the frame ends, and to the content of the smallest inputs. */
  #room(bytes: number): Uint8Array {
    return bytes < LEAST_SHARED_BYTES ? new Uint8Array(bytes) : this.#block.subarray(0, bytes);
  }

  async #fill(into: Uint8Array): Promise<void> {
    for (let filled = 0; filled < into.length; ) {
      const piece = await this.#feed.some(into.length - filled);
      if (piece === undefined) throw this.#damaged('it ends inside a frame');
      into.set(piece, filled);
      filled += piece.length;
    }
  }

  #decode(decoder: Decompress, bytes: Uint8Array, last: boolean): void {
    try {
      decoder.push(bytes, last);
    } catch (cause) {
      throw this.#damaged('a block does not decode', bytes.length, cause);
    }
  }

  async #exactly(count: number): Promise<Uint8Array> {
    const bytes = await this.#feed.upTo(count);
    if (bytes.length < count) throw this.#damaged('it ends inside a frame');
    return bytes;
  }

  async #skip(count: number): Promise<void> {
    for (let left = count; left > 0; ) {
      const piece = await this.#feed.some(left);
      if (piece === undefined) throw this.#damaged('it ends inside a frame');
      left -= piece.length;
    }
  }

  /** @param bytesBack how far before the current offset the culprit begins. */
  #damaged(found: string, bytesBack = 0, cause?: unknown): IntegrityError {
    const offsetBytes = this.#feed.offsetBytes - bytesBack;
    return new IntegrityError(
      `${this.#what} is damaged: ${found} at offset ${offsetBytes} of its zstd stream`,
      {
        data: { file: this.#what, offsetBytes },
        cause,
      },
    );
  }
}

function contentSize(field: Uint8Array): number | undefined {
  const view = viewOf(field);
  switch (field.length) {
    case 1:
      return view.getUint8(0);
    case 2:
      return view.getUint16(0, true) + 256;
    case 4:
      return view.getUint32(0, true);
    case 8:
      return view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true);
    default:
      return undefined;
  }
}

function windowSize(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3));
  return base + (base / 8) * (descriptor & 7);
}

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
