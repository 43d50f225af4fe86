import { PeerError } from '../../core/index.ts';
import { Acknowledger } from './acknowledger.ts';
import type { Channel, ChannelEvent } from './channel.ts';
import type { Connection, ConnectionOwner } from './connection.ts';
import { ConnectionSet } from './connection-set.ts';
import { FRAME_TYPES, type Frame } from './frame.ts';
import { type Acknowledgement, decodePayload, PAYLOADS } from './handshake.ts';
import { Heartbeat } from './heartbeat.ts';
import { Inbox } from './inbox.ts';
import { Losses } from './losses.ts';
import { decodeMessage, encodeMessage, type Message } from './messages.ts';
import { Outbox, piecesOf } from './outbox.ts';
import { printable } from './printable.ts';

export interface SessionOptions {
  readonly peer: string;
  /** What this end is ready to receive, and to keep until it is acknowledged. */
  readonly windowBytes: number;
  /** What the other end is ready to receive. */
  readonly credit: number;
  readonly giveUpMilliseconds: number;
  readonly silenceMilliseconds: number;
  readonly onEvent?: ((event: ChannelEvent) => void) | undefined;
  /** A connection was lost; the connecting end makes a new one. */
  readonly onSlotLost?: (slot: number) => void;
  /** Whether this end says when all is over: the listening one, which answers for it if the other has to ask again. */
  readonly finishes: boolean;
  /** The session is over. */
  readonly onEnded: (how: 'finished' | 'failed') => void;
}

const MAX_REASON_BYTES = 512;

const NOTHING = new Uint8Array(0);

/** A channel over any number of connections that come and go. */
export class Session implements Channel {
  readonly peer: string;
  readonly #options: SessionOptions;
  readonly #outbox: Outbox;
  readonly #inbox: Inbox;
  readonly #heartbeat: Heartbeat;
  readonly #acknowledger: Acknowledger;
  readonly #losses: Losses;
  readonly #connections = new ConnectionSet();
  #sending: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;
  #failure: Error | undefined;
  #over = false;
  /** Whoever waits for acknowledgements, room or messages; all look again when something has happened. */
  #waiting: (() => void)[] = [];
  #linger: NodeJS.Timeout | undefined;

  constructor(options: SessionOptions) {
    this.peer = options.peer;
    this.#options = options;
    this.#outbox = new Outbox(options.windowBytes, options.credit);
    this.#inbox = new Inbox(options.windowBytes);
    this.#acknowledger = new Acknowledger(this.#inbox, this.#connections, options.windowBytes);
    this.#heartbeat = new Heartbeat(options.silenceMilliseconds, () => this.#connections.all);
    this.#losses = new Losses(options.giveUpMilliseconds, (why) => this.#giveUp(why));
  }

  get sentBytes(): number {
    return this.#outbox.sentBytes;
  }

  get receivedBytes(): number {
    return this.#inbox.consumedBytes;
  }

  get unacknowledgedBytes(): number {
    return this.#outbox.unacknowledgedBytes;
  }

  get roundTripMicroseconds(): number | undefined {
    return this.#heartbeat.roundTripMicroseconds;
  }

  /** What this end has and can take, for handshakes. */
  get acknowledgement(): Acknowledgement {
    return this.#acknowledger.current;
  }

  /** Whether it has ended, well or badly. */
  get over(): boolean {
    return this.#over;
  }

