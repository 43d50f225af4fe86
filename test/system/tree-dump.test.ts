import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ckpt, ckptJson } from './command.ts';
import { followAndRestore } from './follow.ts';
import { killPrograms, processesWith, startPython, threadStates, until } from './programs.ts';

const MARK = `ckpt-tree-dump-${process.pid}`;
let work = '';
let store = '';

beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-tree-dump-'));
  store = join(work, 'store');
});
afterEach(async () => {
  for (const pid of processesWith(MARK)) {
    if (pid !== process.pid) process.kill(pid, 'SIGKILL');
  }
  await killPrograms();
  rmSync(work, { recursive: true, force: true });
});

/**
 * A master with 12 MB of its own and 4 MB that all share, and workers that store to both. Commands: `spawn`, `end`,
 * `exec` (the newest worker becomes another program), `write` (the master stores) and `count`.
 */
const MASTER = `
# ${MARK}
import mmap, os, random, signal, sys, time
data = bytearray(random.randbytes(12_000_000))
shared = mmap.mmap(-1, 4_000_000)
shared[:2_000_000] = random.randbytes(2_000_000)
workers = []
OTHER = '''# ${MARK}
import time
x = bytearray(1_000_000)
while True: time.sleep(0.01); x[0] = (x[0] + 1) & 255
'''
def become(*_): os.execvp('python3', ['python3', '-c', OTHER])
def work(number):
    signal.signal(signal.SIGUSR1, become)
    own = bytearray(random.randbytes(1_000_000))
    n = 0
    while True:
        n += 1
        own[n * 4096 % len(own)] = n & 255
        shared[(number * 1000 + n) * 4096 % len(shared)] = number
        if n % 10 == 0: data[(number * 100 + n) * 4096 % len(data)] = n & 255
        time.sleep(0.002)
def spawn():
    number = len(workers) + 1
    pid = os.fork()
    if pid == 0:
        try: work(number)
        finally: os._exit(1)
    workers.append(pid)
def end():
    pid = workers.pop(0)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
def execute():
    os.kill(workers[-1], signal.SIGUSR1)
    while 'OTHER' in open(f'/proc/{workers[-1]}/cmdline').read(): time.sleep(0.01)
def write():
    for i in range(200): data[random.randrange(len(data))] = random.randrange(256)
spawn(); spawn(); spawn()
time.sleep(0.1)
print('ready')
count = 0
for line in sys.stdin:
    count += 1
    for word in line.split(): {'spawn': spawn, 'end': end, 'exec': execute, 'write': write, 'count': lambda: 0}[word]()
    print(count)
`;

describe('a live tree of processes', () => {
  it.each(['auto', 'compare'])(
    'is restored byte for byte, whoever comes and goes (tracker %s)',
    async (tracker) => {
      const program = await startPython(MASTER);
      const commands = ['exec write', 'spawn write', 'end end spawn'];
      const results = await followAndRestore({
        pid: program.pid,
        store,
        deltas: commands.length,
        dumpOptions: ['--tracker', tracker],
        between: async () => {
          expect(await program.ask(commands.shift() ?? 'write')).toMatch(/^\d+$/);
          await delay(30);
        },
      });
      expect(results.map(({ processes }) => processes)).toEqual([4, 4, 5, 4]);
      for (const args of [['diff', '1', '4'], ['show', '4'], ['ls']]) {
        expect((await ckpt([...args, '-D', store])).exitCode).toBe(0);
      }
    },
  );

  it('is stored once where its processes share memory', async () => {
    const program = await startPython(MASTER);
    const pids = processesWith(MARK).filter((pid) => pid !== process.pid);
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    const pagesOf = async (...options: readonly string[]) => {
      const at = join(work, `store${options.join('')}`);
      const result = await ckptJson('dump', '-t', `${program.pid}`, '-D', at, ...options);
      return result as unknown as { processes: number; pages: { present: number; written: number } };
    };
    const single = await pagesOf('--single');
    const tree = await pagesOf();
    expect([single.processes, tree.processes]).toEqual([1, 4]);
    expect(tree.pages.present).toBeGreaterThan(3.5 * single.pages.present);
    // Each of three workers has a megabyte of its own, and what of the interpreter's memory it has stored to.
    expect(tree.pages.written - single.pages.written).toBeLessThan(3 * 2000);
  });

  it('says that a child has become another program, and takes it as new', async () => {
    const program = await startPython(MASTER);
    await ckptJson('dump', '-t', `${program.pid}`, '-D', store);
    await program.ask('exec');
    const { stderr, exitCode } = await ckpt(['dump', '-t', `${program.pid}`, '-D', store, '--incremental']);
    expect(exitCode).toBe(0);
    expect(stderr).toMatch(/process \d+ \(python3\) is taken as a new one: the process has executed/);
  });

  it('runs on when ckpt is killed at any moment of a dump', async () => {
    const program = await startPython(MASTER);
    await ckptJson('dump', '-t', `${program.pid}`, '-D', store);
    const { microseconds } = await ckptJson('dump', '-t', `${program.pid}`, '-D', store, '--incremental');
    const longest = (microseconds as { total: number }).total / 1000;
    for (let kill = 0; kill < 6; kill++) {
      await ckpt(['dump', '-t', `${program.pid}`, '-D', store, '--incremental'], (pid) => {
        setTimeout(() => process.kill(pid, 'SIGKILL'), 150 + Math.random() * longest);
      });
      const running = () => processesWith(MARK).every((pid) => pid === process.pid || isRunning(pid));
      await until('go on', 2000, running);
      expect(Number(await program.ask('count'))).toBeGreaterThan(0);
    }
    await ckptJson('dump', '-t', `${program.pid}`, '-D', store, '--incremental');
    await ckptJson('verify', '-D', store);
  });

  it('refuses --single for a workload', async () => {
    const { exitCode, stderr } = await ckpt([
      'dump',
      '-t',
      'sim:fixtures/kv-store.yaml',
      '-D',
      store,
      '--single',
    ]);
    expect(exitCode).not.toBe(0);
    expect(stderr).toContain('--single is for live processes');
  });
});

function isRunning(pid: number): boolean {
  return !/[tT]/.test(threadStates(pid));
}
