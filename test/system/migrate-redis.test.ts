import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ckpt, ckptJson } from './command.ts';
import { LimitedLink } from './limited-link.ts';
import { isRoot, lacking } from './programs.ts';

const CKPT = resolve(import.meta.dirname, '../../bin/ckpt.js');
const MEGABITS = 80;
const KEYS = 24_000;
/** The benchmark gets its answers so much later, and so asks at a rate of its own choosing no longer. */
const PACE_MILLISECONDS = 2;

interface Figures {
  readonly totalMicroseconds: number;
  readonly downtimeMicroseconds: number;
  readonly transferredBytes: number;
  readonly rounds: readonly unknown[];
}

let work = '';
let link: LimitedLink | undefined;
let pacer: Server | undefined;
const children: ChildProcess[] = [];

/** What others do on a disk changes from one second to the next; memory is the same when it is measured and used. */
const MEMORY = '/dev/shm';

beforeEach(() => {
  vi.stubEnv('TMPDIR', existsSync(MEMORY) ? MEMORY : tmpdir());
  work = mkdtempSync(join(tmpdir(), 'ckpt-redis-'));
});
afterEach(async () => {
  pacer?.close();
  for (const child of children.splice(0).reverse()) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }
  link?.close();
  link = undefined;
  rmSync(work, { recursive: true, force: true });
  vi.unstubAllEnvs();
});

/** An allocator that gives back at once what it does not need keeps as much memory later as it has now. */
const MALLOC_CONF = 'dirty_decay_ms:0,muzzy_decay_ms:0';

function run(command: string, ...args: readonly string[]): ChildProcess {
  const env = { ...process.env, MALLOC_CONF };
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'], env });
  children.push(child);
  return child;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** Passes everything on to a port, what comes from the client somewhat later. */
async function paced(port: number): Promise<number> {
  pacer = createServer((client) => {
    const server = connect(port, '127.0.0.1');
    client.on('data', (chunk) => setTimeout(() => server.write(chunk), PACE_MILLISECONDS));
    server.pipe(client);
    for (const each of [client, server]) each.on('error', () => {});
    client.on('close', () => server.destroy());
  }).listen(0, '127.0.0.1');
  await once(pacer, 'listening');
  const address = pacer.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** A redis-server full of keys that redis-benchmark overwrites at a steady rate. @returns its PID */
async function startRedis(): Promise<number> {
  const port = await freePort();
  const server = run('redis-server', '--port', `${port}`, '--save', '', '--appendonly', 'no', '--dir', work);
  for await (const chunk of server.stdout!) if (String(chunk).includes('Ready to accept')) break;
  const sets = ['-t', 'set', '-r', `${KEYS}`, '-d', '900', '-q'];
  await once(run('redis-benchmark', '-p', `${port}`, '-n', `${KEYS * 6}`, '-P', '32', ...sets), 'exit');
  run('redis-benchmark', '-p', `${await paced(port)}`, '-n', '10000000', '-c', '1', ...sets).stdout!.resume();
  // What the clients of the first benchmark had in buffers is given back after a while.
  await delay(2500);
  return server.pid!;
}

/** Where ckpt receive listens, at the other end of the link if there is one. */
async function startReceive(): Promise<string> {
  const listen = link === undefined ? '127.0.0.1:0' : `${link.address}:0`;
  const args = [process.execPath, CKPT, 'receive', '-D', join(work, 'store'), '--json', '--insecure'];
  const [command, ...rest] = [...(link?.within ?? []), ...args, '--listen', listen];
  const child = run(command!, ...rest);
  const [line] = (await once(child.stdout!, 'data')) as [Buffer];
  child.stdout!.resume();
  return (JSON.parse(String(line)) as { address: string }).address;
}

describe.skipIf(lacking(isRoot))('a redis-server under redis-benchmark', () => {
  it('is migrated as its rehearsal predicts', { retry: 2 }, async () => {
    link = LimitedLink.open(MEGABITS);
    const pid = await startRedis();
    // Without a link to limit, the sender keeps to a limit of its own.
    const own = ['--max-bandwidth', `${MEGABITS}Mbit/s`];
    const policy = [
      '--policy',
      'fixed',
      '--max-rounds',
      '3',
      '-c',
      'none',
      ...(link === undefined ? own : []),
    ];
    const bandwidth = link === undefined ? '10Gbit/s' : `${MEGABITS}Mbit/s`;
    const rehearse = ['rehearse', '-t', `${pid}`, '--observe', '5s', '--bandwidth', bandwidth, ...policy];
    const predicted = (await ckptJson(...rehearse)) as unknown as Figures;
    const address = await startReceive();
    const migrate = ['migrate', '-t', `${pid}`, '--to', address, '--insecure', ...policy, '--json'];
    const { exitCode, stdout, stderr } = await ckpt(migrate);
    // Its listening socket cannot be made anew while it exists: it goes on here, and its checkpoint is there.
    expect(exitCode, stderr).toBe(3);
    const measured = JSON.parse(stdout) as Figures & {
      readonly end: string;
      readonly obstacles: readonly string[];
    };
    expect(measured.end).toBe('not-runnable');
    expect(measured.obstacles.join()).toContain('its PID is taken');
    expectWithin(predicted, measured);
    process.kill(pid, 0);
  });
});

/** The bounds within which a rehearsal has to be right. */
function expectWithin(predicted: Figures, measured: Figures): void {
  const compared = JSON.stringify({ predicted: told(predicted), measured: told(measured) });
  const error = (name: 'totalMicroseconds' | 'transferredBytes') =>
    Math.abs(predicted[name] / measured[name] - 1);
  expect(error('totalMicroseconds'), compared).toBeLessThan(0.05);
  expect(error('transferredBytes'), compared).toBeLessThan(0.05);
  const downtime = Math.abs(predicted.downtimeMicroseconds - measured.downtimeMicroseconds);
  expect(downtime, compared).toBeLessThan(Math.max(30_000, measured.downtimeMicroseconds * 0.2));
  const rounds = Math.abs(predicted.rounds.length - measured.rounds.length);
  expect(rounds, compared).toBeLessThanOrEqual(Math.max(1, measured.rounds.length * 0.2));
}

function told(figures: Figures) {
  const { totalMicroseconds, downtimeMicroseconds, transferredBytes, rounds } = figures;
  return { totalMicroseconds, downtimeMicroseconds, transferredBytes, rounds };
}
