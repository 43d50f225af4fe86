import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  digestTargetMemory,
  dumpTarget,
  type RewindRequest,
  type RewindResult,
  rewindInPlace,
} from '../../src/checkpoint/index.ts';
import { CodecPool } from '../../src/codec/index.ts';
import { openLiveTarget } from '../../src/target/index.ts';
import { PipedProgram } from './piped-program.ts';
import { lacking, threadStates } from './programs.ts';

let programs = '';
let work = '';
let store = '';
const running: PipedProgram[] = [];

beforeAll(() => {
  programs = mkdtempSync(join(tmpdir(), 'ckpt-rewinder-'));
  for (const name of ['rewinder', 'counter']) {
    const source = join(import.meta.dirname, `${name}.c`);
    execFileSync('gcc', ['-O1', '-o', join(programs, name), source, '-lpthread']);
  }
});
afterAll(() => rmSync(programs, { recursive: true, force: true }));

beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-rewind-'));
  store = join(work, 'store');
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((program) => program.kill()));
  rmSync(work, { recursive: true, force: true });
});

async function start(command: string, ...args: string[]): Promise<PipedProgram> {
  const program = new PipedProgram(work, command, args);
  running.push(program);
  expect(await program.line()).toBe('ready');
  return program;
}

async function dump(pid: number, incremental = false) {
  const [result] = await dumpTarget({ target: `${pid}`, storeDirectory: store, incremental, workers: 0 });
  return result!;
}

function rewind(pid: number, checkpoint: number, options: Partial<RewindRequest> = {}) {
  return rewindInPlace({ storeDirectory: store, checkpoint, pid, workers: 0, ...options });
}

const REWOUND: Partial<RewindResult> = { outcome: 'rewound', obstacles: [] };

