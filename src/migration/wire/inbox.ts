import { PeerError } from '../../core/index.ts';
import {
  FRAME_HEADER_BYTES,
  FRAME_TYPES,
  type Frame,
  frameCost,
  MAX_FRAME_BYTES,
  MORE_FOLLOWS,
} from './frame.ts';
import { MAX_MESSAGE_BYTES } from './messages.ts';

/**
 * Brings the frames of several connections into order, drops those that came twice, and joins them to messages. What
 * it holds is bounded by the window, which the other end may not overrun, plus one message under assembly.
 */
export class Inbox {
  readonly #windowBytes: number;
  /** Arrived before their turn. */
  readonly #early = new Map<number, Frame>();
  /** In order, not yet given out. */
  readonly #ready: Frame[] = [];
  #expected = 1;
  #heldCost = 0;
  #consumedCost = 0;
  #consumedBytes = 0;
  #pieces: Uint8Array[] = [];
  #piecesBytes = 0;
  #ended = false;
  #endArrived = false;

  constructor(windowBytes: number) {
    this.#windowBytes = windowBytes;
  }

  /** All frames below this sequence number have arrived. */
  get received(): number {
    return this.#expected;
  }

  /** How much the other end may send in all since the beginning, in the coin of flow control. */
  get credit(): number {
    return this.#consumedCost + this.#windowBytes;
  }

  /** Bytes of frames given out. */
  get consumedBytes(): number {
    return this.#consumedBytes;
  }

  /** Whether the other end's last frame has arrived, and all before it. */
  get endArrived(): boolean {
    return this.#endArrived;
  }

  /** Whether everything has been given out, the end included. */
  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Takes a data or end frame.
   * @throws PeerError if it overruns the window, follows the end, or cannot be part of a stream.
   */
  add(frame: Frame): void {
    if (frame.sequence === 0) throw new PeerError('the other end sent a message without a sequence number');
    if ((frame.flags & ~(frame.type === FRAME_TYPES.data ? MORE_FOLLOWS : 0)) !== 0) {
      throw new PeerError(`the other end sent frame ${frame.sequence} with unknown flags ${frame.flags}`);
    }
    if (frame.sequence < this.#expected || this.#early.has(frame.sequence)) return;
    if (this.#endArrived)
      throw new PeerError(`the other end sent frame ${frame.sequence} after its last one`);
    const cost = frameCost(frame.payload.length);
    if (this.#heldCost + cost > this.#windowBytes) {
      throw new PeerError(
        `the other end sent more than the ${this.#windowBytes} bytes that it may have under way`,
      );
    }
    this.#heldCost += cost;
    this.#early.set(frame.sequence, frame);
    this.#moveReady();
  }

  #moveReady(): void {
    for (;;) {
      const frame = this.#early.get(this.#expected);
      if (frame === undefined) return;
      this.#early.delete(this.#expected++);
      this.#ready.push(frame);
      if (frame.type !== FRAME_TYPES.end) continue;
      this.#endArrived = true;
      if (this.#early.size > 0) throw new PeerError('the other end sent frames after its last one');
      return;
    }
  }

  /**
   * The next whole message, still encoded; undefined if more must arrive first, or nothing comes any more.
   * @throws PeerError if a message is longer than any may be, or cut off by the end.
   */
  take(): Uint8Array | undefined {
    for (let frame = this.#ready.shift(); frame !== undefined; frame = this.#ready.shift()) {
      const cost = frameCost(frame.payload.length);
      this.#heldCost -= cost;
      this.#consumedCost += cost;
      this.#consumedBytes += FRAME_HEADER_BYTES + frame.payload.length;
      if (frame.type === FRAME_TYPES.end) {
        this.#ended = true;
        if (this.#piecesBytes > 0) throw new PeerError('the other end stopped in the middle of a message');
        return undefined;
      }
      const moreFollows = (frame.flags & MORE_FOLLOWS) !== 0;
      // Else a message could consist of millions of small pieces, each of which takes more memory than it has bytes.
      if (moreFollows && frame.payload.length !== MAX_FRAME_BYTES) {
        throw new PeerError(`the other end sent a piece of a message of ${frame.payload.length} bytes`);
      }
      if (!moreFollows && this.#piecesBytes === 0) return frame.payload;
      this.#keepPiece(frame.payload);
      if (!moreFollows) return this.#joined();
    }
    return undefined;
  }

  #keepPiece(payload: Uint8Array): void {
    this.#piecesBytes += payload.length;
    if (this.#piecesBytes > MAX_MESSAGE_BYTES) {
      throw new PeerError(`the other end sent a message of more than ${MAX_MESSAGE_BYTES} bytes`);
    }
    this.#pieces.push(payload);
  }

  #joined(): Uint8Array {
    const joined = Buffer.allocUnsafeSlow(this.#piecesBytes);
    let at = 0;
    for (const piece of this.#pieces) {
      joined.set(piece, at);
      at += piece.length;
    }
    this.#pieces = [];
    this.#piecesBytes = 0;
    return joined;
  }
}
