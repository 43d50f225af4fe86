import type { CodecPool } from '../../../codec/index.ts';
import { StoreLockedError } from '../../../core/index.ts';
import { Store } from '../../../store/index.ts';

/** Sessions that may write at a time: each remembers what its pages hold, in up to 48 MiB. Others wait. */
const MAX_WRITERS = 4;

/** How long another command may hold the store's lock before a session fails. */
const LOCK_PATIENCE_MILLISECONDS = 60_000;

const LOCK_RETRY_MILLISECONDS = 100;

/** A right to write into the store, to be given back. */
export interface StoreUse {
  readonly store: Store;
  release(): Promise<void>;
}

/**
 * The store of a page server. It is open, and locked, only while sessions write: between them other commands may use it.
 */
export class SharedStore {
  readonly #directory: string;
  readonly #codec: CodecPool;
  readonly #onNote: (note: string) => void;
  readonly #waiting: (() => void)[] = [];
  #writers = 0;
  #open: Promise<Store> | undefined;
  #closing: Promise<void> = Promise.resolve();

  constructor(directory: string, codec: CodecPool, onNote: (note: string) => void) {
    this.#directory = directory;
    this.#codec = codec;
    this.#onNote = onNote;
  }

  /**
   * Waits until there is room for a writer, and until no other command has the store.
   * @throws StoreLockedError if one has it for too long, StoreUnusableError, StoreVersionError, StoreFullError; the
   *   signal's reason
   */
  async use(signal: AbortSignal): Promise<StoreUse> {
    await this.#admission(signal);
    try {
      this.#open ??= this.#closing.then(() => this.#openStore(signal));
      const store = await this.#open;
      return { store, release: () => this.#leave() };
    } catch (cause) {
      await this.#leave();
      throw cause;
    }
  }

  async #admission(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#writers < MAX_WRITERS) {
      this.#writers++;
      return;
    }
    let wake: () => void = () => undefined;
    const isMyTurn = await new Promise<boolean>((resolve) => {
      wake = () => resolve(true);
      this.#waiting.push(wake);
      signal.addEventListener('abort', () => resolve(false), { once: true });
    });
    // Who leaves hands over its place, so the number of writers stays.
    if (isMyTurn) return;
    this.#waiting.splice(this.#waiting.indexOf(wake), 1);
    signal.throwIfAborted();
  }

  async #leave(): Promise<void> {
    const next = this.#waiting.shift();
    if (next !== undefined) return next();
    this.#writers--;
    if (this.#writers > 0) return;
    const open = this.#open;
    this.#open = undefined;
    this.#closing = open?.then((store) => store.close()).catch(() => undefined) ?? this.#closing;
    await this.#closing;
  }

  async #openStore(signal: AbortSignal): Promise<Store> {
    const deadline = Date.now() + LOCK_PATIENCE_MILLISECONDS;
    for (;;) {
      try {
        const store = await Store.open(this.#directory, {
          access: 'create',
          command: 'ckpt page-server',
          codec: this.#codec,
        });
        for (const notice of store.notices) this.#onNote(notice);
        return store;
      } catch (error) {
        if (!(error instanceof StoreLockedError) || Date.now() > deadline) throw error;
        signal.throwIfAborted();
        await new Promise((resolve) => setTimeout(resolve, LOCK_RETRY_MILLISECONDS));
      }
    }
  }
}