describe('real programs go back and stay sound', () => {
  it('a counter with a checksum over its memory, a hundred times', async () => {
    const program = await start(join(programs, 'counter'));
    await dump(program.pid);
    // The sum that belongs to each count never changes, however often the program comes by.
    const sums = new Map<string, string>();
    let last = 0;
    /** Reads lines until the count goes on with another number than the next. */
    const followUntilJump = async () => {
      for (;;) {
        const [count = '', sum = ''] = (await program.line()).split(' ');
        expect(sum).toBe(sums.get(count) ?? sum);
        sums.set(count, sum);
        const isNext = Number(count) === last + 1;
        last = Number(count);
        if (!isNext) return last;
      }
    };
    const begin = Number((await program.line()).split(' ')[0]);
    last = begin;
    for (let round = 1; round <= 100; round++) {
      expect(await rewind(program.pid, 1)).toMatchObject(REWOUND);
      const back = await followUntilJump();
      expect(back - begin).toBeLessThan(200);
      await delay(10);
    }
    expect(sums.size).toBeGreaterThan(20);
  });

  it('python3 with a counter in each of its threads', async () => {
    const python = execFileSync('python3', ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' });
    const program = await start(python.trim(), '-u', '-c', PYTHON_COUNTERS);
    const total = (numbers: readonly number[]) => numbers.reduce((sum, number) => sum + number, 0);
    const counts = async () => JSON.parse(await program.ask('counts')) as number[];
    await delay(50);
    await dump(program.pid);
    const then = await counts();
    for (let round = 0; round < 5; round++) {
      await delay(150);
      const later = await counts();
      expect(await rewind(program.pid, 1)).toMatchObject(REWOUND);
      const now = await counts();
      expect(now).toHaveLength(then.length);
      expect(total(now)).toBeLessThan(total(later));
      // Every thread goes on.
      while ((await counts()).some((count, index) => count <= now[index]!)) await delay(5);
    }
    expect(await program.ask('check')).toBe('sound');
  });

  const hasRedis = ['/usr/bin/redis-server', '/usr/local/bin/redis-server'].some((path) => existsSync(path));

  it.skipIf(lacking(hasRedis))('redis-server: keys that were set since are gone', async () => {
    const port = 16_391;
    const redis = spawn('redis-server', ['--port', `${port}`, '--save', '', '--appendonly', 'no'], {
      stdio: 'ignore',
    });
    const pid = redis.pid!;
    try {
      while ((await ask(port, 'PING').catch(() => '')) !== '+PONG') await delay(20);
      await ask(port, 'SET before 1');
      await dump(pid);
      for (let round = 0; round < 5; round++) {
        expect(await ask(port, 'SET since 1')).toBe('+OK');
        expect(await ask(port, 'DBSIZE')).toBe(':2');
        expect(await settledRewind(pid)).toMatchObject(REWOUND);
        expect(await ask(port, 'DBSIZE')).toBe(':1');
        expect(await ask(port, 'GET since')).toBe('$-1');
      }
      const client = connect(port, '127.0.0.1');
      await new Promise((resolve) => client.once('connect', resolve));
      await delay(50);
      const refused = await rewind(pid, 1);
      client.destroy();
      expect(refused.outcome).toBe('refused');
      expect(refused.obstacles.map(({ problem }) => problem)).toEqual([
        expect.stringMatching(/^descriptor \d+ \(socket:\[\d+\]\) was opened since$/),
      ]);
    } finally {
      redis.kill('SIGKILL');
    }
  });
});

/** redis closes a connection a little after its client has. */
async function settledRewind(pid: number): Promise<RewindResult> {
  for (let attempt = 0; ; attempt++) {
    const result = await rewind(pid, 1);
    if (result.outcome === 'rewound' || attempt === 20) return result;
    await delay(20);
  }
}

/** Sends one command over a connection of its own and returns the first line of the answer. */
async function ask(port: number, command: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.write(`${command}\r\n`);
  const [answer] = (await new Promise<Buffer>((resolve, reject) => {
    socket.once('data', resolve);
    socket.once('error', reject);
  }).then((bytes) => [bytes.toString()])) as [string];
  socket.destroy();
  return answer.split('\r\n')[0]!;
}

const PYTHON_COUNTERS = `
import json, sys, threading
counts = [0] * 4
trail = [[] for _ in counts]
def work(index):
    while True:
        counts[index] += 1
        trail[index].append(counts[index])
        if len(trail[index]) > 500: del trail[index][:250]
for index in range(len(counts)): threading.Thread(target=work, args=(index,), daemon=True).start()
print('ready')
for line in sys.stdin:
    if line.strip() == 'counts': print(json.dumps(counts))
    else:
        sound = all(b - a == 1 for t in trail for a, b in zip(t[:200], t[1:200]))
        print('sound' if sound else 'broken')
`;

describe('trees and chains', () => {
  it('a process and its child go back together', async () => {
    const program = await start('taskset', '-c', '0', join(programs, 'rewinder'), work);
    expect(await program.ask('fork')).toBe('done');
    const before = await program.ask('state');
    await dump(program.pid);
    for (const word of ['write', 'map', 'grow', 'seek', 'discard'])
      expect(await program.ask(word)).toBe('done');
    expect(await rewind(program.pid, 1)).toMatchObject({ ...REWOUND, processes: 2 });
    expect(await program.ask('state')).toBe(before);
  });

  it('back to any checkpoint of a chain, and on from there', async () => {
    const program = await start('taskset', '-c', '0', join(programs, 'rewinder'), work);
    const states = [await program.ask('state')];
    await dump(program.pid);
    for (const words of [
      ['write', 'grow'],
      ['move', 'protect', 'seek'],
      ['unmap', 'map', 'stack'],
    ]) {
      for (const word of words) expect(await program.ask(word)).toBe('done');
      states.push(await program.ask('state'));
      await dump(program.pid, true);
    }
    for (const number of [2, 4, 1, 3, 4, 2]) {
      expect(await rewind(program.pid, number)).toMatchObject(REWOUND);
      expect(await program.ask('state')).toBe(states[number - 1]);
    }
    // A delta after a rewind must not take the newest checkpoint for what the memory was.
    expect(await program.ask('write')).toBe('done');
    const after = await program.ask('state');
    const delta = await dump(program.pid, true);
    expect(delta).toMatchObject({ checkpoint: 5, parent: 4, tracker: 'pagemap-scan' });
    expect(await program.ask('discard')).toBe('done');
    expect(await rewind(program.pid, 5, { leaveStopped: true })).toMatchObject(REWOUND);
    expect(await memoryDigest(program.pid)).toBe(delta.memoryDigest);
    process.kill(program.pid, 'SIGCONT');
    expect(await program.ask('state')).toBe(after);
  });
});

async function memoryDigest(pid: number): Promise<string> {
  const pool = new CodecPool({ workers: 0 });
  const target = await openLiveTarget(pid);
  try {
    await target.freeze();
    return await digestTargetMemory(target, pool);
  } finally {
    await target.close();
    await pool.close();
  }
}

describe('ckpt is killed in the middle of a rewind', () => {
  const CLI = join(import.meta.dirname, '../../bin/ckpt.js');
  /** `CKPT_KILLS=300` kills it so often. */
  const KILLS = Number(process.env['CKPT_KILLS'] ?? 10);

  it('and the process is whole, or stopped until the next rewind', async () => {
    const program = await start('taskset', '-c', '0', join(programs, 'rewinder'), work);
    const before = await program.ask('state');
    await dump(program.pid);
    const seen = { whole: 0, stopped: 0, done: 0 };
    for (let round = 0; round < KILLS; round++) {
      for (const word of ['write', 'unmap', 'replace', 'move', 'map', 'grow', 'seek', 'thread']) {
        expect(await program.ask(word)).toBe('done');
      }
      const now = await program.ask('state');
      await killedRewind(program.pid, round);
      const isStopped = await staysStopped(program.pid);
      if (isStopped) {
        expect(await rewind(program.pid, 1)).toMatchObject({ outcome: 'rewound', leftStopped: false });
        expect(await program.ask('state')).toBe(before);
        seen.stopped++;
      } else {
        const state = await program.ask('state');
        expect([before, now]).toContain(state);
        if (state === before) seen.done++;
        else {
          seen.whole++;
          expect(await rewind(program.pid, 1)).toMatchObject(REWOUND);
          expect(await program.ask('state')).toBe(before);
        }
      }
    }
    expect(seen.whole).toBeGreaterThan(0);
    expect(seen.stopped).toBeGreaterThan(0);
  });

  /**
   * Starts the command and kills it: in even rounds a little after the program was stopped, in odd ones a little after
   * the first change to it is noted, each time a little later.
   */
  async function killedRewind(pid: number, round: number): Promise<void> {
    const args = [CLI, 'restore', '-D', store, '--at', '1', '--in-place', '-t', `${pid}`];
    const child = spawn(process.execPath, args, { stdio: 'ignore' });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    while (!/[Tt]/.test(leaderState(pid)) && child.exitCode === null) await delay(1);
    if (round % 2 === 0) await delay((round * 4) % 150);
    else {
      while (!isNoted(pid) && child.exitCode === null) await delay(1);
      await delay(round % 20);
    }
    child.kill('SIGKILL');
    await ended;
  }

  /** Further threads may end while they are looked at. */
  function leaderState(pid: number): string {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat[stat.lastIndexOf(')') + 2]!;
  }

  /** Whether ckpt has begun to change the process. */
  function isNoted(pid: number): boolean {
    try {
      return readdirSync('/run/ckpt/rewind').some((name) => name.startsWith(`${pid}-`));
    } catch {
      return false;
    }
  }

  /** Whether the process stands still when all that the death of ckpt has set off is over. */
  async function staysStopped(pid: number): Promise<boolean> {
    await delay(600);
    return /^T+$/.test(threadStates(pid));
  }
});
