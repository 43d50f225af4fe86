import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { Readable } from 'node:stream';

export interface CriuPageServer {
  readonly port: number;
  /** Settles when it has served its session. */
  readonly ended: Promise<unknown>;
}

/**
 * Starts `criu page-server`, and if it does not know this kernel, once more with what it has found out of another one:
 * `features` is the /run/criu.kdat of a guest. A page server does nothing that depends on it.
 * @returns undefined if it does not start either way
 */
export async function startCriuPageServer(
  directory: string,
  features: string,
): Promise<CriuPageServer | undefined> {
  mkdirSync(directory);
  const port = await freePort();
  const criu = `exec criu page-server --address 127.0.0.1 --port ${port} -D "$0" -o log --status-fd 3`;
  const ended =
    (await startedBy('sh', '-c', criu, directory)) ??
    (await startedBy(
      'unshare',
      '-m',
      'sh',
      '-c',
      `mount -t tmpfs run /run && cp "$1" /run/criu.kdat && ${criu}`,
      directory,
      features,
    ));
  return ended === undefined ? undefined : { port, ...ended };
}

/** A server that says on descriptor 3 that it is ready; undefined if it ends without. */
async function startedBy(
  program: string,
  ...args: readonly string[]
): Promise<Pick<CriuPageServer, 'ended'> | undefined> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
  const ended = once(child, 'close');
  const status = child.stdio[3];
  const ready = status instanceof Readable ? once(status, 'data') : ended;
  const isReady = await Promise.race([ready.then(() => true), ended.then(() => false)]);
  return isReady ? { ended } : undefined;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  return address !== null && typeof address === 'object' ? address.port : 0;
}
