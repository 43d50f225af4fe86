import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { recordTrace, TraceReader, type TraceStep } from '../../src/migration/index.ts';
import { openObserved } from '../../src/migration/trace/observed.ts';
import { ckpt, ckptJson } from './command.ts';
import { isRoot, killPrograms, startGrandchild, startPython, threadStates, until } from './programs.ts';

/** Writes 20 other pages of 8,192 every 10 ms. */
const WRITER = `
import mmap, time
pages = 8192
memory = mmap.mmap(-1, pages * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(pages): memory[page * 4096:page * 4096 + 8] = b'abcdefgh'
print('ready', flush=True)
at = 0
while True:
    for _ in range(20):
        memory[at * 7919 % pages * 4096 + 16] = at & 255
        at += 1
    time.sleep(0.01)
`;

/** Does what it is told: writes 400 pages, has a child that executes `sleep`, another with its PID, and none. */
const FAMILY = `
import os, sys, time
memory = bytearray(400 * 4096)
def born(action):
    child = os.fork()
    if child == 0:
        action()
    return child
def child_life():
    os.read(orders, 1)
    os.execvp('sleep', ['sleep', '1000'])
def end(child):
    os.kill(child, 9)
    os.waitpid(child, 0)
orders, order = os.pipe()
print('ready', flush=True)
for line in iter(sys.stdin.readline, ''):
    command = line.strip()
    if command == 'fork':
        child = born(child_life)
        print(child, flush=True)
        continue
    if command == 'write':
        for page in range(400): memory[page * 4096] = (memory[page * 4096] + 1) & 255
        print('written', flush=True)
        continue
    if command == 'exec':
        os.write(order, b'x')
        while open('/proc/%d/comm' % child).read() != 'sleep\\n': time.sleep(0.001)
    if command == 'again':
        end(child)
        before = child
        while True:
            open('/proc/sys/kernel/ns_last_pid', 'w').write(str(before - 1))
            child = born(lambda: time.sleep(1000))
            if child == before: break
            end(child)
    if command == 'kill':
        end(child)
    print('done', flush=True)
`;

let work = '';
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-record-'));
});
afterEach(async () => {
  await killPrograms();
  rmSync(work, { recursive: true, force: true });
});

