import type { Channel } from '../../../src/migration/wire/channel.ts';
import { decodeMessage, encodeMessage, type Message } from '../../../src/migration/wire/messages.ts';

/** Two ends in one program, joined by queues. */
export function memoryChannels(): [MemoryChannel, MemoryChannel] {
  const left = new MemoryChannel();
  const right = new MemoryChannel();
  left.other = right;
  right.other = left;
  return [left, right];
}

class MemoryChannel implements Channel {
  readonly peer = 'memory';
  other: MemoryChannel | undefined;
  sentBytes = 0;
  receivedBytes = 0;
  readonly unacknowledgedBytes = 0;
  readonly roundTripMicroseconds = 1;
  readonly #queue: Uint8Array[] = [];
  #ended = false;
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  async send(message: Message): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const bytes = encodeMessage(message).slice();
    this.sentBytes += bytes.length;
    this.other!.#take(bytes);
    await new Promise((resolve) => setImmediate(resolve));
  }

  async receive(): Promise<Message | undefined> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      const bytes = this.#queue.shift();
      if (bytes !== undefined) {
        this.receivedBytes += bytes.length;
        return decodeMessage(bytes);
      }
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Message, undefined> {
    for (let message = await this.receive(); message !== undefined; message = await this.receive())
      yield message;
    return undefined;
  }

  async flushed(): Promise<void> {}

  async close(): Promise<void> {
    this.other!.#ended = true;
    this.other!.#wake?.();
  }

  abort(reason: Error): void {
    for (const end of [this, this.other!]) {
      end.#failure ??= reason;
      end.#wake?.();
    }
  }

  #take(bytes: Uint8Array): void {
    this.#queue.push(bytes);
    this.#wake?.();
  }
}
