import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type LiveOptions, type LiveTarget, openLiveTarget } from '../../src/target/index.ts';
import { childrenByParent, listedChildren } from '../../src/target/live-tree.ts';
import {
  isRoot,
  killPrograms,
  lacking,
  type Program,
  processesWith,
  start,
  startGrandchild,
  threadStates,
  until,
} from './programs.ts';

const HOLDER = join(import.meta.dirname, 'hold-frozen.mjs');
const FREEZERS = ['ptrace', 'signal'] as const;
const canCompile = existsSync('/usr/bin/gcc');
/** Marks the processes of this file, so that none of them is left behind. */
const MARK = `ckpt-tree-${process.pid}`;

let folder = '';
const targets: LiveTarget[] = [];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ckpt-tree-'));
  if (!canCompile) return;
  for (const name of ['waiting', 'vforking']) {
    const source = join(import.meta.dirname, `${name}.c`);
    execFileSync('gcc', ['-O1', '-pthread', '-o', join(folder, name), source]);
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(async () => {
  await Promise.all(targets.splice(0).map((target) => target.close()));
  for (const pid of processesWith(MARK)) endOf(pid);
  await killPrograms();
});

function endOf(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended already, as many do that live for a moment only.
  }
}

async function open(pid: number, options: LiveOptions = {}): Promise<LiveTarget> {
  const target = await openLiveTarget(pid, options);
  targets.push(target);
  return target;
}

async function python(code: string): Promise<Program> {
  const program = await startGrandchild('/usr/bin/env', 'python3', '-u', '-c', `# ${MARK}\n${code}`);
  expect(await program.line()).toBe('ready');
  return program;
}

/** A root with two children and a grandchild; the children have threads. Answers with the PIDs of all. */
const FAMILY = `
import os, sys, time, threading
def child(level):
    if level: start(level - 1)
    threading.Thread(target=lambda: time.sleep(100), daemon=True).start()
    while True: time.sleep(0.001)
def start(level):
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(0)
        pids.clear()
        try: child(level)
        finally: os._exit(0)
    pids.append(pid)
pids = []
start(1); start(0)
print('ready')
count = 0
for line in sys.stdin:
    count += 1
    print(*pids, count)
`;

/** Forks all the time; children live a moment, some have children of their own, some end without being waited for. */
const STORM = `
import os, sys, threading, time
count = 0
def storm():
    global count
    while True:
        pid = os.fork()
        if pid == 0:
            if count % 3 == 0 and os.fork() == 0: time.sleep(0.002); os._exit(0)
            if count % 5: time.sleep(0.001)
            os._exit(0)
        if count % 7:
            try:
                while os.waitpid(-1, os.WNOHANG if count % 2 else 0)[0]: pass
            except ChildProcessError: pass
        count += 1
threading.Thread(target=storm, daemon=True).start()
print('ready')
for line in sys.stdin: print(count)
`;

/** States of the threads of all processes, in order. */
const states = (pids: readonly number[]) => pids.map(threadStates);
const pidsOf = (target: LiveTarget) => target.processes().map(({ pid }) => pid);
/** PIDs of the living children of a process, from their own records. */
function childrenOf(pid: number): number[] {
  return processesWith(MARK).filter((other) => {
    try {
      const stat = readFileSync(`/proc/${other}/stat`, 'latin1');
      const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return Number(parent) === pid && state !== 'Z';
    } catch {
      return false;
    }
  });
}

/** The count is the last word of every answer. */
async function countOf(program: Program): Promise<number> {
  return Number((await program.ask('count')).split(' ').pop());
}

async function expectProgress(program: Program): Promise<void> {
  const before = await countOf(program);
  const deadline = performance.now() + 3000;
  let now = before;
  while (now === before && performance.now() < deadline) {
    await delay(5);
    now = await countOf(program);
  }
  expect(now).toBeGreaterThan(before);
}

function isRunning(pid: number): boolean {
  try {
    return !/[tT]/.test(threadStates(pid));
  } catch {
    return true; // It has ended, as its children do all the time.
  }
}

/** In the order of waiting.c. */
const WAITS = [
  'read',
  'futex',
  'futex-long',
  'semaphore',
  'epoll',
  'epoll-long',
  'poll',
  'select',
  'accept',
  'inotify',
  'signal',
  'sleep',
];
/** What SIGSTOP and SIGCONT end with EINTR although no handler runs: signal(7), the last section but one. */
const INTERRUPTED_BY_SIGSTOP = ['epoll', 'epoll-long', 'inotify', 'signal'];