describe('recording a live process', () => {
  for (const tracker of ['auto', 'compare']) {
    it(`sees what it writes, with --tracker ${tracker}, and lets it go on`, async () => {
      const program = await startPython(WRITER);
      const descriptors = readdirSync(`/proc/${program.pid}/fd`);
      const file = join(work, 'live.trace');
      const args = ['--interval', '100ms', '--duration', '1500ms', '--tracker', tracker, '-o', file];
      const result = await ckptJson('record', '-t', String(program.pid), ...args);
      expect(result).toMatchObject({ kind: 'live', end: 'duration', clock: 'monotonic' });
      expect(statSync(file).mode & 0o777).toBe(0o600);
      const reader = await TraceReader.open(file);
      let written = 0;
      let resident = 0;
      let steps = 0;
      for await (const step of reader.steps()) {
        steps++;
        for (const process of step.processes) {
          resident += process.resident.pageCount;
          if (steps > 2) written += process.written.pageCount;
        }
      }
      expect(steps).toBeGreaterThan(2);
      expect(resident).toBeGreaterThan(8192);
      // 2,000 pages a second at the most, less where the machine is busy; and not everything that exists.
      expect(written).toBeGreaterThan(100);
      expect(written).toBeLessThan(steps * 800);
      expect([...threadStates(program.pid)]).not.toContain('T');
      // Nothing of a tracker is left in it.
      expect(readdirSync(`/proc/${program.pid}/fd`)).toEqual(descriptors);
    });
  }

  it('leaves alone what an incremental dump counts on', async () => {
    const program = await startPython(WRITER);
    const dump = ['dump', '-t', String(program.pid), '-D', join(work, 'store')];
    await ckptJson(...dump);
    const descriptors = readdirSync(`/proc/${program.pid}/fd`);
    const times = ['--interval', '50ms', '--duration', '200ms'];
    await ckptJson('record', '-t', String(program.pid), ...times, '-o', join(work, 'between.trace'));
    expect(readdirSync(`/proc/${program.pid}/fd`)).toEqual(descriptors);
    await ckptJson(...dump, '--incremental');
    expect(await ckptJson('verify', '-D', join(work, 'store'))).toMatchObject({ findings: [] });
  });

  it('keeps what was recorded of a process that ends', async () => {
    const program = await startGrandchild('python3', '-c', "print('ready', flush=True)\ninput()");
    await program.line();
    const outputFile = join(work, 'short.trace');
    let steps = 0;
    const result = await recordTrace({
      target: String(program.pid),
      outputFile,
      intervalMicroseconds: 50_000,
      onStep: () => {
        if (++steps === 3) program.say('end');
      },
    });
    expect(result.end).toBe('target-ended');
    const reader = await TraceReader.open(outputFile);
    for await (const step of reader.steps()) expect(step.ended).toEqual([]);
    expect(reader.seal).toEqual({ steps: result.intervals + 1, end: 'target-ended' });
  });

  it('leaves a process unharmed, and nothing that looks like a trace, when ckpt is killed', async () => {
    const program = await startPython(FAMILY);
    const file = join(work, 'killed.trace');
    const args = ['record', '-t', String(program.pid), '--interval', '20ms', '-o', file];
    for (const delayMilliseconds of [0, 60, 170]) {
      await ckpt(args, (pid) => {
        const partial = join(work, `.killed.trace.partial-${pid}`);
        void until('a trace that is being written', 30_000, () => existsSync(partial))
          .then(() => delay(delayMilliseconds))
          .then(() => process.kill(pid, 'SIGKILL'));
      });
      await until('a process that runs', 10_000, () => !/t/i.test(threadStates(program.pid)));
      expect(await program.ask('write')).toBe('written');
    }
    expect(existsSync(file)).toBe(false);
    const left = readdirSync(work);
    expect(left).toHaveLength(3);
    for (const name of left) {
      await expect(readAll(join(work, name))).rejects.toThrow(/without its seal/);
    }
    await ckptJson(...args, '--duration', '200ms');
    await readAll(file);
  });
});

describe('recording a tree of live processes', () => {
  it('follows those that are forked, execute another program, and exit', async () => {
    const program = await startGrandchild('python3', '-u', '-c', FAMILY);
    await program.line();
    const observed = await openObserved({ target: String(program.pid) });
    const steps = observed.steps({ intervalMicroseconds: 50_000 });
    try {
      const next = async () => (await steps.next()).value as TraceStep;
      const of = (step: TraceStep, pid: number) => step.processes.find((process) => process.pid === pid);
      const first = await next();
      expect(of(first, program.pid)!.resident.pageCount).toBeGreaterThan(400);

      const child = Number(await program.ask('fork'));
      const forked = await next();
      expect([forked.started, forked.ended]).toMatchObject([[{ pid: child, parentPid: program.pid }], []]);
      const inherited = of(forked, child)!.resident.pageCount;
      expect(inherited).toBeGreaterThan(400);

      await program.ask('write');
      const written = await next();
      expect(of(written, program.pid)!.written.pageCount).toBeGreaterThanOrEqual(400);
      expect(of(written, child)!.written.pageCount).toBeLessThan(400);

      await program.ask('exec');
      const executed = await next();
      expect(executed.ended).toEqual([child]);
      expect(executed.started).toMatchObject([{ pid: child, name: 'sleep' }]);
      expect(of(executed, child)!.resident.pageCount).toBeLessThan(inherited);

      if (isRoot) {
        await program.ask('again');
        const again = await next();
        expect(again.ended).toEqual([child]);
        expect(again.started).toMatchObject([{ pid: child, name: 'python3' }]);
      }
      await program.ask('kill');
      const ended = await next();
      expect([ended.started, ended.ended]).toEqual([[], [child]]);
      expect(of(ended, child)).toBeUndefined();
    } finally {
      await steps.return('interrupted');
      await observed.close();
    }
  });
});

async function readAll(file: string): Promise<TraceStep[]> {
  const steps: TraceStep[] = [];
  for await (const step of (await TraceReader.open(file)).steps()) steps.push(step);
  return steps;
}
