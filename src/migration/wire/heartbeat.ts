import { PeerError } from '../../core/index.ts';
import type { Connection } from './connection.ts';
import { FRAME_TYPES, type Frame } from './frame.ts';

/** Round trips of which the shortest counts: others waited behind data. */
const REMEMBERED_ROUND_TRIPS = 8;

const PAYLOAD_BYTES = 8;

/** Asks the other end now and then whether it is there, measures how long the answer takes, and ends silent connections. */
export class Heartbeat {
  readonly #silenceMilliseconds: number;
  readonly #connections: () => readonly Connection[];
  readonly #timer: NodeJS.Timeout;
  readonly #roundTrips: number[] = [];
  #lookedAt = performance.now();

  constructor(silenceMilliseconds: number, connections: () => readonly Connection[]) {
    this.#silenceMilliseconds = silenceMilliseconds;
    this.#connections = connections;
    this.#timer = setInterval(() => this.#look(), silenceMilliseconds / 4);
    this.#timer.unref();
  }

  get roundTripMicroseconds(): number | undefined {
    return this.#roundTrips.length === 0 ? undefined : Math.round(Math.min(...this.#roundTrips) * 1000);
  }

  /** Asks over one connection. */
  beat(connection: Connection): void {
    // What waits there already makes the other end's answer as sure as a question would.
    if (connection.congested) return;
    const payload = new Uint8Array(PAYLOAD_BYTES);
    new DataView(payload.buffer).setFloat64(0, performance.now(), true);
    connection.sendFrame(FRAME_TYPES.ping, 0, 0, payload);
  }

  /**
   * Takes a ping or a pong.
   * @throws PeerError if it is none.
   */
  take(connection: Connection, { type, payload }: Frame): void {
    if (payload.length !== PAYLOAD_BYTES) {
      throw new PeerError(`the other end sent a heartbeat of ${payload.length} bytes`);
    }
    if (type === FRAME_TYPES.ping) {
      if (!connection.congested) connection.sendFrame(FRAME_TYPES.pong, 0, 0, payload);
      return;
    }
    const sentAt = new DataView(payload.buffer, payload.byteOffset).getFloat64(0, true);
    const elapsed = performance.now() - sentAt;
    if (!(elapsed >= 0)) throw new PeerError('the other end answered a heartbeat that was never sent');
    this.#roundTrips.push(elapsed);
    if (this.#roundTrips.length > REMEMBERED_ROUND_TRIPS) this.#roundTrips.shift();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const now = performance.now();
    // Whoever did not look for long, because other work kept it, has not listened either.
    const late = now - this.#lookedAt > this.#silenceMilliseconds / 2;
    this.#lookedAt = now;
    for (const connection of this.#connections()) {
      const silence = now - connection.heardAt;
      if (!late && silence > this.#silenceMilliseconds) {
        connection.giveUp(`nothing was heard of the other end for ${(silence / 1000).toFixed(1)} s`);
      } else this.beat(connection);
    }
  }
}
