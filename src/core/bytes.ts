import { IntegrityError } from './errors.ts';

const UTF8_ENCODER = new TextEncoder();
const UTF8_DECODER = new TextDecoder('utf-8', { fatal: true });

const LARGE_BYTES = 64 * 1024;

/** Bytes that nobody sees before they are written. Clearing many of them takes as long as filling them. */
function room(bytes: number): Uint8Array<ArrayBuffer> {
  return bytes < LARGE_BYTES ? new Uint8Array(bytes) : new Uint8Array(Buffer.allocUnsafeSlow(bytes).buffer);
}

/**
 * Appends little-endian values to a growing buffer. Integers above 2^32 are plain numbers up to 2^53 - 1, which
 * is enough for page numbers, file sizes and counters.
 */
export class ByteWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;

  constructor(initialCapacityBytes = 256) {
    this.#bytes = room(initialCapacityBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Bytes written so far. */
  get lengthBytes(): number {
    return this.#length;
  }

  u8(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  u16(value: number): void {
    this.#reserve(2);
    this.#view.setUint16(this.#length, value, true);
    this.#length += 2;
  }

  u32(value: number): void {
    this.#reserve(4);
    this.#view.setUint32(this.#length, value, true);
    this.#length += 4;
  }

  /** Eight bytes of a non-negative integer up to 2^53 - 1. */
  u64(value: number): void {
    this.#reserve(8);
    this.#view.setUint32(this.#length, value % 4294967296, true);
    this.#view.setUint32(this.#length + 4, Math.floor(value / 4294967296), true);
    this.#length += 8;
  }

  /** LEB128 of a non-negative integer up to 2^53 - 1: seven bits a byte, low bits first. */
  varint(value: number): void {
    this.#reserve(8);
    let rest = value;
    while (rest >= 128) {
      this.#bytes[this.#length++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.#length++] = rest;
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** A varint length and that many bytes. */
  lengthPrefixed(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.raw(bytes);
  }

  /** Length-prefixed UTF-8. */
  text(text: string): void {
    this.lengthPrefixed(UTF8_ENCODER.encode(text));
  }

  /** The bytes written so far; valid until the next write. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** A copy of the bytes written so far. */
  toBytes(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** Forgets what was written and keeps the buffer. */
  reset(): void {
    this.#length = 0;
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#bytes.length) return;
    const grown = room(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

/**
 * Reads what `ByteWriter` wrote. Every read is checked against the end, so hostile or truncated input ends in an
 * IntegrityError that names the record and the offset, never in garbage.
 */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #what: string;
  #offset = 0;

  /** `what` names the record in errors, for instance "index segment 3 of pack 000001". */
  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = what;
  }

  /** Bytes read so far. */
  get offsetBytes(): number {
    return this.#offset;
  }

  /** Bytes left to read. */
  get remainingBytes(): number {
    return this.#bytes.length - this.#offset;
  }

  u8(): number {
    return this.#bytes[this.#take(1)]!;
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  u64(): number {
    const at = this.#take(8);
    const high = this.#view.getUint32(at + 4, true);
    if (high > 0x1fffff) throw this.damaged('a 64-bit value above 2^53');
    return high * 4294967296 + this.#view.getUint32(at, true);
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let count = 0; count < 8; count++) {
      const byte = this.u8();
      value += (byte & 127) * scale;
      if (byte < 128) {
        if (value > Number.MAX_SAFE_INTEGER) break;
        return value;
      }
      scale *= 128;
    }
    throw this.damaged('a variable-length integer above 2^53');
  }

  /** A view, not a copy, of the next `count` bytes. */
  raw(count: number): Uint8Array {
    const at = this.#take(count);
    return this.#bytes.subarray(at, at + count);
  }

  lengthPrefixed(): Uint8Array {
    return this.raw(this.varint());
  }

  text(): string {
    const bytes = this.lengthPrefixed();
    try {
      return UTF8_DECODER.decode(bytes);
    } catch {
      throw this.damaged('text that is not UTF-8');
    }
  }

  /** @throws IntegrityError if bytes are left over. */
  expectEnd(): void {
    if (this.remainingBytes > 0) throw this.damaged(`${this.remainingBytes} bytes too many`);
  }

  /** The error for malformed content at the current offset. */
  damaged(found: string): IntegrityError {
    return new IntegrityError(`${this.#what} is damaged: ${found} at offset ${this.#offset}`, {
      hint: "run 'ckpt verify' to list everything that is damaged",
      data: { record: this.#what, offsetBytes: this.#offset },
    });
  }

  #take(count: number): number {
    if (count > this.remainingBytes) {
      throw this.damaged(`${count} bytes expected, ${this.remainingBytes} left`);
    }
    const at = this.#offset;
    this.#offset += count;
    return at;
  }
}
