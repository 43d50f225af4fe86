import type { Message } from './messages.ts';

/**
 * One end of the ordered, reliable stream of messages between source and destination. It may run over several
 * connections and outlives the loss of all of them for a time; a message arrives exactly once or the channel fails.
 * Once it has failed every pending and every later call rejects with the same error.
 */
export interface Channel {
  /** The other end's address, for messages to people. */
  readonly peer: string;
  /**
   * Resolves as soon as flow control has taken the message, not when it has arrived; whoever sends much awaits each
   * before the next. The message is encoded before `send` returns: its buffers may be used again at once.
   * @throws PeerError if the channel has failed, RangeError for a message beyond the bounds of messages.ts.
   */
  send(message: Message): Promise<void>;
  /**
   * The next message; undefined when the other end has closed the channel. One call at a time. Byte fields of the
   * message belong to the caller.
   * @throws PeerError if the channel fails first.
   */
  receive(): Promise<Message | undefined>;
  /** `receive` until the end. */
  [Symbol.asyncIterator](): AsyncIterator<Message, undefined>;
  /** Resolves when the other end has acknowledged every message sent so far (they are in its memory, not on disk). */
  flushed(): Promise<void>;
  /** Bytes of this end's messages that flow control has taken so far, framing included; resending does not count. */
  readonly sentBytes: number;
  /** Bytes of the other end's messages that `receive` has given out so far, framing included. */
  readonly receivedBytes: number;
  /** Part of `sentBytes` that the other end has not acknowledged. */
  readonly unacknowledgedBytes: number;
  /** Shortest recently measured time between a question and its answer, in microseconds; undefined before the first. */
  readonly roundTripMicroseconds: number | undefined;
  /**
   * Says that nothing more will be sent and resolves when everything has been acknowledged. Messages of the other
   * end can be received further until it closes too.
   * @throws PeerError if the channel fails first.
   */
  close(): Promise<void>;
  /** Ends the channel at once, on both ends: the other end's calls reject with a PeerError that gives this reason. */
  abort(reason: Error): void;
}

/** What happens below a channel, for progress lines. */
export type ChannelEvent =
  | { readonly kind: 'connection-lost'; readonly reason: string; readonly connectionsLeft: number }
  | { readonly kind: 'connection-resumed'; readonly connections: number }
  | { readonly kind: 'failed'; readonly reason: string };
