import {
  type LazyServerRequest,
  type LazySession,
  servePagesLazily,
} from '../../../../src/interop/criu/page-server/lazy-server.ts';

/** A lazy server that lasts as long as the test. */
export interface RunningServer {
  readonly port: number;
  readonly sessions: LazySession[];
  /** When the server has ended. */
  readonly over: Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts one that gives the newest checkpoint, on a port of its own. */
export async function serveLazily(
  storeDirectory: string,
  options: Partial<LazyServerRequest> = {},
): Promise<RunningServer> {
  const stop = new AbortController();
  const sessions: LazySession[] = [];
  let over = Promise.resolve();
  const port = await new Promise<number>((resolve, reject) => {
    over = servePagesLazily({
      storeDirectory,
      checkpoint: 'latest',
      address: '127.0.0.1',
      port: 0,
      security: { kind: 'insecure' },
      once: false,
      workers: 0,
      signal: stop.signal,
      onListening: (where) => resolve(where.port),
      onSession: (session) => sessions.push(session),
      onRefused: () => undefined,
      ...options,
    });
    over.catch(reject);
  });
  return {
    port,
    sessions,
    over,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await over.catch(() => undefined);
    },
  };
}
