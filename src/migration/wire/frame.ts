import { crc32 } from '../../codec/index.ts';
import { PeerError } from '../../core/index.ts';

/** What frames are for. Numbers of WIRE.md, "Frames". */
export const FRAME_TYPES = {
  /** A piece of a message. */
  data: 1,
  /** Nothing more will be sent. */
  end: 2,
  /** What has arrived, and how much more may be sent. */
  acknowledgement: 3,
  ping: 4,
  pong: 5,
  /** The channel is given up. */
  failure: 6,
  /** Both ends have closed and have everything. */
  finished: 7,
  /** Handshake: a new session, one more connection of a session, and the answers. */
  open: 16,
  join: 17,
  accept: 18,
  refuse: 19,
} as const;

export type FrameType = (typeof FRAME_TYPES)[keyof typeof FRAME_TYPES];

/** Flag of a data frame: the message goes on in the next one. */
export const MORE_FOLLOWS = 1;

export const FRAME_HEADER_BYTES = 24;

/** The longest payload of any frame. */
export const MAX_FRAME_BYTES = 1024 * 1024;

/** The longest payload of a frame that is neither data nor end. */
export const MAX_CONTROL_BYTES = 1024;

/** What a frame counts in flow control beside its payload, so that many small ones do not cost more than they count. */
const FRAME_OVERHEAD_BYTES = 256;

/** What a frame with a payload of that length counts in flow control. */
export const frameCost = (payloadBytes: number) => payloadBytes + FRAME_OVERHEAD_BYTES;

export interface Frame {
  readonly type: FrameType;
  readonly flags: number;
  /** Position in the stream of data and end frames, from 1; 0 for all others. */
  readonly sequence: number;
  readonly payload: Uint8Array;
}

/** Bytes arrived that are not what was sent: the connection is of no use any more, the session may be. */
export class DamagedFrameError extends Error {}

const EMPTY = new Uint8Array(0);
const KNOWN_TYPES: ReadonlySet<number> = new Set(Object.values(FRAME_TYPES));

/** The header that goes before `payload`. */
export function frameHeader(
  type: FrameType,
  flags: number,
  sequence: number,
  payload: Uint8Array,
): Uint8Array {
  const header = new Uint8Array(FRAME_HEADER_BYTES);
  const view = new DataView(header.buffer);
  header[0] = type;
  header[1] = flags;
  view.setUint32(4, payload.length, true);
  view.setUint32(8, sequence % 4294967296, true);
  view.setUint32(12, Math.floor(sequence / 4294967296), true);
  view.setUint32(16, crc32(payload), true);
  view.setUint32(20, crc32(header.subarray(0, 20)), true);
  return header;
}

/**
 * Cuts the bytes of one connection into frames. A header is proved (checksum, type, length) before room is made for its
 * payload, which is never more than MAX_FRAME_BYTES, for control frames MAX_CONTROL_BYTES.
 */
export class FrameDecoder {
  /** Until the handshake is over only its frames are taken. */
  handshaking = true;
  readonly #header = new Uint8Array(FRAME_HEADER_BYTES);
  readonly #view = new DataView(this.#header.buffer);
  #headerBytes = 0;
  #payload: Uint8Array = EMPTY;
  #payloadBytes = 0;

  /** Whether part of a frame has arrived. */
  get insideFrame(): boolean {
    return this.#headerBytes > 0;
  }

  /**
   * Takes bytes of `chunk` from `offset` up to the end of a frame or of the chunk.
   * @returns how far it came, and the frame that ends there.
   * @throws DamagedFrameError if a checksum is wrong, PeerError for an intact header that must not be.
   */
  take(chunk: Uint8Array, offset: number): { offset: number; frame: Frame | undefined } {
    if (this.#headerBytes < FRAME_HEADER_BYTES) {
      const count = Math.min(FRAME_HEADER_BYTES - this.#headerBytes, chunk.length - offset);
      this.#header.set(chunk.subarray(offset, offset + count), this.#headerBytes);
      this.#headerBytes += count;
      offset += count;
      if (this.#headerBytes < FRAME_HEADER_BYTES) return { offset, frame: undefined };
      this.#payload = roomFor(this.#checkedLength());
      this.#payloadBytes = 0;
    }
    const count = Math.min(this.#payload.length - this.#payloadBytes, chunk.length - offset);
    this.#payload.set(chunk.subarray(offset, offset + count), this.#payloadBytes);
    this.#payloadBytes += count;
    offset += count;
    if (this.#payloadBytes < this.#payload.length) return { offset, frame: undefined };
    return { offset, frame: this.#complete() };
  }

  /** The payload's length, of a header that is in order. */
  #checkedLength(): number {
    const checksum = this.#view.getUint32(20, true);
    if (crc32(this.#header.subarray(0, 20)) !== checksum) {
      throw new DamagedFrameError('the header of a frame has a wrong checksum');
    }
    const type = this.#header[0]!;
    const length = this.#view.getUint32(4, true);
    if (!KNOWN_TYPES.has(type)) throw new PeerError(`the other end sent a frame of the unknown type ${type}`);
    if (type >= FRAME_TYPES.open !== this.handshaking) {
      throw new PeerError(
        `the other end sent a frame of type ${type} ${this.handshaking ? 'before' : 'after'} the handshake`,
      );
    }
    const most = type === FRAME_TYPES.data ? MAX_FRAME_BYTES : MAX_CONTROL_BYTES;
    if (length > most) {
      throw new PeerError(
        `the other end announced a frame of ${length} bytes; type ${type} has at most ${most}`,
      );
    }
    if (this.#header[2] !== 0 || this.#header[3] !== 0 || this.#view.getUint32(12, true) > 0x1fffff) {
      throw new PeerError(
        `the other end sent a frame of type ${type} with fields that this version does not know`,
      );
    }
    return length;
  }

  #complete(): Frame {
    const payload = this.#payload;
    if (crc32(payload) !== this.#view.getUint32(16, true)) {
      throw new DamagedFrameError('the payload of a frame has a wrong checksum');
    }
    this.#headerBytes = 0;
    this.#payload = EMPTY;
    return {
      // Proved by #checkedLength.
      type: this.#header[0]! as FrameType,
      flags: this.#header[1]!,
      sequence: this.#view.getUint32(12, true) * 4294967296 + this.#view.getUint32(8, true),
      payload,
    };
  }
}

/** Not out of Buffer's pool: a message may be kept for long, and with it the whole block of the pool. */
function roomFor(length: number): Uint8Array {
  return length === 0 ? EMPTY : Buffer.allocUnsafeSlow(length);
}
