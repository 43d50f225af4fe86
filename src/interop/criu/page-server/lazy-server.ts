import { type CheckpointName, openNamed, requireRestorable } from '../../../checkpoint/index.ts';
import { CodecPool } from '../../../codec/index.ts';
import { PeerError, TargetError } from '../../../core/index.ts';
import { type CheckpointReader, Store } from '../../../store/index.ts';
import { LazyPages } from './lazy-pages.ts';
import { answerLazily, type LazyProgress } from './lazy-session.ts';
import { listenForPeers, type PeerSecurity } from './listener.ts';
import { PeerMessages } from './peer-messages.ts';
import type { PeerStream } from './peer-stream.ts';

/** What to give, and to whom. */
export interface LazyServerRequest {
  readonly storeDirectory: string;
  readonly checkpoint: CheckpointName;
  readonly address: string;
  /** 0 for one that the kernel chooses. */
  readonly port: number;
  readonly security: PeerSecurity;
  /** Ends after one session. */
  readonly once: boolean;
  /** Codec threads. */
  readonly workers?: number;
  /** Ends the server. */
  readonly signal: AbortSignal;
  readonly onListening: (where: LazyListening) => void;
  /** Told of each session when it is over. */
  readonly onSession: (session: LazySession) => void;
  /** Told of connections that are not let in, and why. */
  readonly onRefused: (peer: string, reason: string) => void;
}

/** Where a lazy server listens, and what for. */
export interface LazyListening {
  readonly address: string;
  readonly port: number;
  readonly checkpoint: number;
}

/** A lazy restore that is over. */
export interface LazySession {
  readonly peer: string;
  readonly requests: number;
  readonly pages: number;
  /** What went wrong; undefined if the client has ended the session itself. */
  readonly failure: Error | undefined;
}

/**
 * Nothing is asked for while `criu restore` has not come to its end, and while the restored processes stand still. A
 * client that is gone is noticed earlier, by the kernel.
 */
const IDLE_MICROSECONDS = 3_600_000_000;

/** How long the client may take to close the connection after the session. */
const FINISH_MICROSECONDS = 10_000_000;

/**
 * Gives the pages of a checkpoint to `criu lazy-pages --page-server`: to several at a time, and as often as wanted.
 * @returns when `once` has come about, or `signal` says so
 * @throws CheckpointNotFoundError, TargetError if the checkpoint cannot be restored by CRIU, UsageError if the address
 *   cannot be listened on; with `once` whatever made the session fail
 */
export async function servePagesLazily(request: LazyServerRequest): Promise<void> {
  const pool = new CodecPool(request.workers === undefined ? {} : { workers: request.workers });
  try {
    const checkpoint = new SharedCheckpoint(request.storeDirectory, request.checkpoint, pool);
    const number = await checkpoint.use(async ({ manifest }) => manifest.number);
    const sessions = new LazySessions(request, checkpoint);
    const listener = await listenForPeers({ ...request, onPeer: (stream) => sessions.begin(stream) });
    try {
      request.onListening({ address: listener.address, port: listener.port, checkpoint: number });
      await sessions.untilOver();
    } finally {
      listener.close();
      await sessions.endAll();
    }
  } finally {
    await pool.close();
  }
}

/** The sessions of a server. */
class LazySessions {
  readonly #request: LazyServerRequest;
  readonly #checkpoint: SharedCheckpoint;
  readonly #running = new Map<PeerStream, Promise<void>>();
  #settle: ((failure: Error | undefined) => void) | undefined;

  constructor(request: LazyServerRequest, checkpoint: SharedCheckpoint) {
    this.#request = request;
    this.#checkpoint = checkpoint;
  }

  begin(stream: PeerStream): void {
    const session = this.#run(stream).finally(() => this.#running.delete(stream));
    this.#running.set(stream, session);
  }

  /** Waits until the server is to end. @throws what made the only session fail */
  async untilOver(): Promise<void> {
    const { signal } = this.#request;
    await new Promise<void>((resolve, reject) => {
      this.#settle = (failure) => (failure === undefined ? resolve() : reject(failure));
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  async endAll(): Promise<void> {
    for (const stream of this.#running.keys()) stream.abort(new PeerError('this server was told to end'));
    await Promise.all(this.#running.values());
  }

  async #run(stream: PeerStream): Promise<void> {
    const messages = new PeerMessages(stream, IDLE_MICROSECONDS);
    const progress: LazyProgress = { requests: 0, pages: 0 };
    let failure: Error | undefined;
    try {
      // Somebody who only looks whether the port is open has not begun a session.
      if (!(await stream.hasMore(IDLE_MICROSECONDS))) return await stream.finish(FINISH_MICROSECONDS);
      await this.#checkpoint.use((reader) => answerLazily(messages, new LazyPages(reader), progress));
      await stream.finish(FINISH_MICROSECONDS);
    } catch (cause) {
      failure = cause instanceof Error ? cause : new Error(String(cause));
      stream.abort(failure);
    }
    this.#request.onSession({ peer: stream.peer, ...progress, failure });
    if (this.#request.once) this.#settle?.(failure);
  }
}

/** A checkpoint that is opened for the first who uses it and closed after the last, so that it may change in between. */
class SharedCheckpoint {
  readonly #directory: string;
  readonly #name: CheckpointName;
  readonly #pool: CodecPool;
  #users = 0;
  #opened: Promise<{ readonly store: Store; readonly reader: CheckpointReader }> | undefined;

  constructor(directory: string, name: CheckpointName, pool: CodecPool) {
    this.#directory = directory;
    this.#name = name;
    this.#pool = pool;
  }

  /** @throws StoreNotFoundError, CheckpointNotFoundError, IntegrityError; TargetError if CRIU cannot restore it */
  async use<Result>(work: (reader: CheckpointReader) => Promise<Result>): Promise<Result> {
    this.#users++;
    this.#opened ??= this.#open();
    const opened = this.#opened;
    try {
      return await work((await opened).reader);
    } finally {
      if (--this.#users === 0) {
        this.#opened = undefined;
        await opened.then(
          ({ store }) => store.close(),
          () => undefined,
        );
      }
    }
  }

  async #open() {
    const store = await Store.open(this.#directory, { access: 'read', command: 'ckpt', codec: this.#pool });
    try {
      const reader = await openNamed(store, this.#name);
      requireRestorable(reader);
      requireOfCriu(reader);
      return { store, reader };
    } catch (cause) {
      await store.close();
      throw cause;
    }
  }
}

function requireOfCriu({ manifest: { number, target } }: CheckpointReader): void {
  if (target.kind === 'criu') return;
  throw new TargetError(`checkpoint ${number} is not of CRIU, which could not restore it`, {
    hint: "it takes checkpoints that 'ckpt import' or 'ckpt page-server' made",
    data: { checkpoint: number },
  });
}
