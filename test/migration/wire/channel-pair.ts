import { PeerError } from '../../../src/core/index.ts';
import type { Channel } from '../../../src/migration/wire/channel.ts';
import type { Message } from '../../../src/migration/wire/messages.ts';
import { type SessionPair, sessionPair } from './session-pair.ts';

/** What goes wrong between the two ends. */
export interface PairFaults {
  /** The channel fails for good, on both ends, when the first end has sent this many messages. */
  readonly lostAfterSent?: number;
  /** As `lostAfterSent`, when the first end has received this many. */
  readonly lostAfterReceived?: number;
  /** As `lostAfterSent`, when the second end has sent this many. */
  readonly lostAfterAnswered?: number;
  /** A connection is lost, and made again, whenever the first end has sent so many bytes over it: one number for each. */
  readonly cutsAfterBytes?: readonly number[];
  /** Connections at a time; 1 by default. */
  readonly connections?: number;
  /** Time that each write takes; 0 by default. */
  readonly delayMilliseconds?: number;
}

/** Two ends of a channel over connections in memory: what the first sends the second receives and vice versa. */
export function channelPair(faults: PairFaults = {}): [Channel, Channel] {
  const { cutsAfterBytes = [], connections = 1, delayMilliseconds = 0 } = faults;
  const pair = sessionPair({
    connections,
    faults: [
      ...cutsAfterBytes.map((cutAfterBytes) => ({ cutAfterBytes, delayMilliseconds })),
      ...Array.from({ length: connections }, () => ({ delayMilliseconds })),
    ],
  });
  const { lostAfterAnswered } = faults;
  const answers = lostAfterAnswered === undefined ? {} : { lostAfterSent: lostAfterAnswered };
  return [new LateChannel(pair, 'first', faults), new LateChannel(pair, 'second', answers)];
}

/** A channel from before its handshake is over, which can be lost for good at a message. */
class LateChannel implements Channel {
  readonly #pair: Promise<SessionPair>;
  readonly #name: 'first' | 'second';
  readonly #faults: PairFaults;
  #channel: Channel | undefined;
  #sent = 0;
  #received = 0;

  constructor(pair: Promise<SessionPair>, name: 'first' | 'second', faults: PairFaults) {
    this.#pair = pair;
    this.#name = name;
    this.#faults = faults;
    void this.#ready();
  }

  async #ready(): Promise<Channel> {
    this.#channel = (await this.#pair)[this.#name];
    return this.#channel;
  }

  get peer(): string {
    return this.#channel?.peer ?? '';
  }

  get sentBytes(): number {
    return this.#channel?.sentBytes ?? 0;
  }

  get receivedBytes(): number {
    return this.#channel?.receivedBytes ?? 0;
  }

  get unacknowledgedBytes(): number {
    return this.#channel?.unacknowledgedBytes ?? 0;
  }

  get roundTripMicroseconds(): number | undefined {
    return this.#channel?.roundTripMicroseconds;
  }

  async send(message: Message): Promise<void> {
    if (this.#sent++ === this.#faults.lostAfterSent) await this.#lose();
    await (this.#channel ?? (await this.#ready())).send(message);
  }

  async receive(): Promise<Message | undefined> {
    if (this.#received++ === this.#faults.lostAfterReceived) await this.#lose();
    return (this.#channel ?? (await this.#ready())).receive();
  }

  /** What was sent before arrives, then both ends fail. */
  async #lose(): Promise<void> {
    const { first, second } = await this.#pair;
    await first.flushed();
    first.abort(new PeerError('the connection was lost for good'));
    second.abort(new PeerError('the connection was lost for good'));
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Message, undefined> {
    for (;;) {
      const message = await this.receive();
      if (message === undefined) return undefined;
      yield message;
    }
  }

  async flushed(): Promise<void> {
    await (await this.#ready()).flushed();
  }

  async close(): Promise<void> {
    await (await this.#ready()).close();
  }

  abort(reason: Error): void {
    void this.#ready().then((channel) => channel.abort(reason));
  }
}
