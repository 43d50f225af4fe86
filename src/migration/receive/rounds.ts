import type { CodecPool } from '../../codec/index.ts';
import { formatDuration, PeerError } from '../../core/index.ts';
import type { NewProcess } from '../../store/index.ts';
import type { TargetState } from '../../target/index.ts';
import type { Channel } from '../wire/channel.ts';
import type { Message, MessageOf, MessageType } from '../wire/messages.ts';
import { LONGEST_TIMER_MILLISECONDS } from '../wire/options.ts';
import { printable } from '../wire/printable.ts';
import { type PageSink, takePages } from './page-sink.ts';
import { ReceivedMappings } from './received-mappings.ts';
import { ReceivedState } from './received-state.ts';

/** How long a source may say nothing by default: to look at all of a very large memory takes it minutes. */
export const DEFAULT_QUIET_MICROSECONDS = 3_600_000_000;

/** What a round brought besides pages. */
export interface ReceivedRound {
  readonly final: boolean;
  readonly processes: readonly NewProcess[];
  /** Of the last round. */
  readonly state: TargetState | undefined;
}

/** The messages of the other end, one after another, with the pages in them passed on. */
export class RoundReader {
  readonly #channel: Channel;
  readonly #pool: CodecPool;
  readonly #onPages: (round: number, final: boolean) => void;
  readonly #quietMilliseconds: number;
  receivedPages = 0;
  zeroPages = 0;

  /** @param quietMicroseconds after so much silence of the other end the channel is given up */
  constructor(
    channel: Channel,
    pool: CodecPool,
    onPages: (round: number, final: boolean) => void,
    quietMicroseconds = DEFAULT_QUIET_MICROSECONDS,
  ) {
    this.#quietMilliseconds = Math.min(quietMicroseconds / 1000, LONGEST_TIMER_MILLISECONDS);
    this.#channel = channel;
    this.#pool = pool;
    this.#onPages = onPages;
  }

  /**
   * The next message.
   * @throws PeerError if the other end gives up, ends the connection, falls silent or cannot be reached any more
   */
  async next(): Promise<Message> {
    const message = await this.#unlessQuiet();
    if (message === undefined) throw new PeerError('the other end has ended the connection');
    if (message.type === 'abort') {
      throw new PeerError(`the other end has given the migration up: ${printable(message.reason)}`);
    }
    return message;
  }

  /** Its connection answers as long as the other end exists; only what it says tells that it goes on. */
  async #unlessQuiet(): Promise<Message | undefined> {
    const channel = this.#channel;
    let heardBytes = channel.receivedBytes;
    const watch = setInterval(() => {
      if (channel.receivedBytes === heardBytes) {
        const duration = formatDuration(this.#quietMilliseconds * 1000);
        channel.abort(new PeerError(`the other end is connected and has said nothing for ${duration}`));
      }
      heardBytes = channel.receivedBytes;
    }, this.#quietMilliseconds);
    try {
      return await channel.receive();
    } finally {
      clearInterval(watch);
    }
  }

  /** The next message, which must be of one of these types. @throws PeerError as `next` */
  async expect<Type extends MessageType>(
    ...types: readonly Type[]
  ): Promise<Extract<Message, { type: Type }>> {
    const message = await this.next();
    if (isOneOf(message, types)) return message;
    throw new PeerError(
      `the other end said '${message.type}' where ${types.map((type) => `'${type}'`).join(' or ')} was expected`,
    );
  }

  /**
   * Reads a round to its end; the state of a last round may follow that.
   * @throws PeerError if anything else comes or pages are missing; what the sink throws
   */
  async read({ number, final }: MessageOf<'round'>, sink: PageSink): Promise<ReceivedRound> {
    const mappings = new ReceivedMappings();
    const state = new ReceivedState();
    const before = this.receivedPages;
    let ended = false;
    while (!ended || (final && state.whole === undefined)) {
      const message = await this.expect('pages', 'mappings', 'gone', 'state', 'round-end');
      if (message.type === 'pages') {
        if (ended) throw new PeerError(`the other end sent pages behind the end of round ${number}`);
        await this.takePages(message, sink);
        this.#onPages(number, final);
      } else if (message.type === 'mappings') mappings.add(message);
      else if (message.type === 'gone') sink.drop(message.pid, message.ranges);
      else if (message.type === 'state') {
        if (!final) throw new PeerError(`the other end sent state in round ${number}, which is not the last`);
        state.add(message);
      } else {
        this.#checkEnd(message, number, this.receivedPages - before);
        ended = true;
      }
    }
    if (mappings.processes.length === 0) {
      throw new PeerError(`the other end ended round ${number} without saying what the pages belong to`);
    }
    return { final, processes: mappings.processes, state: state.whole };
  }

  /** Hands pages on and counts them. @throws PeerError, what the sink throws */
  async takePages(message: MessageOf<'pages'>, sink: PageSink): Promise<void> {
    await takePages(sink, message, this.#pool);
    this.receivedPages += message.ranges.pageCount;
    if (message.encoding === 'zero') this.zeroPages += message.ranges.pageCount;
  }

  #checkEnd(message: MessageOf<'round-end'>, number: number, pages: number): void {
    if (message.number === number && message.sentPages === pages) return;
    throw new PeerError(
      `the other end ended round ${message.number} with ${message.sentPages} pages, of round ${number} ${pages} have come`,
    );
  }
}

function isOneOf<Type extends MessageType>(
  message: Message,
  types: readonly Type[],
): message is Extract<Message, { type: Type }> {
  return types.some((type) => type === message.type);
}