  async send(message: Message): Promise<void> {
    this.#requireUnfailed();
    if (this.#closing !== undefined) throw new RangeError('a message was sent after the channel was closed');
    const encoded = encodeMessage(message);
    await this.#inTurn(async () => {
      for (const { payload, moreFollows } of piecesOf(encoded)) {
        await this.#until(() => this.#outbox.hasRoom(payload.length));
        this.#outbox.addData(payload, moreFollows);
        this.#pump();
      }
    });
  }

  async receive(): Promise<Message | undefined> {
    for (;;) {
      this.#requireUnfailed();
      try {
        const encoded = this.#inbox.take();
        // Pieces of a message that is not whole yet have made room, too.
        this.#acknowledger.soon();
        if (encoded !== undefined) return decodeMessage(encoded);
      } catch (error) {
        if (error instanceof PeerError) this.abort(error);
        throw error;
      }
      if (this.#inbox.ended || this.#over) return undefined;
      await this.#somethingHappens();
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Message, undefined> {
    for (;;) {
      const message = await this.receive();
      if (message === undefined) return undefined;
      yield message;
    }
  }

  async flushed(): Promise<void> {
    await this.#sending;
    const target = this.#outbox.nextSequence;
    await this.#until(() => this.#outbox.acknowledgedBefore >= target);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#inTurn(async () => {
      await this.#until(() => this.#outbox.hasRoom(0));
      this.#outbox.addEnd();
      this.#pump();
    });
    await this.#until(() => this.#over || this.#outbox.endAcknowledged);
    if (this.#over) return;
    this.#lingerWhileHeard();
  }

  /** Nobody need wait for ever for an other end that does not close, unless it has more to say. */
  #lingerWhileHeard(): void {
    const { received } = this.#inbox;
    this.#linger = setTimeout(() => {
      if (this.#inbox.received === received) this.#finish();
      else this.#lingerWhileHeard();
    }, this.#options.silenceMilliseconds);
    this.#linger.unref();
  }

  abort(reason: Error): void {
    if (this.#over) return;
    const text = Buffer.from(reason.message).subarray(0, MAX_REASON_BYTES);
    this.#connections.closeWith(FRAME_TYPES.failure, text);
    this.#fail(reason);
  }

  /**
   * Adds a connection whose handshake is over, instead of the one that had its slot.
   * @param state what the other end had when it was made; absent for the first one.
   */
  attach(slot: number, connection: Connection, state?: Acknowledgement): void {
    if (this.#over) {
      connection.destroy();
      return;
    }
    const former = this.#connections.set(slot, connection);
    if (former !== undefined) {
      former.destroy();
      this.#outbox.takeBack(former);
    }
    this.#losses.stopWaiting();
    if (state !== undefined) {
      this.#guarded(() => this.#outbox.acknowledge(state.received, state.credit));
      this.#options.onEvent?.({ kind: 'connection-resumed', connections: this.#connections.size });
    }
    connection.own(this.#ownerOf(slot, connection));
    this.#heartbeat.beat(connection);
    this.#happened();
    this.#pump();
    this.#acknowledger.now();
  }

  #ownerOf(slot: number, connection: Connection): ConnectionOwner {
    return {
      onFrame: (frame) => this.#take(connection, frame),
      onLost: (reason) => this.#lost(slot, connection, reason),
      onViolation: (error) => this.abort(error),
      onWritten: () => this.#pump(),
    };
  }

  #take(connection: Connection, frame: Frame): void {
    switch (frame.type) {
      case FRAME_TYPES.data:
      case FRAME_TYPES.end:
        this.#inbox.add(frame);
        this.#acknowledger.soon();
        this.#happened();
        this.#finishIfDone();
        break;
      case FRAME_TYPES.acknowledgement: {
        const { received, credit } = decodePayload(
          PAYLOADS.acknowledgement,
          frame.payload,
          'an acknowledgement from the other end',
        );
        if (this.#outbox.acknowledge(received, credit)) this.#happened();
        this.#finishIfDone();
        break;
      }
      case FRAME_TYPES.finished:
        if (this.#options.finishes) throw new PeerError('the other end ended what only this end can end');
        this.finishedThere();
        break;
      case FRAME_TYPES.failure:
        this.#fail(
          new PeerError(`the other end gave up: ${printable(Buffer.from(frame.payload).toString('utf8'))}`),
        );
        break;
      default:
        this.#heartbeat.take(connection, frame);
    }
  }

  /** Gives waiting frames to connections as long as these take them. */
  #pump(): void {
    while (this.#outbox.waits) {
      const connection = this.#connections.idlest();
      if (connection === undefined) break;
      const { header, payload } = this.#outbox.next(connection)!;
      connection.sendEncoded(header, payload);
    }
    this.#acknowledger.catchUp();
  }

  #lost(slot: number, connection: Connection, reason: string): void {
    this.#connections.delete(slot);
    this.#outbox.takeBack(connection);
    if (this.#over) return;
    this.#options.onEvent?.({ kind: 'connection-lost', reason, connectionsLeft: this.#connections.size });
    const delivered = this.#inbox.received + this.#outbox.acknowledgedBefore;
    this.#losses.add(reason, this.#connections.size, delivered);
    this.#pump();
    // What was last acknowledged may be lost with the connection.
    this.#acknowledger.now();
    this.#options.onSlotLost?.(slot);
  }

  /** Both ends have closed, and all that is missing is the other end's acknowledgement of that. */
  get #nothingLeftToSay(): boolean {
    return this.#inbox.endArrived && this.#outbox.onlyEndLeft;
  }

  #giveUp(why: string): void {
    if (this.#nothingLeftToSay) this.#finish();
    else {
      this.#fail(
        new PeerError(`the connection to ${this.peer} ${why}`, {
          hint: 'look at the network and at the other end, then start again',
        }),
      );
    }
  }

  /** Ends the session: a connection cannot be resumed, for instance because the other end does not know it any more. */
  refuseResumption(error: PeerError): void {
    if (this.#over) return;
    if (this.#nothingLeftToSay) this.#finish();
    else this.#fail(error);
  }

  /** The other end has everything, and all that it sent has arrived here. */
  finishedThere(): void {
    if (this.#over) return;
    if (!this.#inbox.endArrived) {
      this.abort(new PeerError('the other end counts as closed what is not'));
      return;
    }
    this.#outbox.acknowledge(this.#outbox.nextSequence, 0);
    this.#finish();
  }

  #finishIfDone(): void {
    if (!this.#options.finishes || !this.#inbox.endArrived || !this.#outbox.endAcknowledged) return;
    this.#connections.closeWith(FRAME_TYPES.finished, NOTHING);
    this.#finish();
  }

  #finish(): void {
    if (this.#over) return;
    this.#connections.closeSoon();
    this.#end('finished');
  }

  #fail(error: Error): void {
    if (this.#over) return;
    this.#failure = error;
    this.#connections.destroy();
    this.#options.onEvent?.({ kind: 'failed', reason: error.message });
    this.#end('failed');
  }

  #end(how: 'finished' | 'failed'): void {
    this.#over = true;
    this.#losses.stopWaiting();
    clearTimeout(this.#linger);
    this.#heartbeat.stop();
    this.#options.onEnded(how);
    this.#happened();
  }

  /** One after another, in the order of the calls. */
  #inTurn(job: () => Promise<void>): Promise<void> {
    const turn = this.#sending.then(job);
    this.#sending = turn.catch(() => undefined);
    return turn;
  }

  async #until(condition: () => boolean): Promise<void> {
    for (;;) {
      this.#requireUnfailed();
      if (condition()) return;
      await this.#somethingHappens();
    }
  }

  #somethingHappens(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #happened(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #requireUnfailed(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #guarded(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      this.abort(error);
    }
  }
}
