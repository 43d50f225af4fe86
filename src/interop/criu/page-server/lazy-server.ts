import { type CheckpointName, openNamed, requireRestorable } from '../../../checkpoint/index.ts';
import { CodecPool } from '../../../codec/index.ts';
import { machineClock, PeerError, TargetError } from '../../../core/index.ts';
import { type CheckpointReader, Store } from '../../../store/index.ts';
import { LazyPages } from './lazy-pages.ts';
import { answerLazily, type LazyProgress } from './lazy-session.ts';
import { PeerMessages } from './peer-messages.ts';
import type { PeerStream } from './peer-stream.ts';
import type { HeaderLayout } from './protocol.ts';
import { listenUntil, ServerEnd, type ServingRequest } from './serving.ts';

/** One `ckpt page-server --lazy`; a silence may last an hour by default. */
export interface LazyServerRequest extends ServingRequest {
  readonly checkpoint: CheckpointName;
  readonly onEvent: (event: LazyServerEvent) => void;
}

/** What happens at a lazy page server. */
export type LazyServerEvent =
  | {
      readonly kind: 'listening';
      readonly address: string;
      readonly port: number;
      /** Whose pages it has. */
      readonly checkpoint: number;
    }
  /** Somebody was not let in. */
  | { readonly kind: 'refused'; readonly peer: string; readonly reason: string }
  | { readonly kind: 'begun'; readonly peer: string }
  /** A page that it needs cannot be given. It is left waiting until it gives up, and has then `failed`. */
  | { readonly kind: 'stuck'; readonly peer: string; readonly error: Error }
  /** Everything that was asked for has been sent, and the other end has ended the session. */
  | { readonly kind: 'served'; readonly session: ServedSession }
  | { readonly kind: 'failed'; readonly peer: string; readonly error: Error; readonly session: ServedSession }
  /** Somebody connected and left without a word. */
  | { readonly kind: 'left'; readonly peer: string };

/** What was sent in a session. */
export interface ServedSession extends LazyProgress {
  readonly peer: string;
  /** Undefined if nothing was asked for. */
  readonly layout: HeaderLayout | undefined;
  readonly checkpoint: number;
  readonly microseconds: number;
}

/**
 * Nothing is asked for until `criu restore` has come to its end, nor while the restored processes stand still. A
 * machine that is gone is noticed earlier, by the kernel.
 */
const DEFAULT_SILENCE_MICROSECONDS = 3_600_000_000;

/** How long the client may take to close the connection after the session. */
const FINISH_MICROSECONDS = 10_000_000;

/**
 * Gives the pages of a checkpoint to `criu lazy-pages --page-server`: to several at a time, and as often as wanted,
 * until the signal aborts, or with `once` one session has ended.
 * @throws StoreNotFoundError, CheckpointNotFoundError; TargetError if CRIU cannot restore the checkpoint; UsageError if
 *   the address cannot be listened on; with `once` what the session threw; the signal's reason
 */
export async function servePagesLazily(request: LazyServerRequest): Promise<void> {
  const pool = new CodecPool(request.workers === undefined ? {} : { workers: request.workers });
  try {
    const { storeDirectory, checkpoint: name } = request;
    const number = await new SharedCheckpoint(storeDirectory, name, pool).use(
      async ({ manifest }) => manifest.number,
    );
    await new LazyServer(request, new SharedCheckpoint(storeDirectory, number, pool), number).run();
  } finally {
    await pool.close();
  }
}

class LazyServer {
  readonly #request: LazyServerRequest;
  readonly #checkpoint: SharedCheckpoint;
  readonly #number: number;
  readonly #sessions = new Map<PeerStream, Promise<void>>();
  readonly #end = new ServerEnd();

  constructor(request: LazyServerRequest, checkpoint: SharedCheckpoint, number: number) {
    this.#request = request;
    this.#checkpoint = checkpoint;
    this.#number = number;
  }

  async run(): Promise<void> {
    const { onEvent } = this.#request;
    try {
      await listenUntil(this.#end, this.#request, {
        onListening: ({ address, port }) =>
          onEvent({ kind: 'listening', address, port, checkpoint: this.#number }),
        onPeer: (stream) => this.#serve(stream),
        onRefused: (peer, reason) => onEvent({ kind: 'refused', peer, reason }),
      });
    } finally {
      for (const stream of this.#sessions.keys()) stream.abort(new PeerError('this server ends'));
      await Promise.all(this.#sessions.values());
    }
  }

  #serve(stream: PeerStream): void {
    const session = this.#follow(stream).finally(() => this.#sessions.delete(stream));
    this.#sessions.set(stream, session);
  }

  /**
   * Follows a session to its end. Never rejects.
   *
   * The protocol has no answer that says no. Where the connection is closed instead, as CRIU's own server does it,
   * `criu lazy-pages` ends and what it was restoring runs on with zeros in the place of the pages that are missing (seen
   * with 3.17.1). So that is done to clients alone that say what makes no sense. If a page cannot be given,
   * because it is damaged or the checkpoint is another one, the client is left waiting, and its processes with it, until
   * somebody ends them.
   */
  async #follow(stream: PeerStream): Promise<void> {
    const { once, onEvent } = this.#request;
    const { peer } = stream;
    const silenceMicroseconds = this.#request.silenceMicroseconds ?? DEFAULT_SILENCE_MICROSECONDS;
    const messages = new PeerMessages(stream, silenceMicroseconds);
    const progress: LazyProgress = { requests: 0, pages: 0 };
    const startedMicroseconds = machineClock();
    const describe = (): ServedSession => ({
      peer,
      layout: messages.layout,
      checkpoint: this.#number,
      ...progress,
      microseconds: Math.round(machineClock() - startedMicroseconds),
    });
    try {
      if (!(await stream.hasMore(silenceMicroseconds))) {
        stream.abort(new PeerError('it has left'));
        onEvent({ kind: 'left', peer });
        return;
      }
      onEvent({ kind: 'begun', peer });
      await this.#checkpoint.use((reader) => answerLazily(messages, new LazyPages(reader), progress));
      await stream.finish(FINISH_MICROSECONDS);
      onEvent({ kind: 'served', session: describe() });
      if (once === true) this.#end.come();
    } catch (cause) {
      const error = cause instanceof Error ? cause : new Error(String(cause));
      if (!(error instanceof PeerError)) {
        onEvent({ kind: 'stuck', peer, error });
        await stream.gone;
      }
      stream.abort(error);
      onEvent({ kind: 'failed', peer, error, session: describe() });
      if (once === true) this.#end.come(error);
    }
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
