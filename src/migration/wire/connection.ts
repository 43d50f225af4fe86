import type { Duplex } from 'node:stream';
import { PeerError } from '../../core/index.ts';
import { DamagedFrameError, type Frame, FrameDecoder, type FrameType, frameHeader } from './frame.ts';
import { checkPreamble, PREAMBLE_BYTES, preamble } from './handshake.ts';

/** Who is told what a connection hears. */
export interface ConnectionOwner {
  onFrame(frame: Frame): void;
  /** The connection is gone or of no use; nothing more comes from it. */
  onLost(reason: string): void;
  /** The other end did what it must not; the owner gives the channel up. */
  onViolation(error: PeerError): void;
  /** Bytes have left: there may be room for more. */
  onWritten(): void;
}

/** Bytes that wait in a connection for the kernel: enough to keep it busy, little enough to share work evenly. */
const BACKLOG_BYTES = 1024 * 1024;

const NOTHING = new Uint8Array(0);

/**
 * One byte stream with frames on it. Frames are given out one at a time while somebody wants them, so that a handshake
 * can be read with `next` and everything after it by an owner.
 */
export class Connection {
  readonly peer: string;
  /** When something last arrived, by performance.now(). */
  heardAt = performance.now();
  readonly #transport: Duplex;
  readonly #explain: (error: Error) => PeerError;
  readonly #decoder = new FrameDecoder();
  #preamble: Uint8Array | undefined = NOTHING;
  #input: Uint8Array = NOTHING;
  #owner: ConnectionOwner | undefined;
  #pending: (() => void) | undefined;
  #ended: PeerError | undefined;

  /**
   * Takes the transport over.
   * @param explain says in words for people what an error of the transport means.
   */
  constructor(transport: Duplex, peer: string, explain: (error: Error) => PeerError) {
    this.peer = peer;
    this.#explain = explain;
    this.#transport = transport;
    transport.on('data', (chunk: Uint8Array) => this.#arrived(chunk));
    transport.on('error', (error) => this.#end(this.#explain(error)));
    transport.on('end', () => this.#end(new PeerError(`${peer} closed the connection`)));
    transport.on('close', () => this.#end(new PeerError(`the connection to ${peer} was closed`)));
    transport.pause();
  }

  sendPreamble(): void {
    this.#transport.write(preamble());
  }

  /** Whether a frame put into it now would wait longer than needed. */
  get congested(): boolean {
    return this.#transport.writableLength >= BACKLOG_BYTES;
  }

  /** Bytes not yet taken by the kernel. */
  get backlogBytes(): number {
    return this.#transport.writableLength;
  }

  /**
   * Resolves when the other end's preamble has arrived and is one that this ckpt understands.
   * @throws PeerError if it is another one, or the connection ends first.
   */
  async preambleArrived(): Promise<void> {
    try {
      await this.#await(() => {
        this.#takePreamble();
        return this.#preamble === undefined ? true : undefined;
      });
    } catch (error) {
      if (!(error instanceof PeerError) || error !== this.#ended || error.hint !== undefined) throw error;
      throw new PeerError(`${error.message} before it had said who it is`, {
        hint: 'if it expects --tls or --key-file, this end needs the same',
      });
    }
  }

  /** The next frame, for handshakes. Rejects with a PeerError if the connection ends first. */
  next(): Promise<Frame> {
    return this.#await(() => this.#takeFrame());
  }

  /** From now on the owner gets every frame, beginning with those that have arrived. */
  own(owner: ConnectionOwner): void {
    this.#owner = owner;
    this.#decoder.handshaking = false;
    if (this.#ended !== undefined) this.#tellEnd(this.#ended);
    else {
      this.#transport.resume();
      this.#giveOut();
    }
  }

  sendFrame(type: FrameType, flags: number, sequence: number, payload: Uint8Array): void {
    this.sendEncoded(frameHeader(type, flags, sequence, payload), payload);
  }

  /** Sends a frame whose header is made already. */
  sendEncoded(header: Uint8Array, payload: Uint8Array): void {
    if (this.#ended !== undefined) return;
    this.#transport.cork();
    const written = () => this.#owner?.onWritten();
    if (payload.length === 0) this.#transport.write(header, written);
    else {
      this.#transport.write(header);
      this.#transport.write(payload, written);
    }
    this.#transport.uncork();
  }

  /** Lets what was sent go out, then closes; at once after a second. The owner hears nothing more. */
  closeSoon(): void {
    this.#owner = undefined;
    this.#ended ??= new PeerError('this end closed the connection');
    const last = setTimeout(() => this.#transport.destroy(), 1000);
    last.unref();
    this.#transport.once('close', () => clearTimeout(last));
    this.#transport.resume();
    this.#transport.end(() => this.#transport.destroy());
  }

  /** Closes at once, as lost for this reason. */
  giveUp(reason: string): void {
    this.#end(new PeerError(reason));
  }

  /** Closes at once. The owner hears nothing more. */
  destroy(): void {
    this.#owner = undefined;
    this.#ended ??= new PeerError('this end closed the connection');
    this.#transport.destroy();
  }

  /** Tries `take` whenever something has arrived, until it gives a value. */
  async #await<Value>(take: () => Value | undefined): Promise<Value> {
    try {
      for (;;) {
        const value = take();
        if (value !== undefined) return value;
        if (this.#ended !== undefined) break;
        await new Promise<void>((resolve) => {
          this.#pending = resolve;
          this.#transport.resume();
        });
      }
    } catch (error) {
      if (error instanceof DamagedFrameError) throw new PeerError(error.message, { cause: error });
      throw error;
    } finally {
      this.#transport.pause();
    }
    throw this.#ended;
  }

  #arrived(chunk: Uint8Array): void {
    if (this.#ended !== undefined) return;
    this.heardAt = performance.now();
    this.#input = this.#input.length === 0 ? chunk : Buffer.concat([this.#input, chunk]);
    if (this.#owner !== undefined) this.#giveOut();
    else {
      this.#transport.pause();
      this.#wake();
    }
  }

  #wake(): void {
    const pending = this.#pending;
    this.#pending = undefined;
    pending?.();
  }

  #takePreamble(): void {
    if (this.#preamble === undefined) return;
    const missing = PREAMBLE_BYTES - this.#preamble.length;
    this.#preamble = Buffer.concat([this.#preamble, this.#input.subarray(0, missing)]);
    this.#input = this.#input.subarray(missing);
    if (checkPreamble(this.#preamble)) this.#preamble = undefined;
  }

  #takeFrame(): Frame | undefined {
    const { offset, frame } = this.#decoder.take(this.#input, 0);
    this.#input = this.#input.subarray(offset);
    return frame;
  }

  #giveOut(): void {
    const input = this.#input;
    this.#input = NOTHING;
    let offset = 0;
    try {
      while (offset < input.length && this.#owner !== undefined) {
        const taken = this.#decoder.take(input, offset);
        offset = taken.offset;
        if (taken.frame !== undefined) this.#owner.onFrame(taken.frame);
      }
    } catch (error) {
      if (error instanceof DamagedFrameError) this.#end(new PeerError(error.message));
      else if (error instanceof PeerError) this.#owner?.onViolation(error);
      else throw error;
    }
  }

  #end(error: PeerError): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    this.#transport.destroy();
    this.#wake();
    this.#tellEnd(error);
  }

  #tellEnd(error: PeerError): void {
    const owner = this.#owner;
    this.#owner = undefined;
    owner?.onLost(error.message);
  }
}
