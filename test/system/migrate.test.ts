import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ckpt, ckptJson } from './command.ts';
import { OtherNamespace, type Receiver } from './other-namespace.ts';
import { isRoot, lacking, threadStates, until } from './programs.ts';

const CKPT = resolve(import.meta.dirname, '../../bin/ckpt.js');
const RECORDS = '/run/ckpt/migrations';
/** More of them for those who have the time. */
const TRIALS = Number(process.env['CKPT_ROUNDS'] ?? 1);

/** Writes ascending numbers into a file, one a line, while it changes its memory. */
const COUNTER = `
import sys, time, os
# Nothing of the test's own may be left open: at the destination it would have no other end.
os.closerange(3, 1024)
data = bytearray(os.urandom(1 << 20) * 6)
out = open(sys.argv[1], 'a')
n = 0
while True:
    n += 1
    for i in range(8): data[(n * 8191 * 7 + i * 40960) % len(data)] = n & 255
    out.write('%d\\n' % n)
    out.flush()
    time.sleep(0.004)
`;
let work = '';
let file = '';
let other: OtherNamespace | undefined;
let target: ChildProcess | undefined;
const children: ChildProcess[] = [];

beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-migrate-'));
  file = join(work, 'count');
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  if (target?.pid !== undefined && target.exitCode === null && target.signalCode === null) {
    const gone = once(target, 'exit');
    target.kill('SIGKILL');
    await gone;
  }
  await other?.end();
  rmSync(work, { recursive: true, force: true });
});

async function startCounter(): Promise<number> {
  target = spawn('/usr/bin/env', ['python3', '-u', '-c', COUNTER, file], { stdio: 'ignore', detached: true });
  await until('begin to count', 10_000, () => existsSync(file) && numbers().length > 20);
  return target.pid!;
}

const numbers = () => readFileSync(file, 'latin1').trimEnd().split('\n').map(Number);

/** Exactly one of them counts: the numbers go on, and none is left out or comes twice. */
async function expectOneCopy(): Promise<void> {
  const before = numbers().length;
  await until('go on somewhere', 10_000, () => numbers().length > before + 20);
  const seen = numbers();
  expect(seen).toEqual(seen.map((_, index) => index + 1));
}

const isHere = () => target!.exitCode === null && target!.signalCode === null;
const isStopped = () => /^[Tt]+$/.test(threadStates(target!.pid!));

function startMigrate(
  address: string,
  ...options: readonly string[]
): { child: ChildProcess; said: () => string } {
  const args = [CKPT, 'migrate', '-t', `${target!.pid}`, '--to', address, '--json', ...options];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      text += chunk;
    });
  }
  return { child, said: () => text };
}

/** Migrations in doubt that were noted since. */
function newRecords(before: ReadonlySet<string>): string[] {
  return recordsNow().filter((name) => !before.has(name));
}

const recordsNow = () =>
  existsSync(RECORDS) ? readdirSync(RECORDS).filter((name) => name.endsWith('.json')) : [];

