import { PeerError } from '../../core/index.ts';
import type { Connection } from './connection.ts';
import {
  FRAME_HEADER_BYTES,
  FRAME_TYPES,
  frameCost,
  frameHeader,
  MAX_FRAME_BYTES,
  MORE_FOLLOWS,
} from './frame.ts';

/** A frame of the stream from when flow control takes it until it is acknowledged. */
export interface Outgoing {
  readonly sequence: number;
  readonly header: Uint8Array;
  readonly payload: Uint8Array;
  /** The connection that has it; undefined while it waits for one. */
  connection: Connection | undefined;
}

/**
 * What one end has sent and the other has not acknowledged. It is bounded twice: by what the other end is ready to
 * receive, and by this end's own window, whatever the other end says.
 */
export class Outbox {
  readonly #windowBytes: number;
  readonly #unacknowledged = new Map<number, Outgoing>();
  #waiting: Outgoing[] = [];
  #nextSequence = 1;
  #acknowledgedBefore = 1;
  /** In the coin of flow control, since the beginning. */
  #sentCost = 0;
  #acknowledgedCost = 0;
  #credit: number;
  #sentBytes = 0;
  #acknowledgedBytes = 0;
  #endSequence: number | undefined;

  constructor(windowBytes: number, credit: number) {
    this.#windowBytes = windowBytes;
    this.#credit = credit;
  }

  get sentBytes(): number {
    return this.#sentBytes;
  }

  get unacknowledgedBytes(): number {
    return this.#sentBytes - this.#acknowledgedBytes;
  }

  /** Whether the end of the stream was sent and acknowledged, and everything before it. */
  get endAcknowledged(): boolean {
    return this.#endSequence !== undefined && this.#acknowledgedBefore > this.#endSequence;
  }

  /** The sequence number of the next frame: everything sent so far is below. */
  get nextSequence(): number {
    return this.#nextSequence;
  }

  /** Everything below has been acknowledged. */
  get acknowledgedBefore(): number {
    return this.#acknowledgedBefore;
  }

  /** Whether the end of the stream was sent, and nothing before it is unacknowledged. */
  get onlyEndLeft(): boolean {
    return this.#endSequence !== undefined && this.#acknowledgedBefore >= this.#endSequence;
  }

  /** Whether flow control lets a frame with such a payload go now. */
  hasRoom(payloadBytes: number): boolean {
    const after = this.#sentCost + frameCost(payloadBytes);
    return after <= this.#credit && after - this.#acknowledgedCost <= this.#windowBytes;
  }

  /** Takes a piece of a message, for which there must be room. */
  addData(payload: Uint8Array, moreFollows: boolean): void {
    this.#add(FRAME_TYPES.data, moreFollows ? MORE_FOLLOWS : 0, payload);
  }

  /** Takes the end of the stream, for which there must be room. */
  addEnd(): void {
    this.#endSequence = this.#nextSequence;
    this.#add(FRAME_TYPES.end, 0, new Uint8Array(0));
  }

  #add(type: typeof FRAME_TYPES.data | typeof FRAME_TYPES.end, flags: number, payload: Uint8Array): void {
    const sequence = this.#nextSequence++;
    const header = frameHeader(type, flags, sequence, payload);
    const outgoing: Outgoing = { sequence, header, payload, connection: undefined };
    this.#unacknowledged.set(sequence, outgoing);
    this.#waiting.push(outgoing);
    this.#sentCost += frameCost(payload.length);
    this.#sentBytes += FRAME_HEADER_BYTES + payload.length;
  }

  /** Hands the first waiting frame to a connection; undefined if none waits. */
  next(connection: Connection): Outgoing | undefined {
    const outgoing = this.#waiting.shift();
    if (outgoing !== undefined) outgoing.connection = connection;
    return outgoing;
  }

  get waits(): boolean {
    return this.#waiting.length > 0;
  }

  /** What a lost connection had and the other end has perhaps not: it waits again, before everything later. */
  takeBack(connection: Connection): void {
    const back: Outgoing[] = [];
    for (const outgoing of this.#unacknowledged.values()) {
      if (outgoing.connection !== connection) continue;
      outgoing.connection = undefined;
      back.push(outgoing);
    }
    if (back.length > 0) this.#waiting = [...back, ...this.#waiting].sort((a, b) => a.sequence - b.sequence);
  }

  /**
   * Everything before `received` has arrived, and the other end can take `credit` in all since the beginning.
   * Acknowledgements of several connections may overtake each other, so older ones change nothing.
   * @returns whether anything was new.
   * @throws PeerError if what was never sent is acknowledged.
   */
  acknowledge(received: number, credit: number): boolean {
    if (received > this.#nextSequence) {
      throw new PeerError(
        `the other end acknowledged frame ${received - 1}, but only ${this.#nextSequence - 1} were sent`,
      );
    }
    const isNew = received > this.#acknowledgedBefore || credit > this.#credit;
    this.#credit = Math.max(this.#credit, credit);
    for (; this.#acknowledgedBefore < received; this.#acknowledgedBefore++)
      this.#forget(this.#acknowledgedBefore);
    return isNew;
  }

  #forget(sequence: number): void {
    const outgoing = this.#unacknowledged.get(sequence);
    if (outgoing === undefined) return;
    this.#unacknowledged.delete(sequence);
    this.#acknowledgedCost += frameCost(outgoing.payload.length);
    this.#acknowledgedBytes += FRAME_HEADER_BYTES + outgoing.payload.length;
    // Taken back from a lost connection that had delivered it after all.
    if (outgoing.connection === undefined) this.#waiting = this.#waiting.filter((one) => one !== outgoing);
  }
}

/** Cuts an encoded message into payloads of frames. */
export function* piecesOf(encoded: Uint8Array): Generator<{ payload: Uint8Array; moreFollows: boolean }> {
  let at = 0;
  do {
    const payload = encoded.subarray(at, at + MAX_FRAME_BYTES);
    at += MAX_FRAME_BYTES;
    yield { payload, moreFollows: at < encoded.length };
  } while (at < encoded.length);
}
