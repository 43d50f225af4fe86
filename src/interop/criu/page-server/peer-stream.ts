import type { Socket } from 'node:net';
import { PeerError } from '../../../core/index.ts';

/** What may lie here unread; beyond it the other end has to wait. */
const MAX_UNREAD_BYTES = 256 * 1024;

/** Silence in the middle of a message after which the other end counts as gone. */
export const STALL_MICROSECONDS = 60_000_000;

/** Silence after which the kernel asks whether the other end is still there. */
const KEEP_ALIVE_MILLISECONDS = 15_000;

/**
 * One end of a connection, plain or in TLS. It is read by asking for bytes, so that the other end feels how fast they
 * are used, and every wait has an end.
 */
export class PeerStream {
  /** Address and port of the other end. */
  readonly peer: string;
  /** Resolves when the other end has closed its side, or the connection is over. */
  readonly gone: Promise<void>;
  readonly #socket: Socket;
  readonly #unread: Uint8Array[] = [];
  #unreadBytes = 0;
  #receivedBytes = 0;
  #ended = false;
  #failure: Error | undefined;
  #wake: (() => void) | undefined;
  /** What is being filled: bytes go there as they arrive, and not by way of what is unread. */
  #target: Uint8Array | undefined;
  #filled = 0;
  /** Ends a wait that takes too long; begins anew with whatever arrives. */
  #patience: NodeJS.Timeout | undefined;
  #sayGone: () => void = () => undefined;

  constructor(socket: Socket, peer: string) {
    this.peer = peer;
    this.gone = new Promise((resolve) => {
      this.#sayGone = resolve;
    });
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MILLISECONDS);
    socket.on('data', (bytes: Uint8Array) => this.#keep(bytes));
    socket.on('end', () => this.#finish());
    socket.on('error', (error) => this.#finish(lost(error)));
    socket.on('close', () => this.#finish());
  }

  /** Bytes that were read. */
  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /**
   * Waits until there is something to read.
   * @returns false if the other end has closed its side
   * @throws PeerError if nothing happens for that long, or the connection is lost
   */
  async hasMore(patienceMicroseconds: number): Promise<boolean> {
    while (this.#unreadBytes === 0) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#ended) return false;
      await this.#arrival(patienceMicroseconds);
    }
    return true;
  }

  /**
   * Fills `target`.
   * @throws PeerError if the other end closes its side before, sends nothing for that long, or is lost
   */
  async readInto(target: Uint8Array, patienceMicroseconds: number = STALL_MICROSECONDS): Promise<void> {
    let filled = 0;
    while (filled < target.length && this.#unreadBytes > 0) filled += this.#take(target.subarray(filled));
    if (filled === target.length) return;
    this.#target = target;
    this.#filled = filled;
    try {
      while (this.#filled < target.length) {
        if (this.#failure !== undefined) throw this.#failure;
        if (this.#ended) throw new PeerError('it closed the connection in the middle of a message');
        await this.#arrival(patienceMicroseconds);
      }
    } finally {
      this.#target = undefined;
    }
  }

  /** Reads and forgets `count` bytes. @throws as `readInto` */
  async skip(count: number, patienceMicroseconds: number = STALL_MICROSECONDS): Promise<void> {
    const waste = new Uint8Array(Math.min(count, 64 * 1024));
    for (let rest = count; rest > 0; rest -= waste.length) {
      await this.readInto(waste.subarray(0, Math.min(rest, waste.length)), patienceMicroseconds);
    }
  }

  /**
   * Sends bytes, and waits until the kernel has them. In TLS they are records of their own.
   * @throws PeerError if it does not take them for that long, or the connection is lost
   */
  async write(bytes: Uint8Array, patienceMicroseconds: number = STALL_MICROSECONDS): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => this.abort(new PeerError(`it has taken no bytes for ${patienceMicroseconds / 1e6} s`)),
        patienceMicroseconds / 1000,
      );
      this.#socket.write(bytes, (error) => {
        clearTimeout(timer);
        if (error === undefined || error === null) resolve();
        else reject(this.#failure ?? lost(error));
      });
    });
  }

  /**
   * Ends this side, and waits for the other to end its own, as CRIU's page server does; what still comes is not read.
   * Never throws.
   */
  async finish(patienceMicroseconds: number): Promise<void> {
    this.#socket.end();
    try {
      while (await this.hasMore(patienceMicroseconds)) this.#forget();
    } catch {
      // Everything that mattered has been said.
    }
    this.#socket.destroy();
  }

  /** Ends the connection; whoever waits for it is told `error`. */
  abort(error: Error): void {
    this.#failure ??= error;
    this.#wake?.();
    this.#socket.destroy();
  }

  #keep(bytes: Uint8Array): void {
    const rest = this.#place(bytes);
    if (rest.length > 0) {
      this.#unread.push(rest);
      this.#unreadBytes += rest.length;
      if (this.#unreadBytes >= MAX_UNREAD_BYTES) this.#socket.pause();
    }
    // Who waits for more is not woken for each piece.
    if (this.#target === undefined || this.#filled === this.#target.length) this.#wake?.();
    else this.#patience?.refresh();
  }

  /** Puts what has arrived where it is waited for. @returns what is left */
  #place(bytes: Uint8Array): Uint8Array {
    const target = this.#target;
    const count = target === undefined ? 0 : Math.min(bytes.length, target.length - this.#filled);
    if (target === undefined || count === 0) return bytes;
    target.set(count === bytes.length ? bytes : bytes.subarray(0, count), this.#filled);
    this.#filled += count;
    this.#receivedBytes += count;
    return bytes.subarray(count);
  }

  #finish(failure?: Error): void {
    this.#ended = true;
    this.#failure ??= failure;
    this.#wake?.();
    this.#sayGone();
  }

  /** Moves what is here to `target`. @returns how many bytes */
  #take(target: Uint8Array): number {
    const [first] = this.#unread;
    if (first === undefined) return 0;
    const count = Math.min(first.length, target.length);
    target.set(first.subarray(0, count));
    if (count === first.length) this.#unread.shift();
    else this.#unread[0] = first.subarray(count);
    this.#use(count);
    return count;
  }

  #forget(): void {
    this.#unread.length = 0;
    this.#use(this.#unreadBytes);
  }

  #use(count: number): void {
    this.#unreadBytes -= count;
    this.#receivedBytes += count;
    if (this.#unreadBytes < MAX_UNREAD_BYTES / 2 && this.#socket.isPaused()) this.#socket.resume();
  }

  async #arrival(patienceMicroseconds: number): Promise<void> {
    this.#patience = setTimeout(() => {
      this.abort(new PeerError(`it has sent nothing for ${patienceMicroseconds / 1e6} s`));
    }, patienceMicroseconds / 1000);
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    clearTimeout(this.#patience);
    this.#wake = undefined;
  }
}

function lost(cause: Error): PeerError {
  return new PeerError(`the connection was lost: ${cause.message}`, { cause });
}