describe.each(FREEZERS)('a tree of processes stopped by %s', (freezer) => {
  const still = freezer === 'ptrace' ? /^t+$/ : /^T+$/;

  it('is listed root first, parents before their children, and stands still as a whole', async () => {
    const program = await python(FAMILY);
    const [first, second] = (await program.ask('pids')).split(' ').map(Number);
    await until('the grandchild', 1000, () => childrenOf(first!).length === 1);
    const [grandchild] = childrenOf(first!);
    const target = await open(program.pid, { freezer });
    await target.freeze();
    const views = target.processes();
    expect(views.map(({ pid, parentPid }) => [pid, parentPid])).toEqual([
      [program.pid, 0],
      [first, program.pid],
      [second, program.pid],
      [grandchild, first],
    ]);
    expect(new Set(views.map(({ fingerprint }) => fingerprint)).size).toBeGreaterThan(1);
    for (const text of states(pidsOf(target))) expect(text).toMatch(still);
    target.verifyStoodStill();
    const pids = pidsOf(target);
    target.thaw();
    await until('go on', 1000, () => states(pids).every((text) => !/[tT]/.test(text)));
    const alone = await open(program.pid, { freezer, single: true });
    await alone.freeze();
    expect(pidsOf(alone)).toEqual([program.pid]);
    expect(threadStates(first!)).not.toMatch(/[tT]/);
  });

  it('keeps its views from freeze to freeze, and gains one for a new process', async () => {
    const forking = FAMILY.replace('    count += 1', '    count += 1; start(0)');
    const program = await python(forking);
    const target = await open(program.pid, { freezer });
    await target.freeze();
    const before = target.processes();
    target.thaw();
    await program.ask('another child');
    await target.freeze();
    const after = target.processes();
    expect(after.length).toBe(before.length + 1);
    expect(before.every((view) => after.includes(view))).toBe(true);
  });

  it('is complete while it forks, and goes on, time and again', async () => {
    const program = await python(STORM);
    const target = await open(program.pid, { freezer });
    let most = 0;
    for (let round = 0; round < 50; round++) {
      await target.freeze();
      const pids = pidsOf(target);
      most = Math.max(most, pids.length);
      for (const pid of pids) {
        expect(threadStates(pid)).toMatch(still);
        expect(pids).toEqual(expect.arrayContaining(childrenOf(pid)));
      }
      target.verifyStoodStill();
      target.thaw();
      await delay(1);
    }
    expect(most).toBeGreaterThan(1);
    await expectProgress(program);
  }, 60_000);

  it('leaves what was stopped before stopped, and zombies alone', async () => {
    const program = await python(
      FAMILY.replace(
        "print('ready')",
        "zombie = os.fork() or os._exit(0)\npids.append(zombie)\nprint('ready')",
      ),
    );
    const [first, second, zombie] = (await program.ask('pids')).split(' ').map(Number);
    process.kill(second!, 'SIGSTOP');
    await until('stop', 1000, () => /^T+$/.test(threadStates(second!)));
    const target = await open(program.pid, { freezer });
    for (let round = 0; round < 3; round++) {
      await target.freeze();
      expect(pidsOf(target)).toContain(second);
      expect(pidsOf(target)).not.toContain(zombie);
      target.thaw();
      await delay(20);
      expect(threadStates(second!)).toMatch(/^T+$/);
      expect(threadStates(first!)).not.toMatch(/[tT]/);
    }
    process.kill(second!, 'SIGCONT');
    await until('go on', 1000, () => !/[tT]/.test(threadStates(second!)));
  });

  it('stays stopped on request, every process', async () => {
    const program = await python(FAMILY);
    const target = await open(program.pid, { freezer });
    await target.freeze();
    const pids = pidsOf(target);
    await target.close({ leaveStopped: true });
    await until('stop', 1000, () => states(pids).every((text) => /^T+$/.test(text)));
    await delay(50);
    expect(states(pids).every((text) => /^T+$/.test(text))).toBe(true);
    for (const pid of pids) process.kill(pid, 'SIGCONT');
    await expectProgress(program);
  });

  it.skipIf(lacking(canCompile))('waits for a vfork, whose parent cannot be stopped', async () => {
    const program = await startGrandchild(join(folder, 'vforking'), '4', '/bin/true');
    expect(await program.line()).toBe('ready');
    const target = await open(program.pid, { freezer });
    for (let round = 0; round < 30; round++) {
      await target.freeze();
      expect(threadStates(program.pid)).toMatch(still);
      target.verifyStoodStill();
      target.thaw();
      await delay(round % 5);
    }
    await expectProgress(program);
  });

  it.skipIf(lacking(canCompile))(
    'gives up on a vfork that lasts too long, and everything runs on',
    async () => {
      const program = await startGrandchild(join(folder, 'vforking'), '1500', '/bin/true');
      expect(await program.line()).toBe('ready');
      await delay(50);
      const target = await open(program.pid, { freezer, freezeTimeoutMicroseconds: 300_000 });
      await expect(target.freeze()).rejects.toThrow(/did not stop/);
      expect(target.frozen).toBe(false);
      await until('go on', 3000, () => !/[tT]/.test(threadStates(program.pid)));
      await program.ask('count');
    },
  );

  it('lets a tree run on when ckpt is killed at any moment', async () => {
    const program = await python(STORM);
    for (let kill = 0; kill < 8; kill++) {
      const holder = start(process.execPath, [HOLDER, `${program.pid}`, freezer, 'repeatedly']);
      expect(await holder.line()).toBe('frozen');
      await delay(Math.random() * 20);
      process.kill(holder.pid, 'SIGKILL');
      await until('go on', 2000, () => [program.pid, ...childrenOf(program.pid)].every(isRunning));
      await expectProgress(program);
    }
  }, 60_000);

  it.skipIf(lacking(canCompile))(
    'goes on waiting in the kernel as if nothing had been, after 100 stops',
    async () => {
      const directory = join(folder, `waiting-${freezer}`);
      mkdirSync(directory);
      const program = await startGrandchild(join(folder, 'waiting'), directory);
      expect(await program.line()).toBe('ready');
      const target = await open(program.pid, { freezer });
      for (let round = 0; round < 100; round++) {
        await target.freeze();
        target.thaw();
        await delay(5);
      }
      const ends = (await program.ask('wake')).split(', ');
      const allowed = WAITS.map((name) => {
        const interrupted = freezer === 'signal' && INTERRUPTED_BY_SIGSTOP.includes(name);
        return expect.stringMatching(
          new RegExp(`^${name} ok$${interrupted ? '|Interrupted system call$' : ''}`),
        );
      });
      expect(ends).toEqual([...allowed, 'done']);
    },
  );
});

