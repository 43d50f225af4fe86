import { setImmediate as nextTurn } from 'node:timers/promises';
import { PeerError } from '../../core/index.ts';
import type { Channel } from '../wire/channel.ts';
import type { Message, MessageType } from '../wire/messages.ts';

/** Messages that may wait to be asked for: a destination that keeps to the protocol waits for the source, too. */
const MOST_UNREAD = 64;

type Said<Type extends MessageType> = Extract<Message, { readonly type: Type }>;

/** Reads what the destination says while the source sends. */
export class PeerAnswers {
  readonly #controller = new AbortController();
  readonly #waiting: {
    readonly resolve: (message: Message) => void;
    readonly reject: (error: Error) => void;
  }[] = [];
  readonly #queue: Message[] = [];
  #storedRounds = 0;
  #storing: { readonly rounds: number; readonly resolve: () => void } | undefined;

  constructor(channel: Channel) {
    void this.#listen(channel);
  }

  /** Aborted, with the reason, when the destination gives up or cannot be reached any more. */
  get failed(): AbortSignal {
    return this.#controller.signal;
  }

  /**
   * The next message, which has to be of this type.
   * @throws PeerError if it is another, the destination gives up, or the channel fails; the signal's reason
   */
  async next<Type extends MessageType>(type: Type, signal?: AbortSignal): Promise<Said<Type>> {
    const message = await this.#next(signal);
    if (isOf(message, type)) return message;
    throw new PeerError(`the destination said '${message.type}' where '${type}' was expected`);
  }

  /** The next message, which has to be of one of two types. @throws as `next` */
  async either<One extends MessageType, Other extends MessageType>(
    one: One,
    other: Other,
  ): Promise<Said<One> | Said<Other>> {
    const message = await this.#next(undefined);
    if (isOf(message, one)) return message;
    if (isOf(message, other)) return message;
    throw new PeerError(`the destination said '${message.type}' where '${one}' or '${other}' was expected`);
  }

  /** Resolves when the destination has stored so many rounds. @throws as `next` */
  async stored(rounds: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#storedRounds >= rounds) return;
    await new Promise<void>((resolve, reject) => {
      const onAbort = () => reject(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      this.#storing = {
        rounds,
        resolve: () => {
          signal.removeEventListener('abort', onAbort);
          resolve();
        },
      };
    });
  }

  async #next(signal: AbortSignal | undefined): Promise<Message> {
    const queued = this.#queue.shift();
    if (queued !== undefined) return queued;
    this.failed.throwIfAborted();
    signal?.throwIfAborted();
    return new Promise((resolve, reject) => {
      const onAbort = () => reject(signal?.reason);
      signal?.addEventListener('abort', onAbort, { once: true });
      const settled = () => signal?.removeEventListener('abort', onAbort);
      this.#waiting.push({
        resolve: (message) => {
          settled();
          resolve(message);
        },
        reject: (error) => {
          settled();
          reject(error);
        },
      });
    });
  }

  async #listen(channel: Channel): Promise<void> {
    try {
      for await (const message of channel) {
        if (message.type === 'abort') {
          throw new PeerError(`the destination has given the migration up: ${message.reason}`, {
            data: { saidSo: true },
          });
        }
        if (message.type === 'progress') this.#stored();
        else this.#take(message);
        if (this.#queue.length < MOST_UNREAD) continue;
        // Whoever waits for them has taken them by then.
        await nextTurn();
        if (this.#queue.length >= MOST_UNREAD) {
          throw new PeerError('the destination says more than it was asked for');
        }
      }
      throw new PeerError('the destination has ended the connection');
    } catch (error) {
      const failure = error instanceof Error ? error : new PeerError(String(error));
      this.#controller.abort(failure);
      for (const { reject } of this.#waiting.splice(0)) reject(failure);
    }
  }

  #stored(): void {
    this.#storedRounds++;
    if (this.#storing === undefined || this.#storedRounds < this.#storing.rounds) return;
    this.#storing.resolve();
    this.#storing = undefined;
  }

  #take(message: Message): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#queue.push(message);
    else next.resolve(message);
  }
}

function isOf<Type extends MessageType>(message: Message, type: Type): message is Said<Type> {
  return message.type === type;
}
