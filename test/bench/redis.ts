import { type ChildProcess, spawn } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { sampleValue, VALUE_BYTES } from './values.ts';

/** A redis-server of our own, without persistence, on a free port of the loopback. */
export interface RedisServer {
  readonly pid: number;
  /** Sends SETs for values of `totalBytes` altogether: `randomShare` of them noise, the others records. */
  fill(totalBytes: number, randomShare: number): Promise<void>;
  /** Overwrites 64 bytes in each of `count` values spread over the whole key space. */
  touch(count: number): Promise<void>;
  stop(): Promise<void>;
}

export async function startRedis(port: number): Promise<RedisServer> {
  const arguments_ = ['--port', `${port}`, '--save', '', '--appendonly', 'no', '--bind', '127.0.0.1'];
  const child = spawn('redis-server', arguments_, { stdio: 'ignore' });
  const socket = await connectWhenReady(child, port);
  let keys = 0;
  return {
    pid: child.pid!,
    fill: async (totalBytes, randomShare) => {
      const count = Math.ceil(totalBytes / VALUE_BYTES);
      await sendCommands(socket, count, (index) => {
        const key = `object:${keys + index}`;
        return ['SET', key, sampleValue(keys + index, randomShare)];
      });
      keys += count;
    },
    touch: (count) => {
      const step = Math.max(1, Math.floor(keys / count));
      const patch = randomFillSync(Buffer.alloc(64));
      return sendCommands(socket, count, (index) => [
        'SETRANGE',
        `object:${(index * step) % keys}`,
        '128',
        patch,
      ]);
    },
    stop: async () => {
      socket.destroy();
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    },
  };
}

async function connectWhenReady(child: ChildProcess, port: number): Promise<Socket> {
  for (let attempt = 0; attempt < 100; attempt++) {
    if (child.exitCode !== null) throw new Error(`redis-server ended with ${child.exitCode}`);
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    const connected = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    if (connected) return socket;
    await delay(50);
  }
  throw new Error('redis-server does not answer');
}

/** Sends commands in batches and waits until each batch is answered with as many lines. */
async function sendCommands(
  socket: Socket,
  count: number,
  command: (index: number) => readonly (string | Uint8Array)[],
): Promise<void> {
  let answered = 0;
  const onData = (chunk: Buffer) => {
    for (const byte of chunk) if (byte === 10) answered++;
  };
  socket.on('data', onData);
  const batch = 500;
  for (let sent = 0; sent < count; ) {
    const end = Math.min(count, sent + batch);
    const parts: Uint8Array[] = [];
    for (; sent < end; sent++) parts.push(...encodeCommand(command(sent)));
    socket.write(Buffer.concat(parts));
    while (answered < sent - 4 * batch) await once(socket, 'data');
  }
  while (answered < count) await once(socket, 'data');
  socket.off('data', onData);
}

/** A command in RESP: an array of bulk strings. */
export function encodeCommand(words: readonly (string | Uint8Array)[]): Uint8Array[] {
  const parts: Uint8Array[] = [Buffer.from(`*${words.length}\r\n`)];
  for (const word of words) {
    const bytes = typeof word === 'string' ? Buffer.from(word) : word;
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n'));
  }
  return parts;
}