describe('a target that somebody else traces', () => {
  it.skipIf(lacking(isRoot))('is stopped by SIGSTOP, without a look at its registers', async () => {
    const program = await python(FAMILY);
    const holder = start(process.execPath, [HOLDER, `${program.pid}`, 'ptrace']);
    expect(await holder.line()).toBe('frozen');
    await expect((await open(program.pid, { freezer: 'ptrace' })).freeze()).rejects.toThrow(/ptrace SEIZE/);
    const target = await open(program.pid);
    await target.freeze();
    expect(target.hold).toBeUndefined();
    target.verifyStoodStill();
    target.thaw();
    await holder.kill();
    await expectProgress(program);
    await target.freeze();
    expect(target.hold).toBeUndefined();
  });
});

describe('the children of a process', () => {
  it('are found through the lists of the kernel and through their parents alike', async () => {
    const program = await python(FAMILY);
    const pids = (await program.ask('pids')).split(' ').slice(0, 2).map(Number);
    const sorted = (list: readonly number[]) => [...list].sort((one, other) => one - other);
    expect(sorted(listedChildren(program.pid))).toEqual(sorted(pids));
    expect(sorted(childrenByParent()(program.pid))).toEqual(sorted(pids));
    expect(childrenByParent()(pids[1]!)).toEqual([]);
  });

  it('are refused if their first thread has ended while others go on', async () => {
    // System call 60 (93 elsewhere) ends the thread that makes it.
    const program = await python(
      FAMILY.replace(
        "print('ready')",
        `
pid = os.fork()
if pid == 0:
    import ctypes
    threading.Thread(target=lambda: time.sleep(100)).start()
    ctypes.CDLL(None).syscall(${process.arch === 'x64' ? 60 : 93}, 0)
pids.append(pid)
print('ready')`,
      ),
    );
    const headless = Number((await program.ask('pids')).split(' ')[2]);
    try {
      await until('the end of its first thread', 1000, () => threadStates(headless).startsWith('Z'));
      const root = await open(program.pid, { single: true });
      await root.freeze();
      root.thaw();
      const tree = await open(program.pid, { freezeTimeoutMicroseconds: 300_000 });
      await expect(tree.freeze()).rejects.toThrow(/main thread of process \d+ \(python3\) has ended/);
      expect(threadStates(headless)).not.toMatch(/[tT]/);
      await expectProgress(program);
    } finally {
      endOf(headless);
    }
  });
});
