import { listenForPeers, type PeerListener, type PeerSecurity } from './listener.ts';
import type { PeerStream } from './peer-stream.ts';

/** What both kinds of page server are asked for. */
export interface ServingRequest {
  readonly storeDirectory: string;
  readonly address: string;
  /** 0 for one that the kernel chooses. */
  readonly port: number;
  readonly security: PeerSecurity;
  /** Ends after the first session in which something is said. */
  readonly once?: boolean | undefined;
  /** Longest silence between two messages, before the first one too. */
  readonly silenceMicroseconds?: number | undefined;
  readonly workers?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The end of a server, which a session may bring about. */
export class ServerEnd {
  readonly reached: Promise<void>;
  #resolve: () => void = noop;
  #reject: (error: unknown) => void = noop;

  constructor() {
    this.reached = new Promise<void>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // It may fail while the listener is still being made.
    this.reached.catch(noop);
  }

  /** @param failure why, if it is no good end */
  come(failure?: unknown): void {
    if (failure === undefined) this.#resolve();
    else this.#reject(failure);
  }
}

/** What a server does with those who connect. */
export interface Reception {
  readonly onListening: (listener: PeerListener) => void;
  /** Called for each connection that is let in. */
  readonly onPeer: (stream: PeerStream) => void;
  /** Told of those that are not, and why. */
  readonly onRefused: (peer: string, reason: string) => void;
}

/**
 * Listens until the end comes, or the signal aborts.
 * @throws UsageError if the address cannot be listened on; what the end came with; the signal's reason
 */
export async function listenUntil(
  end: ServerEnd,
  request: ServingRequest,
  reception: Reception,
): Promise<void> {
  const { signal } = request;
  const onAbort = () => end.come(signal?.reason);
  if (signal?.aborted === true) onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });
  let listener: PeerListener | undefined;
  try {
    listener = await listenForPeers({ ...request, ...reception });
    reception.onListening(listener);
    await end.reached;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    listener?.close();
  }
}

const noop = () => undefined;
