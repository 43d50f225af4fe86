import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { verifyStore } from '../../src/checkpoint/index.ts';
import { expectedOf, play, storedIn } from '../interop/criu/page-server/running-page-server.ts';
import { dumpSession, type Tree } from '../interop/criu/page-server/sessions.ts';
import { TestClient } from '../interop/criu/page-server/test-client.ts';
import { CODEC, openStore, temporaryDirectory } from '../store/harness.ts';

const PROGRAM = resolve(import.meta.dirname, '../../bin/ckpt.js');

const TREE: Tree = {
  tasks: new Map([
    [7, new Map(Array.from({ length: 3000 }, (_, at) => [0x10 + at, at]))],
    [8, new Map(Array.from({ length: 300 }, (_, at) => [0x10 + at * 2, at]))],
  ]),
  objects: new Map([[5, new Map([[0, 9]])]]),
};
const STEPS = dumpSession(TREE, { layout: '3.17', kind: 'pre-dump', entryPages: 100 });

interface Server {
  readonly child: ChildProcess;
  readonly port: number;
}

async function startServer(store: string): Promise<Server> {
  const child = spawn(
    process.execPath,
    [PROGRAM, 'page-server', '-D', store, '--port', '0', '--json', '--workers', '1'],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  let printed = '';
  const port = await new Promise<number>((resolve, reject) => {
    child.stdout.on('data', (chunk) => {
      printed += chunk;
      const found = /"event":"listening".*"port":(\d+)/.exec(printed)?.[1];
      if (found !== undefined) resolve(Number(found));
    });
    child.once('exit', () => reject(new Error(`ckpt page-server ended: ${printed}`)));
  });
  return { child, port };
}

async function end({ child }: Server, signal: NodeJS.Signals): Promise<number | null> {
  const closed = once(child, 'exit');
  child.kill(signal);
  await closed;
  return child.exitCode;
}

/** Opens the store as the next command does, proves everything in it, and says what is there. */
async function survivors(path: string): Promise<number[]> {
  const store = await openStore(path, { access: 'write' });
  const numbers = await store.numbers();
  for await (const finding of verifyStore(store, CODEC)) expect(finding).toBeUndefined();
  await store.close();
  for (const number of numbers) expect(await storedIn(path, number)).toEqual(expectedOf(TREE));
  return numbers;
}

describe('a page server that gets SIGKILL', () => {
  it.each(STEPS.slice(0, -1).map((_, at) => at + 1))('after message %i has nothing of it', async (count) => {
    using directory = temporaryDirectory();
    const path = join(directory.path, 'store');
    const server = await startServer(path);
    const client = await TestClient.connect(server.port);
    for (const { bytes, answer } of STEPS.slice(0, count)) {
      await client.send(bytes);
      expect(await client.receive(answer.length)).toEqual(answer);
    }
    await end(server, 'SIGKILL');
    expect(await survivors(path)).toEqual([]);
  });

  it('while it stores a session has it if it has said so, and else has it whole or not at all', async () => {
    using directory = temporaryDirectory();
    const path = join(directory.path, 'store');
    let known = 0;
    for (const delayMilliseconds of [0, 10, 30, 60, 2000]) {
      const server = await startServer(path);
      const client = await TestClient.connect(server.port);
      const played = play(client, STEPS);
      await Promise.race([played, new Promise((after) => setTimeout(after, delayMilliseconds))]);
      await end(server, 'SIGKILL');
      const isAcknowledged = (await played) === undefined;
      const found = (await survivors(path)).length;
      expect(found - known).toBeLessThanOrEqual(1);
      if (isAcknowledged) expect(found).toBe(known + 1);
      known = found;
    }
    expect(known).toBeGreaterThan(0);
  });
});

describe('a page server that is told to end', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('by %s gives up its session, and leaves the store to others', async (signal, status) => {
    using directory = temporaryDirectory();
    const path = join(directory.path, 'store');
    const server = await startServer(path);
    const client = await TestClient.connect(server.port);
    await client.send(STEPS[0]!.bytes, STEPS[1]!.bytes);
    await client.receive(STEPS[0]!.answer.length);
    expect(await end(server, signal)).toBe(status);
    const store = await openStore(path, { access: 'write' });
    expect([await store.numbers(), store.notices]).toEqual([[], []]);
    await store.close();
  });
});
