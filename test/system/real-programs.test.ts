import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { CheckReport } from '../../src/checkpoint/index.ts';
import { type RedisServer, startRedis } from '../bench/redis.ts';
import { ckptJson } from './command.ts';
import { followAndRestore } from './follow.ts';
import { killPrograms, lacking, type Program, processesWith, start, startPython, until } from './programs.ts';

const DELTAS = 10;
const REDIS_PORT = 16_381;

const has = (program: string) =>
  ['/usr/bin', '/usr/local/bin'].some((folder) => existsSync(`${folder}/${program}`));

let work = '';
let checksum = '';
/** What `--tracker auto` takes, and why. */
let promised = '';
beforeAll(async () => {
  promised = ((await ckptJson('check')) as unknown as CheckReport).trackers.auto ?? '';
  checksum = join(mkdtempSync(join(tmpdir(), 'ckpt-checksum-')), 'checksum');
  const source = join(import.meta.dirname, 'checksum.c');
  execFileSync('gcc', ['-O2', '-pthread', '-o', checksum, source]);
});
afterAll(() => rmSync(join(checksum, '..'), { recursive: true, force: true }));
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-real-'));
});
afterEach(async () => {
  await killPrograms();
  rmSync(work, { recursive: true, force: true });
});

/** Ten incremental checkpoints with the tracker that `ckpt check` promises, every one restored and compared. */
async function follow(pid: number, between: () => Promise<unknown> = () => delay(60)): Promise<void> {
  const results = await followAndRestore({ pid, store: join(work, 'store'), deltas: DELTAS, between });
  for (const result of results) expect(promised).toMatch(new RegExp(`^${result['tracker']}: `));
}

async function startReady(command: string, args: readonly string[]): Promise<Program> {
  const program = start(command, args);
  expect(await program.line()).toBe('ready');
  return program;
}

describe('ten incremental checkpoints, each restored and compared byte for byte', () => {
  it.skipIf(lacking(has('redis-benchmark')))('redis-server under load from redis-benchmark', async () => {
    const redis: RedisServer = await startRedis(REDIS_PORT);
    try {
      await redis.fill(8_000_000, 0.5);
      const load = ['-p', `${REDIS_PORT}`, '-q', '-c', '4', '-r', '5000', '-d', '400', '-n', '1000000000'];
      start('redis-benchmark', [...load, '-t', 'set,lpush,lpop,hset']);
      await follow(redis.pid);
    } finally {
      await killPrograms();
      await redis.stop();
    }
  });

  it('python3 with threads', async () => {
    const program = await startPython(`
import random, threading, time
table, data = {}, bytearray(random.randbytes(4_000_000))
rounds = 0
def fill(seed):
    own = random.Random(seed)
    while True:
        for _ in range(50): table[own.randrange(20000)] = own.randbytes(own.randrange(300))
        time.sleep(0.002)
def scratch():
    global rounds
    while True:
        for _ in range(20): data[random.randrange(len(data))] = random.randrange(256)
        rounds += 1
        time.sleep(0.002)
for number in range(3): threading.Thread(target=fill, args=(number,), daemon=True).start()
threading.Thread(target=scratch, daemon=True).start()
print('ready')
for line in iter(input, 'end'): print(rounds)`);
    const before = Number(await program.ask('rounds'));
    await follow(program.pid);
    expect(Number(await program.ask('rounds'))).toBeGreaterThan(before);
  });

  it('node with worker threads', async () => {
    const program = await startReady(process.execPath, [
      '--max-semi-space-size=1',
      '-e',
      `const { Worker } = require('node:worker_threads');
       const code = 'const keep = []; setInterval(() => { for (let i = 0; i < 100; i++) keep.push({ i, text: String(i).repeat(i % 20) });'
         + 'if (keep.length > 8000) keep.splice(0, 6000); }, 10)';
       for (let i = 0; i < 2; i++) new Worker(code, { eval: true });
       const shared = new Uint32Array(new SharedArrayBuffer(1 << 20));
       setInterval(() => { for (let i = 0; i < 100; i++) shared[Math.floor(Math.random() * shared.length)]++ }, 5);
       process.stdin.on('data', () => console.log(shared.reduce((sum, count) => sum + count)));
       console.log('ready');`,
    ]);
    const before = Number(await program.ask('sum'));
    await follow(program.pid);
    expect(Number(await program.ask('sum'))).toBeGreaterThan(before);
  });

  it.skipIf(lacking(has('sqlite3')))('sqlite3 writing', async () => {
    const program = start('sqlite3', [join(work, 'data.db')]);
    expect(
      await program.ask('PRAGMA journal_mode=WAL; PRAGMA mmap_size=8388608; PRAGMA cache_size=-8000;'),
    ).toBe('wal');
    expect(await program.line()).toBe('8388608');
    program.say('CREATE TABLE entries (id INTEGER PRIMARY KEY, value BLOB);');
    let rows = 0;
    await follow(program.pid, async () => {
      for (let batch = 0; batch < 3; batch++) {
        program.say(
          `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
           INSERT INTO entries (value) SELECT randomblob(400) FROM n;
           UPDATE entries SET value = randomblob(300) WHERE id % 7 = ${batch};`,
        );
        rows += 300;
      }
      await delay(30);
    });
    expect(await program.ask('SELECT count(*) FROM entries;')).toBe(`${rows}`);
    expect(await program.ask('PRAGMA integrity_check;')).toBe('ok');
  });

  it.skipIf(lacking(has('stress-ng')))('stress-ng that verifies its memory, as a tree', async () => {
    const child = spawn('stress-ng', ['--vm', '1', '--vm-bytes', '4M', '--verify', '--metrics'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    child.stdout.on('data', (chunk) => (said += chunk));
    child.stderr.on('data', (chunk) => (said += chunk));
    const ended = once(child, 'exit');
    try {
      await until('workers', 5000, () => processesWith('stress-ng-vm').length > 0);
      await follow(child.pid!);
    } finally {
      child.kill('SIGINT');
    }
    expect(await ended).toEqual([0, null]);
    expect(said).toContain('successful run completed');
    expect(said).not.toMatch(/fail/i);
  });

  it('a C program with threads that keeps sums of its own memory', async () => {
    const program = await startReady(checksum, ['24', '4', '4000']);
    const before = Number(await program.ask('rounds'));
    await follow(program.pid);
    expect(Number(await program.ask('rounds'))).toBeGreaterThan(before);
    expect(await program.ask('end')).toBe('sound');
  });
});
