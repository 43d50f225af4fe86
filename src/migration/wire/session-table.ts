import { createHash, randomBytes } from 'node:crypto';
import { PeerError } from '../../core/index.ts';
import { windowOf } from './connect.ts';
import type { Connection } from './connection.ts';
import { FRAME_TYPES } from './frame.ts';
import {
  decodePayload,
  encodePayload,
  encodeRefusal,
  MAX_CONNECTIONS,
  MIN_WINDOW_BYTES,
  PAYLOADS,
  type Refusal,
  TOKEN_BYTES,
} from './handshake.ts';
import { DEFAULT_GIVE_UP_MICROSECONDS, DEFAULT_SILENCE_MICROSECONDS, type ListenOptions } from './options.ts';
import { Session } from './session.ts';

const DEFAULT_CHANNELS = 4;

/** Sessions that ended well are remembered: the other end may not have heard of it, and asks. */
const MAX_FINISHED = 64;

/** A session that more connections can join. */
interface KnownSession {
  readonly session: Session;
  readonly token: Uint8Array;
  /** Who opened it, as `identityOf` says: nobody else can join it. */
  readonly identity: string;
  readonly connections: number;
}

/** The other end asks for what it cannot have. */
export class RefusalError extends PeerError {
  readonly reason: Refusal['reason'];

  constructor(reason: Refusal['reason'], detail: string) {
    super(detail);
    this.reason = reason;
  }
}

/** The sessions of a listener: whoever knows the token of one, and is who opened it, can give it connections. */
export class SessionTable {
  readonly #options: ListenOptions;
  readonly #windowBytes: number;
  readonly #onChannel: (session: Session) => void;
  /** By the digest of the token, so that a look-up tells nothing of the token through the time that it takes. */
  readonly #sessions = new Map<string, KnownSession>();
  /** Those that are over, with who opened them; oldest first. */
  readonly #finished = new Map<string, string>();

  /** @throws UsageError for a senseless window. */
  constructor(options: ListenOptions, onChannel: (session: Session) => void) {
    this.#options = options;
    this.#windowBytes = windowOf(options);
    this.#onChannel = onChannel;
  }

  /**
   * Reads what a connection whose preamble has arrived is for, and makes it part of a new or an old session.
   * @throws PeerError if it is none of that; it has then been told.
   */
  async admit(connection: Connection, identity: string): Promise<void> {
    try {
      const { type, payload } = await connection.next();
      if (type === FRAME_TYPES.open) this.#open(connection, identity, payload);
      else if (type === FRAME_TYPES.join) this.#join(connection, identity, payload);
      else throw new RefusalError('protocol', `a connection cannot begin with a frame of type ${type}`);
    } catch (error) {
      if (error instanceof PeerError) {
        const reason = error instanceof RefusalError ? error.reason : 'protocol';
        connection.sendFrame(FRAME_TYPES.refuse, 0, 0, encodeRefusal(reason, error.message));
        connection.closeSoon();
      }
      throw error;
    }
  }

  #open(connection: Connection, identity: string, payload: Uint8Array): void {
    const { windowBytes, connections } = decodePayload(PAYLOADS.open, payload, 'the request for a session');
    if (windowBytes < MIN_WINDOW_BYTES || connections < 1 || connections > MAX_CONNECTIONS) {
      throw new RefusalError(
        'protocol',
        `a window of ${windowBytes} bytes and ${connections} connections do not go`,
      );
    }
    const most = this.#options.channels ?? DEFAULT_CHANNELS;
    if (this.#sessions.size >= most) {
      throw new RefusalError('busy', `${most} migrations are under way, and no more are taken at a time`);
    }
    const token = randomBytes(TOKEN_BYTES);
    const session = this.#newSession(connection.peer, windowBytes, keyOf(token));
    this.#sessions.set(keyOf(token), { session, token, identity, connections });
    this.#accept(connection, session, token);
    session.attach(0, connection);
    this.#onChannel(session);
  }

  #join(connection: Connection, identity: string, payload: Uint8Array): void {
    const { token, slot, ...state } = decodePayload(PAYLOADS.join, payload, 'the request to join a session');
    if (this.#finished.get(keyOf(token)) === identity) {
      throw new RefusalError('finished', 'this migration is over');
    }
    const known = this.#sessions.get(keyOf(token));
    if (known === undefined || known.identity !== identity) {
      throw new RefusalError('unknown-session', 'it does not know this migration (any more)');
    }
    if (slot >= known.connections) {
      throw new RefusalError('protocol', `connection ${slot} of a session of ${known.connections}`);
    }
    this.#accept(connection, known.session, known.token);
    known.session.attach(slot, connection, state);
  }

  #accept(connection: Connection, session: Session, token: Uint8Array): void {
    const payload = encodePayload(PAYLOADS.accept, {
      token,
      windowBytes: this.#windowBytes,
      ...session.acknowledgement,
    });
    connection.sendFrame(FRAME_TYPES.accept, 0, 0, payload);
  }

  #newSession(peer: string, credit: number, key: string): Session {
    const { giveUpMicroseconds, silenceMicroseconds, onEvent } = this.#options;
    return new Session({
      peer,
      windowBytes: this.#windowBytes,
      credit,
      giveUpMilliseconds: (giveUpMicroseconds ?? DEFAULT_GIVE_UP_MICROSECONDS) / 1000,
      silenceMilliseconds: (silenceMicroseconds ?? DEFAULT_SILENCE_MICROSECONDS) / 1000,
      onEvent,
      finishes: true,
      onEnded: (how) => this.#forget(key, how),
    });
  }

  #forget(key: string, how: 'finished' | 'failed'): void {
    const known = this.#sessions.get(key);
    this.#sessions.delete(key);
    if (known === undefined || how === 'failed') return;
    this.#finished.set(key, known.identity);
    const [oldest] = this.#finished.keys();
    if (oldest !== undefined && this.#finished.size > MAX_FINISHED) this.#finished.delete(oldest);
  }
}

const keyOf = (token: Uint8Array) => createHash('sha256').update(token).digest('hex');
