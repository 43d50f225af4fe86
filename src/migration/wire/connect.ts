import { setTimeout as sleep } from 'node:timers/promises';
import { PeerError, UsageError } from '../../core/index.ts';
import type { Channel } from './channel.ts';
import type { Connection } from './connection.ts';
import { FRAME_TYPES } from './frame.ts';
import {
  decodePayload,
  encodePayload,
  MAX_CONNECTIONS,
  MAX_WINDOW_BYTES,
  MIN_WINDOW_BYTES,
  PAYLOADS,
  type Refusal,
} from './handshake.ts';
import {
  type ConnectOptions,
  DEFAULT_CONNECT_MICROSECONDS,
  DEFAULT_GIVE_UP_MICROSECONDS,
  DEFAULT_SILENCE_MICROSECONDS,
  DEFAULT_WINDOW_BYTES,
  type PeerAddress,
} from './options.ts';
import { printable } from './printable.ts';
import { Session } from './session.ts';
import { openConnection } from './transport.ts';

const FIRST_RETRY_MILLISECONDS = 50;
const LAST_RETRY_MILLISECONDS = 1000;

/** Makes a connection, preambles exchanged, and hands it to `use` for the rest of the handshake. */
export type Dial = <Result>(use: (connection: Connection) => Promise<Result>) => Promise<Result>;

/** The other end answered, and the answer is no. */
class RefusedError extends PeerError {
  readonly reason: Refusal['reason'];

  constructor(reason: Refusal['reason'], detail: string) {
    super(`the other end refused: ${printable(detail)}`);
    this.reason = reason;
  }
}

/**
 * Opens a channel to `listenForChannels` at that address. Lost connections are made again in the background until the
 * channel is closed or gives up.
 * @throws PeerError if there is nobody, somebody else, or somebody who does not let us in; UsageError for senseless options.
 */
export function connectChannel(address: PeerAddress, options: ConnectOptions): Promise<Channel> {
  const { security, connectMicroseconds = DEFAULT_CONNECT_MICROSECONDS, signal } = options;
  return openChannel(
    (use) => openConnection(address, security, connectMicroseconds / 1000, signal, use),
    options,
  );
}

/** As `connectChannel`, over whatever `dial` makes. */
export async function openChannel(dial: Dial, options: Omit<ConnectOptions, 'security'>): Promise<Session> {
  const connections = options.connections ?? 1;
  if (!Number.isInteger(connections) || connections < 1 || connections > MAX_CONNECTIONS) {
    throw new UsageError(`a channel has 1 to ${MAX_CONNECTIONS} connections, not ${connections}`);
  }
  const client = new SessionClient(dial, options);
  const session = await client.open(connections);
  await Promise.all(
    Array.from({ length: connections - 1 }, (_, index) => client.restore(session, index + 1)),
  );
  return session;
}

/** The handshakes of the connecting end. */
class SessionClient {
  readonly #dial: Dial;
  readonly #options: Omit<ConnectOptions, 'security'>;
  #token: Uint8Array = new Uint8Array(0);

  constructor(dial: Dial, options: Omit<ConnectOptions, 'security'>) {
    this.#dial = dial;
    this.#options = options;
  }

  /** A new session with its first connection. */
  open(connections: number): Promise<Session> {
    const windowBytes = windowOf(this.#options);
    return this.#dial(async (connection) => {
      const payload = encodePayload(PAYLOADS.open, { windowBytes, connections });
      connection.sendFrame(FRAME_TYPES.open, 0, 0, payload);
      const accepted = await acceptance(connection);
      this.#token = accepted.token;
      const session = this.#newSession(connection.peer, windowBytes, accepted.windowBytes);
      session.attach(0, connection);
      return session;
    });
  }

  #newSession(peer: string, windowBytes: number, credit: number): Session {
    const { giveUpMicroseconds, silenceMicroseconds, onEvent, signal } = this.#options;
    const stop = () => session.abort(new PeerError('this end gave the channel up'));
    const session: Session = new Session({
      peer,
      windowBytes,
      credit,
      giveUpMilliseconds: (giveUpMicroseconds ?? DEFAULT_GIVE_UP_MICROSECONDS) / 1000,
      silenceMilliseconds: (silenceMicroseconds ?? DEFAULT_SILENCE_MICROSECONDS) / 1000,
      onEvent,
      finishes: false,
      onSlotLost: (slot) => void this.restore(session, slot),
      onEnded: () => signal?.removeEventListener('abort', stop),
    });
    signal?.addEventListener('abort', stop);
    return session;
  }

  /** Gives the slot of a session a connection, however often that has to be tried while the session lasts. */
  async restore(session: Session, slot: number): Promise<void> {
    for (
      let delay = FIRST_RETRY_MILLISECONDS;
      !session.over;
      delay = Math.min(delay * 2, LAST_RETRY_MILLISECONDS)
    ) {
      try {
        await this.#dial((connection) => this.#join(session, slot, connection));
        return;
      } catch (error) {
        if (error instanceof RefusedError && error.reason === 'finished') session.finishedThere();
        else if (error instanceof RefusedError) session.refuseResumption(error);
        else if (!(error instanceof PeerError)) throw error;
      }
      await sleep(delay);
    }
  }

  async #join(session: Session, slot: number, connection: Connection): Promise<void> {
    const payload = encodePayload(PAYLOADS.join, { token: this.#token, slot, ...session.acknowledgement });
    connection.sendFrame(FRAME_TYPES.join, 0, 0, payload);
    session.attach(slot, connection, await acceptance(connection));
  }
}

async function acceptance(connection: Connection) {
  const { type, payload } = await connection.next();
  if (type === FRAME_TYPES.refuse) {
    const { reason, detail } = decodePayload(PAYLOADS.refuse, payload, "the other end's refusal");
    throw new RefusedError(reason, detail);
  }
  if (type !== FRAME_TYPES.accept) throw new PeerError(`the other end answered with a frame of type ${type}`);
  const accepted = decodePayload(PAYLOADS.accept, payload, "the other end's answer");
  if (accepted.windowBytes < MIN_WINDOW_BYTES) {
    throw new PeerError(
      `the other end offers a window of ${accepted.windowBytes} bytes, less than ${MIN_WINDOW_BYTES}`,
    );
  }
  return accepted;
}

/** @throws UsageError for a window that no other end would accept. */
export function windowOf({ windowBytes = DEFAULT_WINDOW_BYTES }: { readonly windowBytes?: number }): number {
  if (!Number.isInteger(windowBytes) || windowBytes < MIN_WINDOW_BYTES || windowBytes > MAX_WINDOW_BYTES) {
    throw new UsageError(`a window has ${MIN_WINDOW_BYTES} to ${MAX_WINDOW_BYTES} bytes, not ${windowBytes}`);
  }
  return windowBytes;
}
