import { CodecPool, DEFAULT_ZSTD_LEVEL } from '../../../codec/index.ts';
import { PeerError, StoreLockedError } from '../../../core/index.ts';
import { type Compression, Store } from '../../../store/index.ts';
import { PeerMessages } from './peer-messages.ts';
import type { PeerStream } from './peer-stream.ts';
import type { HeaderLayout } from './protocol.ts';
import { type ReceivedSession, ReceivingSession } from './receiving-session.ts';
import { listenUntil, ServerEnd, type ServingRequest } from './serving.ts';
import { SharedStore } from './shared-store.ts';

/** How long there may be nothing between two messages: a dump packs up whole file systems while it is connected. */
const DEFAULT_SILENCE_MICROSECONDS = 600_000_000;

/** What each codec thread encodes for practice. */
const PRACTICE_BLOCKS = 128;

/** One `ckpt page-server`; the store is made if there is none, and a silence may last ten minutes by default. */
export interface PageServerRequest extends ServingRequest {
  /**
   * Each session continues the newest checkpoint of the store, if that came from CRIU: for clients that run with
   * --prev-images-dir. Then there is one session at a time.
   */
  readonly chain?: boolean | undefined;
  readonly compression?: Compression | undefined;
  readonly onEvent: (event: PageServerEvent) => void;
}

/** What happens at a page server. */
export type PageServerEvent =
  | { readonly kind: 'listening'; readonly address: string; readonly port: number }
  /** Somebody was not let in. */
  | { readonly kind: 'refused'; readonly peer: string; readonly reason: string }
  | { readonly kind: 'begun'; readonly peer: string; readonly layout: HeaderLayout | undefined }
  | {
      readonly kind: 'receiving';
      readonly peer: string;
      readonly preDump: boolean;
      /** The checkpoint that is continued. */
      readonly parent: number | null;
    }
  | { readonly kind: 'received'; readonly session: ReceivedSession }
  /** Nothing of the session is in the store, and the other end knows that something went wrong. */
  | { readonly kind: 'failed'; readonly peer: string; readonly error: Error }
  /** Somebody connected and left without a word, or without a page. */
  | { readonly kind: 'left'; readonly peer: string }
  | { readonly kind: 'note'; readonly text: string };

/**
 * Receives the pages of `criu dump --page-server` and `criu pre-dump --page-server` into a store, a checkpoint each,
 * until the signal aborts, or with `once` one session has ended.
 * @throws UsageError if the address cannot be listened on; what a store that cannot be used throws; with `once` what the
 *   session threw; the signal's reason
 */
export async function receivePages(request: PageServerRequest): Promise<void> {
  const pool = new CodecPool(request.workers === undefined ? {} : { workers: request.workers });
  try {
    await requireStore(request, pool);
    // Not when the first session comes: its target may stand still.
    await pool.start(PRACTICE_BLOCKS);
    await new PageServer(request, pool).run();
  } finally {
    await pool.close();
  }
}

/** Makes the store if there is none, so that a directory that can never be one is a message before anybody connects. */
async function requireStore({ storeDirectory, onEvent }: PageServerRequest, codec: CodecPool): Promise<void> {
  try {
    const store = await Store.open(storeDirectory, { access: 'create', command: 'ckpt page-server', codec });
    for (const text of store.notices) onEvent({ kind: 'note', text });
    await store.close();
  } catch (error) {
    // It is wanted when a session comes, not now.
    if (!(error instanceof StoreLockedError)) throw error;
    onEvent({ kind: 'note', text: error.message });
  }
}

class PageServer {
  readonly #request: PageServerRequest;
  readonly #pool: CodecPool;
  readonly #shared: SharedStore;
  /** Those that may still write to the store. */
  readonly #sessions = new Map<
    ReceivingSession,
    { readonly stream: PeerStream; readonly done: Promise<void> }
  >();
  /** Whose session it is, where there is one at a time. */
  #only: ReceivingSession | undefined;
  readonly #stopping = new AbortController();
  readonly #end = new ServerEnd();

  constructor(request: PageServerRequest, pool: CodecPool) {
    this.#request = request;
    this.#pool = pool;
    const onNote = (text: string) => request.onEvent({ kind: 'note', text });
    this.#shared = new SharedStore(request.storeDirectory, pool, onNote);
  }

  async run(): Promise<void> {
    const { onEvent } = this.#request;
    try {
      await listenUntil(this.#end, this.#request, {
        onListening: ({ address, port }) => onEvent({ kind: 'listening', address, port }),
        onPeer: (stream) => this.#serve(stream),
        onRefused: (peer, reason) => onEvent({ kind: 'refused', peer, reason }),
      });
    } finally {
      await this.#stop();
    }
  }

  /** Ends the sessions that are under way; one that has been received is stored first. */
  async #stop(): Promise<void> {
    const reason = this.#request.signal?.reason ?? new PeerError('the server ends');
    this.#stopping.abort(reason);
    for (const [session, { stream }] of this.#sessions) if (!session.isOver) stream.abort(reason);
    await Promise.all([...this.#sessions.values()].map(({ done }) => done));
  }

  #serve(stream: PeerStream): void {
    const { chain, once, silenceMicroseconds, compression, onEvent } = this.#request;
    const { peer } = stream;
    const store = {
      shared: this.#shared,
      pool: this.#pool,
      compression: compression ?? ({ name: 'zstd', level: DEFAULT_ZSTD_LEVEL } as const),
      chain: chain === true,
    };
    const events = {
      onBegun: (layout: HeaderLayout | undefined) => {
        if (chain === true || once === true) this.#beOnly(session);
        onEvent({ kind: 'begun', peer, layout });
      },
      onCheckpoint: (preDump: boolean, parent: number | null) =>
        onEvent({ kind: 'receiving', peer, preDump, parent }),
    };
    const messages = new PeerMessages(stream, silenceMicroseconds ?? DEFAULT_SILENCE_MICROSECONDS);
    const session = new ReceivingSession(messages, store, events, this.#stopping.signal);
    const done = this.#follow(session, stream);
    this.#sessions.set(session, { stream, done });
    if (this.#stopping.signal.aborted) stream.abort(this.#stopping.signal.reason);
  }

  /** Follows a session to its end. Never rejects. */
  async #follow(session: ReceivingSession, stream: PeerStream): Promise<void> {
    const { once, onEvent } = this.#request;
    const { peer } = stream;
    let failure: Error | undefined;
    try {
      const received = await session.run();
      if (received === undefined) {
        // Its side is closed, ours is not yet.
        stream.abort(new PeerError('it has left'));
        onEvent({ kind: 'left', peer });
      } else onEvent({ kind: 'received', session: received });
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error));
      stream.abort(failure);
      onEvent({ kind: 'failed', peer, error: failure });
    }
    this.#sessions.delete(session);
    if (this.#only !== session) return;
    this.#only = undefined;
    if (once === true) this.#end.come(failure);
  }

  /** @throws PeerError if another session is under way */
  #beOnly(session: ReceivingSession): void {
    if (this.#only === undefined) {
      this.#only = session;
      return;
    }
    const option = this.#request.chain === true ? '--chain' : '--once';
    throw new PeerError(`another session is under way; with ${option} there is one at a time`);
  }
}
