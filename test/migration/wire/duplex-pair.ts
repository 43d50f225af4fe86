import { Duplex } from 'node:stream';

export interface WireFaults {
  /** The connection breaks when so many bytes of the first end have been delivered, in the middle of a write or not. */
  readonly cutAfterBytes?: number;
  /** Nothing more is delivered after so many bytes, but the connection stays. */
  readonly hangAfterBytes?: number;
  /** Each byte that arrives at the second end passes through this. */
  readonly alter?: (byte: number, position: number) => number;
  /** How long each write takes. */
  readonly delayMilliseconds?: number;
  /** Cuts what arrives into pieces of so many bytes. */
  readonly pieceBytes?: number;
}

/** A connection in memory, with back pressure: what is written at one end is read at the other. */
export function duplexPair(faults: WireFaults = {}): [PipeEnd, PipeEnd] {
  const first = new PipeEnd(faults);
  const second = new PipeEnd({ delayMilliseconds: faults.delayMilliseconds ?? 0 });
  first.other = second;
  second.other = first;
  return [first, second];
}

export class PipeEnd extends Duplex {
  other: PipeEnd | undefined;
  /** Bytes that were written here and delivered. */
  deliveredBytes = 0;
  readonly #faults: WireFaults;
  #readable: (() => void) | undefined;

  constructor(faults: WireFaults) {
    super({ allowHalfOpen: false });
    this.#faults = faults;
    this.on('error', () => {});
  }

  override _read(): void {
    const readable = this.#readable;
    this.#readable = undefined;
    readable?.();
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error) => void): void {
    const { delayMilliseconds } = this.#faults;
    if (delayMilliseconds) setTimeout(() => this.#deliver(chunk, done), delayMilliseconds);
    else this.#deliver(chunk, done);
  }

  override _final(done: () => void): void {
    this.other?.push(null);
    done();
  }

  override _destroy(_: Error | null, done: () => void): void {
    done();
    // Like a reset: the other end hears of it a moment later.
    setImmediate(() => this.other?.destroy());
  }

  #deliver(chunk: Buffer, done: (error?: Error) => void): void {
    const {
      cutAfterBytes = Number.POSITIVE_INFINITY,
      hangAfterBytes,
      alter,
      pieceBytes = chunk.length,
    } = this.#faults;
    if (hangAfterBytes !== undefined && this.deliveredBytes >= hangAfterBytes) return;
    const arriving = Buffer.from(chunk.subarray(0, Math.max(0, cutAfterBytes - this.deliveredBytes)));
    if (alter !== undefined) {
      for (let at = 0; at < arriving.length; at++) {
        arriving[at] = alter(arriving[at]!, this.deliveredBytes + at);
      }
    }
    this.deliveredBytes += arriving.length;
    const { other } = this;
    if (other === undefined || other.destroyed) {
      done();
      return;
    }
    let wantsMore = true;
    for (let at = 0; at < arriving.length; at += pieceBytes) {
      wantsMore = other.push(arriving.subarray(at, at + pieceBytes));
    }
    if (arriving.length < chunk.length) {
      setImmediate(() => this.destroy());
      return;
    }
    if (wantsMore) done();
    else other.#readable = done;
  }
}