/** Passes connections on, until it is cut. */
class Relay {
  readonly #server: Server;
  readonly #sockets: Socket[] = [];

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(port: number): Promise<Relay> {
    const server = createServer();
    const relay = new Relay(server);
    server.on('connection', (socket) => {
      const on = connect(port, '127.0.0.1');
      relay.#sockets.push(socket, on);
      for (const each of [socket, on]) each.on('error', () => {});
      socket.pipe(on);
      on.pipe(socket);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return relay;
  }

  get address(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the relay does not listen');
    return `127.0.0.1:${address.port}`;
  }

  cut(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

describe.skipIf(lacking(isRoot))('a live process', () => {
  it('goes on in another PID namespace where it stopped here', async () => {
    const pid = await startCounter();
    other = await OtherNamespace.start();
    const { child, address } = await other.receive('-D', join(work, 'store'), '--once');
    children.push(child);
    const result = await ckptJson('migrate', '-t', `${pid}`, '--to', address);
    expect(result).toMatchObject({ end: 'moved', verdict: 'converges', obstacles: [], warnings: [] });
    await until('end here', 5000, () => !isHere());
    await expectOneCopy();
    const shown = await ckptJson('show', 'latest', '-D', join(work, 'store'));
    expect(shown['memoryDigest']).toBe(result['memoryDigest']);
    expect(result).toMatchObject({ info: { status: 'completed', ram: { 'page-size': 4096 } } });
  });

  it('is sent to be forgotten beside a rehearsal, and goes on', async () => {
    const pid = await startCounter();
    const child = spawn(process.execPath, [
      CKPT,
      'receive',
      '--discard',
      '--once',
      '--json',
      '--listen',
      '127.0.0.1:0',
    ]);
    children.push(child);
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const { address } = JSON.parse(String(line)) as { address: string };
    const options = ['--observe', '1s', '--bandwidth', '1Gbit/s', '--policy', 'fixed', '--shadow', address];
    const result = await ckptJson('rehearse', '-t', `${pid}`, '--runs', '2', ...options);
    expect(result).toMatchObject({
      verdict: 'converges',
      shadow: { end: 'rehearsed', verdict: 'converges' },
    });
    expect(result['shadow']).toHaveProperty('predicted.transferredBytes');
    await expectOneCopy();
    expect(isHere()).toBe(true);
  });

  it('goes on when its migration is cancelled', async () => {
    await startCounter();
    other = await OtherNamespace.start();
    const { child, address } = await other.receive('-D', join(work, 'store'));
    children.push(child);
    const migrate = startMigrate(address, '--max-bandwidth', '2MB/s', '-c', 'none');
    const checkpoints = join(work, 'store/checkpoints');
    await until('begin', 10_000, () => existsSync(checkpoints));
    migrate.child.kill('SIGINT');
    const [status] = (await once(migrate.child, 'close')) as [number];
    expect(status).toBe(130);
    await expectOneCopy();
    expect(isHere()).toBe(true);
    await until('remove what had come', 5000, () => readdirSync(checkpoints).length === 0);
  });

  it('is unharmed where it cannot be sent', async () => {
    const pid = await startCounter();
    const attempts = [
      ['127.0.0.1:1', 16, 'nothing listens there'],
      ['127.0.0.1', 2, 'not an address'],
      ['192.0.2.1:7000', 2, 'needs security'],
    ] as const;
    for (const [address, status, words] of attempts) {
      const { exitCode, stderr } = await ckpt(['migrate', '-t', `${pid}`, '--to', address]);
      expect(stderr).toContain(words);
      expect(exitCode).toBe(status);
    }
    await expectOneCopy();
  });

  it('that ends in the middle of its migration ends it', async () => {
    await startCounter();
    other = await OtherNamespace.start();
    const { child, address } = await other.receive('-D', join(work, 'store'));
    children.push(child);
    const migrate = startMigrate(address, '--max-bandwidth', '2MB/s', '-c', 'none');
    await delay(1200);
    target!.kill('SIGKILL');
    const [status] = (await once(migrate.child, 'close')) as [number];
    expect(migrate.said()).toMatch(/gone|ended|exist/);
    expect(status).toBe(13);
  });
});

describe.skipIf(lacking(isRoot))('a live process whose migration is broken off', () => {
  /** What dies, and when: after some time, or just before the destination is told to run the process. */
  const cases = ['source', 'destination', 'connection'].flatMap((victim) =>
    Array.from(
      { length: TRIALS },
      (_, trial) => [victim, trial % 2 === 0 ? 'commit' : 'any moment', trial] as const,
    ),
  );

  it.each(cases)('by the loss of the %s at %s runs exactly once afterwards: %i', async (victim, moment) => {
    await startCounter();
    other = await OtherNamespace.start();
    const store = join(work, 'store');
    const receiver = await other.receive('-D', store, '--reconnect-for', '1s');
    children.push(receiver.child);
    const relay = await Relay.start(receiver.port);
    const before = new Set(recordsNow());
    const migrate = startMigrate(relay.address, '--reconnect-for', '1s', '--max-bandwidth', '20MB/s');
    let isOver = false;
    const ended = once(migrate.child, 'close').then(() => {
      isOver = true;
    });
    const due = performance.now() + 400 + 1200 * Math.random();
    const isDue = () => (moment === 'commit' ? newRecords(before).length > 0 : performance.now() > due);
    while (!isOver && !isDue()) await delay(moment === 'commit' ? 0 : 5);
    await breakOff(victim, migrate.child, receiver, relay);
    await ended;
    const there =
      victim === 'destination' ? await other.receive('-D', store, '--reconnect-for', '1s') : receiver;
    children.push(there.child);
    for (const name of newRecords(before)) {
      await ckptJson('migrate', '--resolve', name.replace('.json', ''), '--to', there.address);
    }
    await expectOneCopy();
    expect(!isHere() || !isStopped()).toBe(true);
    expect(newRecords(before)).toEqual([]);
    relay.cut();
  });
});

async function breakOff(
  victim: string,
  migrate: ChildProcess,
  receiver: Receiver,
  relay: Relay,
): Promise<void> {
  if (victim === 'connection') relay.cut();
  else if (victim === 'source') migrate.kill('SIGKILL');
  else {
    const gone = once(receiver.child, 'exit');
    receiver.child.kill('SIGKILL');
    await gone;
  }
}
