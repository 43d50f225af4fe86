import { PeerError } from '../../../src/core/index.ts';
import type { Channel } from '../../../src/migration/wire/channel.ts';
import { decodeMessage, encodeMessage, type Message } from '../../../src/migration/wire/messages.ts';

/** What goes wrong between the two ends. */
export interface PairFaults {
  /** The channel fails for good, on both ends, when the first end has sent this many messages. */
  readonly lostAfterSent?: number;
  /** As `lostAfterSent`, when the first end has received this many. */
  readonly lostAfterReceived?: number;
  /** Time that each message takes; 0 by default. */
  readonly delayMilliseconds?: number;
}

/** Two ends of a channel in memory, through the codecs: what the first sends the second receives and vice versa. */
export function channelPair(faults: PairFaults = {}): [Channel, Channel] {
  const first = new MemoryEnd('first', faults);
  const second = new MemoryEnd('second', { ...faults, lostAfterSent: -1, lostAfterReceived: -1 });
  first.other = second;
  second.other = first;
  return [first, second];
}

class MemoryEnd implements Channel {
  readonly peer: string;
  readonly roundTripMicroseconds = undefined;
  other: MemoryEnd | undefined;
  sentBytes = 0;
  receivedBytes = 0;
  unacknowledgedBytes = 0;
  readonly #faults: PairFaults;
  readonly #arrived: (Uint8Array | undefined)[] = [];
  #failure: Error | undefined;
  #sent = 0;
  #received = 0;
  #wake: (() => void) | undefined;
  #delivery: Promise<void> = Promise.resolve();

  constructor(name: string, faults: PairFaults) {
    this.peer = `the other end of ${name}`;
    this.#faults = faults;
  }

  async send(message: Message): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const encoded = encodeMessage(message).slice();
    if (this.#sent === this.#faults.lostAfterSent) {
      this.abort(new PeerError('the connection was lost for good'));
      throw this.#failure;
    }
    this.#sent++;
    this.sentBytes += encoded.length;
    this.unacknowledgedBytes += encoded.length;
    this.#deliver(encoded);
    await this.#delivery;
  }

  #deliver(encoded: Uint8Array | undefined): void {
    this.#delivery = this.#delivery.then(async () => {
      const { delayMilliseconds } = this.#faults;
      if (delayMilliseconds !== undefined) {
        await new Promise((resolve) => setTimeout(resolve, delayMilliseconds));
      }
      this.unacknowledgedBytes -= encoded?.length ?? 0;
      this.other?.arrive(encoded);
    });
  }

  arrive(encoded: Uint8Array | undefined): void {
    this.#arrived.push(encoded);
    this.#wake?.();
  }

  async receive(): Promise<Message | undefined> {
    if (this.#received === this.#faults.lostAfterReceived) {
      this.abort(new PeerError('the connection was lost for good'));
    }
    while (this.#arrived.length === 0 && this.#failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#failure !== undefined) throw this.#failure;
    const encoded = this.#arrived.shift();
    if (encoded === undefined) return undefined;
    this.#received++;
    this.receivedBytes += encoded.length;
    return decodeMessage(encoded);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Message, undefined> {
    for (;;) {
      const message = await this.receive();
      if (message === undefined) return undefined;
      yield message;
    }
  }

  async flushed(): Promise<void> {
    await this.#delivery;
    if (this.#failure !== undefined) throw this.#failure;
  }

  async close(): Promise<void> {
    this.#deliver(undefined);
    await this.flushed();
  }

  abort(reason: Error): void {
    this.fail(reason);
    this.other?.fail(new PeerError(`the other end gave up: ${reason.message}`));
  }

  fail(reason: Error): void {
    this.#failure ??= reason;
    this.#wake?.();
  }
}
