import { digestPage } from '../../../../src/codec/index.ts';
import {
  type PageServerEvent,
  type PageServerRequest,
  receivePages,
} from '../../../../src/interop/criu/page-server/page-server.ts';
import { openStore, readBack } from '../../../store/harness.ts';
import { type Contents, pageOfSeed, type Step, type Tree } from './sessions.ts';
import { Disconnected, TestClient } from './test-client.ts';

type EventOf<Kind extends PageServerEvent['kind']> = Extract<PageServerEvent, { kind: Kind }>;

/** A page server that lasts as long as the test. */
export class RunningPageServer {
  readonly port: number;
  readonly events: PageServerEvent[];
  /** When the server has ended. */
  readonly over: Promise<void>;
  readonly #stop: AbortController;

  private constructor(port: number, events: PageServerEvent[], over: Promise<void>, stop: AbortController) {
    this.port = port;
    this.events = events;
    this.over = over;
    this.#stop = stop;
  }

  /** Starts one on a port of its own. */
  static async start(
    storeDirectory: string,
    options: Partial<PageServerRequest> = {},
  ): Promise<RunningPageServer> {
    const stop = new AbortController();
    const events: PageServerEvent[] = [];
    let over = Promise.resolve();
    const port = await new Promise<number>((resolve, reject) => {
      over = receivePages({
        storeDirectory,
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
    return new RunningPageServer(port, events, over, stop);
  }

  connect(): Promise<TestClient> {
    return TestClient.connect(this.port);
  }

  /** The events of a kind so far. */
  all<Kind extends PageServerEvent['kind']>(kind: Kind): EventOf<Kind>[] {
    return this.events.filter((event): event is EventOf<Kind> => event.kind === kind);
  }

  /** Waits until there are so many events of a kind. @returns the last of them */
  async event<Kind extends PageServerEvent['kind']>(kind: Kind, count = 1): Promise<EventOf<Kind>> {
    const deadline = Date.now() + 10_000;
    for (;;) {
      const found = this.all(kind)[count - 1];
      if (found !== undefined) return found;
      if (Date.now() > deadline) throw new Error(`no ${kind}, but ${JSON.stringify(this.events)}`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  /** What SIGINT does. */
  stop(reason: Error): void {
    this.#stop.abort(reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the test is over'));
    await this.over.catch(() => undefined);
  }
}

/**
 * Plays a session: sends, and compares the answers.
 * @returns what was not as it should be: the answer to a step, or that the server closed the connection
 */
export async function play(client: TestClient, steps: readonly Step[]): Promise<string | undefined> {
  try {
    for (const [at, { bytes, answer }] of steps.entries()) {
      await client.send(bytes);
      const got = await client.receive(answer.length);
      if (!got.equals(answer)) return `step ${at} is answered ${got.toString('hex')}`;
    }
    client.end();
    return undefined;
  } catch (error) {
    if (error instanceof Disconnected) return error.message;
    throw error;
  }
}

/** A tree as the store has it, each page as the hash of its content. */
export function expectedOf({ tasks, objects }: Tree): Record<string, Record<number, string>> {
  return Object.fromEntries([
    ...[...tasks].map(([pid, contents]) => [`task ${pid}`, hashesOf(contents)]),
    ...[...objects].map(([id, contents]) => [`shmem ${id}`, hashesOf(contents)]),
  ]);
}

/** What a checkpoint of a store holds, in the same form. */
export async function storedIn(
  directory: string,
  checkpoint: number,
): Promise<Record<string, Record<number, string>>> {
  const store = await openStore(directory, { access: 'read' });
  const reader = await store.openCheckpoint(checkpoint);
  const memory = await readBack(reader);
  const found = reader.manifest.processes.map(({ pid, sharedMemory }) => {
    const pages = [...(memory.get(pid) ?? [])].map(([page, bytes]) => [page, hashOf(bytes)] as const);
    return [sharedMemory === undefined ? `task ${pid}` : `shmem ${sharedMemory}`, Object.fromEntries(pages)];
  });
  await store.close();
  return Object.fromEntries(found);
}

function hashesOf(contents: Contents): Record<number, string> {
  return Object.fromEntries([...contents].map(([page, seed]) => [page, hashOf(pageOfSeed(seed))]));
}

function hashOf(bytes: Uint8Array | null): string {
  if (bytes === null || bytes.every((byte) => byte === 0)) return 'zero';
  return Buffer.from(digestPage(bytes)).toString('hex');
}
