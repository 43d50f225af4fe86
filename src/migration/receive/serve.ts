import type { Channel } from '../wire/channel.ts';
import { listenForChannels } from '../wire/listen.ts';
import { DEFAULT_GIVE_UP_MICROSECONDS, type ListenOptions, type PeerAddress } from '../wire/options.ts';
import { Destination } from './destination.ts';
import type { ReceivedMigration, ReceiveOptions } from './request.ts';
import { DEFAULT_QUIET_MICROSECONDS } from './rounds.ts';

/** One `ckpt receive`. */
export interface ReceiveRequest extends ReceiveOptions {
  readonly listen: PeerAddress;
  readonly connection: ListenOptions;
  /** Ends after the first migration that is not refused. */
  readonly once: boolean;
  /** Told where it listens, as soon as it does. */
  readonly onListening?: (address: PeerAddress) => void;
  readonly onReceived?: (migration: ReceivedMigration) => void;
  /** A migration that failed, or was refused; the next one may come. */
  readonly onFailed?: (error: Error) => void;
}

/**
 * Receives migrations, one after another, until the signal aborts, or one of them.
 * @throws UsageError if the address cannot be listened on; StoreLockedError, StoreUnusableError if the store cannot be
 *   used; with `once` what the migration threw; the signal's reason.
 */
export async function receiveMigrations(request: ReceiveRequest): Promise<void> {
  const { signal, once } = request;
  // Time in which a lost connection is waited for is no silence of the source.
  const { giveUpMicroseconds = DEFAULT_GIVE_UP_MICROSECONDS } = request.connection;
  const quietMicroseconds = DEFAULT_QUIET_MICROSECONDS + giveUpMicroseconds;
  const destination = new Destination({ quietMicroseconds, ...request });
  const serving = new Set<Promise<void>>();
  try {
    await destination.recover();
    const end = new EndOfService(signal);
    const listener = await listenForChannels(request.listen, request.connection, (channel) => {
      const served = serve(destination, channel, request, once ? end : undefined);
      serving.add(served);
      void served.finally(() => serving.delete(served));
    });
    try {
      request.onListening?.(listener.address);
      await end.reached;
    } finally {
      end.forget();
      await listener.close();
      await Promise.all(serving);
    }
  } finally {
    await destination.close();
  }
}

/** Serves one channel; never rejects. */
async function serve(
  destination: Destination,
  channel: Channel,
  request: ReceiveRequest,
  end: EndOfService | undefined,
): Promise<void> {
  let begun = false;
  try {
    const migration = await destination.serve(channel, () => {
      begun = true;
    });
    if (migration === undefined) return;
    request.onReceived?.(migration);
    end?.come();
  } catch (cause) {
    const error = cause instanceof Error ? cause : new Error(String(cause));
    // Who is refused, or says nothing, was not the one migration: it may be on its way just now.
    if (end !== undefined && begun) end.come(error);
    else request.onFailed?.(error);
  }
}

/** When to stop listening: a signal, or the end of the one migration. */
class EndOfService {
  readonly reached: Promise<void>;
  come: (error?: Error) => void = () => undefined;
  forget: () => void = () => undefined;

  constructor(signal: AbortSignal | undefined) {
    this.reached = new Promise((resolve, reject) => {
      this.come = (error) => (error === undefined ? resolve() : reject(error));
      const onAbort = () => reject(signal?.reason);
      if (signal?.aborted === true) onAbort();
      signal?.addEventListener('abort', onAbort, { once: true });
      this.forget = () => signal?.removeEventListener('abort', onAbort);
    });
    // It may fail while the listener is still being made.
    this.reached.catch(() => undefined);
  }
}
