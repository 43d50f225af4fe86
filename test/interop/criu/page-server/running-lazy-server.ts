import {
  type LazyServerEvent,
  type LazyServerRequest,
  servePagesLazily,
} from '../../../../src/interop/criu/page-server/lazy-server.ts';

type Ended = Extract<LazyServerEvent, { kind: 'served' | 'failed' }>;

/** A lazy server that lasts as long as the test. */
export interface RunningServer {
  readonly port: number;
  readonly events: LazyServerEvent[];
  /** Sessions that are over. */
  ended(): { readonly requests: number; readonly pages: number; readonly failure: string | undefined }[];
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
  const events: LazyServerEvent[] = [];
  let over = Promise.resolve();
  const port = await new Promise<number>((resolve, reject) => {
    over = servePagesLazily({
      storeDirectory,
      checkpoint: 'latest',
      address: '127.0.0.1',
      port: 0,
      security: { kind: 'insecure' },
      workers: 0,
      signal: stop.signal,
      ...options,
      onEvent: (event) => {
        events.push(event);
        if (event.kind === 'listening') resolve(event.port);
      },
    });
    over.catch(reject);
  });
  return {
    port,
    events,
    ended: () => events.filter(isEnded).map(sayHow),
    over,
    [Symbol.asyncDispose]: async () => {
      stop.abort(new Error('the test is over'));
      await over.catch(() => undefined);
    },
  };
}

const isEnded = (event: LazyServerEvent): event is Ended =>
  event.kind === 'served' || event.kind === 'failed';

function sayHow(event: Ended) {
  const { requests, pages } = event.session;
  return { requests, pages, failure: event.kind === 'failed' ? event.error.message : undefined };
}
