import type { ConnectionSet } from './connection-set.ts';
import { FRAME_TYPES } from './frame.ts';
import { type Acknowledgement, encodePayload, PAYLOADS } from './handshake.ts';
import type { Inbox } from './inbox.ts';

/** Tells the other end what has arrived and how much more it may send: at most once a turn of the event loop. */
export class Acknowledger {
  readonly #inbox: Inbox;
  readonly #connections: ConnectionSet;
  /** More credit alone is told only from here on. */
  readonly #worthTelling: number;
  #told: Acknowledgement;
  #scheduled = false;
  #due = false;

  constructor(inbox: Inbox, connections: ConnectionSet, windowBytes: number) {
    this.#inbox = inbox;
    this.#connections = connections;
    this.#worthTelling = windowBytes / 8;
    this.#told = this.current;
  }

  /** What there is to tell. */
  get current(): Acknowledgement {
    return { received: this.#inbox.received, credit: this.#inbox.credit };
  }

  /** Something has arrived, or was given out. */
  soon(): void {
    if (this.#scheduled) return;
    const { received, credit } = this.current;
    if (received === this.#told.received && credit - this.#told.credit < this.#worthTelling) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.now();
    });
  }

  /** Tells it even if it was told before: that may have been lost with its connection. */
  now(): void {
    const connection = this.#connections.idlest();
    this.#due = connection === undefined;
    if (connection === undefined) return;
    this.#told = this.current;
    const payload = encodePayload(PAYLOADS.acknowledgement, this.#told);
    connection.sendFrame(FRAME_TYPES.acknowledgement, 0, 0, payload);
  }

  /** There may be room for what could not be told. */
  catchUp(): void {
    if (this.#due) this.now();
  }
}
