import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';

/** From the project's root, where tests and benchmarks run. */
const PROGRAM = resolve('bin/ckpt.js');

/** `ckpt page-server` on a port of the host's loopback. */
export interface PageServerProcess {
  readonly port: number;
  /** Sends a signal, SIGINT unless told, and waits for its end. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** What it has written so far. */
  log(): string;
}

/** Starts `ckpt page-server` and waits until it listens. @throws Error with its messages if it does not */
export async function startPageServer(...args: readonly string[]): Promise<PageServerProcess> {
  const command = [PROGRAM, 'page-server', '--address', '127.0.0.1', '--port', '0', '--json', ...args];
  const child = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'pipe'] });
  const lines: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => lines.push(line));
  const port = await new Promise<number>((listening, failed) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line);
      const event = JSON.parse(line) as { event: string; port: number };
      if (event.event === 'listening') listening(event.port);
    });
    child.once('close', () => failed(new Error(`ckpt page-server ended: ${lines.join('\n')}`)));
  });
  return { port, stop: (signal = 'SIGINT') => end(child, signal), log: () => lines.join('\n') };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill(signal);
  await once(child, 'close');
}

/** Stands before a server and has it killed as soon as it has been sent so many bytes in its nth session. */
export async function killWhenSent(
  server: PageServerProcess,
  { session, bytes }: { readonly session: number; readonly bytes: number },
): Promise<Server> {
  let sessions = 0;
  const before = createServer((client) => {
    sessions++;
    const isLast = sessions === session;
    const through = connect(server.port, '127.0.0.1');
    let sent = 0;
    client.on('data', (data) => {
      sent += data.length;
      if (!isLast || sent < bytes) return through.write(data);
      client.pause();
      return server.stop('SIGKILL');
    });
    client.on('end', () => through.end());
    through.on('data', (data) => client.write(data));
    for (const [one, other] of [
      [client, through],
      [through, client],
    ] as const) {
      one.on('close', () => other.destroy());
      // The end of either is what this is for.
      one.on('error', () => undefined);
    }
  });
  before.listen(0, '127.0.0.1');
  await once(before, 'listening');
  return before;
}

/** Where a server listens. */
export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}
