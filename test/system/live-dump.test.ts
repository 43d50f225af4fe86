import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ckpt, ckptJson } from './command.ts';
import { followAndRestore } from './follow.ts';
import { killPrograms, start, startPython, threadStates, until } from './programs.ts';

let work = '';
let store = '';
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-live-'));
  store = join(work, 'store');
});
afterEach(async () => {
  await killPrograms();
  rmSync(work, { recursive: true, force: true });
});

const follow = (pid: number, deltas: number, between: () => Promise<unknown>) =>
  followAndRestore({ pid, store, deltas, between });

describe('dump and restore of live processes, byte for byte', () => {
  it('python3, with shared memory and threads that sleep in system calls', async () => {
    const program = await startPython(`
import mmap, random, threading, time
shared = mmap.mmap(-1, 1 << 20)
data = bytearray(random.randbytes(8_000_000))
def sleeper():
    while True: time.sleep(0.02)
for _ in range(3): threading.Thread(target=sleeper, daemon=True).start()
print('ready')
while True:
    for _ in range(300): data[random.randrange(len(data))] = random.randrange(256)
    shared[random.randrange(1 << 20)] = 7
    extra = mmap.mmap(-1, 65536, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    extra[4096] = 9
    time.sleep(0.005)
`);
    await follow(program.pid, 3, () => delay(100));
  });

  it('a static C program that moves, discards and shares its memory', async () => {
    const shifter = join(work, 'shifter');
    execFileSync('gcc', ['-O1', '-static', '-o', shifter, join(import.meta.dirname, '../guest/shifter.c')]);
    const program = start(shifter, []);
    expect(await program.line()).toBe('ready');
    let round = 0;
    await follow(program.pid, 4, async () => {
      expect(await program.ask(`${++round} 30`)).toBe('done');
    });
  });
});

describe('what goes wrong with a live process in the middle of a dump', () => {
  const LARGE = `
import random
data = bytearray(random.randbytes(1 << 20)) * 250
print('ready')
while True:
    for i in range(0, len(data), 40960): data[i] = random.randrange(256)
`;

  /** Runs a dump and calls `then` when the target stands still. */
  async function whileFrozen(pid: number, then: (ckptPid: number) => void) {
    let ckptPid = 0;
    const run = ckpt(['dump', '-t', `${pid}`, '-D', store], (started) => {
      ckptPid = started;
    });
    await until('freeze', 20_000, () => /^[Tt]/.test(threadStates(pid)));
    then(ckptPid);
    return run;
  }

  it('killed by SIGKILL, ckpt leaves the target running and the store usable', async () => {
    const program = await startPython(LARGE);
    const { exitCode } = await whileFrozen(program.pid, (pid) => process.kill(pid, 'SIGKILL'));
    expect(exitCode).toBeNull();
    await until('continue', 1000, () => !/[Tt]/.test(threadStates(program.pid)));
    const result = await ckptJson('dump', '-t', `${program.pid}`, '-D', store);
    expect(result).toMatchObject({ checkpoint: 1, kind: 'base' });
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('interrupted by %s, it stops in good order with exit code %i', async (signal, code) => {
    const program = await startPython(LARGE);
    const { exitCode } = await whileFrozen(program.pid, (pid) => process.kill(pid, signal));
    expect(exitCode).toBe(code);
    expect(threadStates(program.pid)).not.toMatch(/[Tt]/);
  });

  it('a target that is killed is reported as gone, and nothing is stored', async () => {
    const program = await startPython(LARGE);
    const { exitCode, stderr } = await whileFrozen(program.pid, () => process.kill(program.pid, 'SIGKILL'));
    expect(exitCode).toBe(13);
    expect(stderr).toMatch(/has exited/);
    expect((await ckpt(['ls', '-D', store])).stdout).not.toContain('base');
  });

  it('a target that executed another program is no parent', async () => {
    const program = await startPython("import os\nprint('ready')\ninput()\nos.execvp('cat', ['cat'])");
    await ckptJson('dump', '-t', `${program.pid}`, '-D', store);
    program.say('');
    await until(
      'exec',
      5000,
      () => execFileSync('cat', [`/proc/${program.pid}/comm`], { encoding: 'utf8' }) === 'cat\n',
    );
    const { exitCode, stderr } = await ckpt(['dump', '-t', `${program.pid}`, '-D', store, '--incremental']);
    expect(exitCode).toBe(13);
    expect(stderr).toMatch(/exec/);
    expect(stderr).toMatch(/--incremental/);
  });
});
