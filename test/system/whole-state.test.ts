import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  decodeLiveState,
  instructionAddress,
  type LiveState,
  openLiveTarget,
} from '../../src/target/index.ts';
import { ckpt, ckptJson } from './command.ts';
import { type Confession, expectFiles, expectSignals, expectThreads, expectTimers } from './confession.ts';
import { isRoot, killPrograms, lacking, type Program, start, startPython, until } from './programs.ts';

const directory = mkdtempSync(join(tmpdir(), 'ckpt-state-'));
const program = join(directory, 'whole-state');

beforeAll(() => {
  const source = resolve(import.meta.dirname, 'whole-state.c');
  execFileSync('gcc', ['-O1', '-pthread', '-Wall', '-Wextra', '-Werror', source, '-o', program]);
});
afterEach(killPrograms);
afterAll(() => rmSync(directory, { recursive: true }));

async function listen(running: Program): Promise<Confession> {
  const facts = new Map<string, readonly string[]>();
  for (;;) {
    const [name, ...words] = (await running.line()).split(' ');
    if (name === 'end') return facts;
    facts.set(name!, words);
  }
}

/** Stops the target for a capture of its state. */
async function capture(pid: number, options: Parameters<typeof openLiveTarget>[1] = {}): Promise<LiveState> {
  const target = await openLiveTarget(pid, options);
  try {
    await target.freeze();
    const state = target.captureState();
    target.verifyStoodStill?.();
    target.thaw();
    return decodeLiveState(state.bytes, 'the state');
  } finally {
    await target.close();
  }
}

/** A 32-bit program without libraries, which pauses for ever. */
function narrowProgram(): Uint8Array {
  const [base, headers] = [0x0804_8000, 0x54];
  // mov $29, %eax; int $0x80; jmp back
  const code = [0xb8, 29, 0, 0, 0, 0xcd, 0x80, 0xeb, 0xf7];
  const bytes = Buffer.alloc(headers + code.length);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  [2, 3].forEach((half, index) => {
    bytes.writeUInt16LE(half, 16 + index * 2);
  });
  const words = [1, base + headers, 52, 0, 0];
  words.forEach((word, index) => {
    bytes.writeUInt32LE(word, 20 + index * 4);
  });
  [52, 32, 1].forEach((half, index) => {
    bytes.writeUInt16LE(half, 40 + index * 2);
  });
  const segment = [1, 0, base, base, bytes.length, bytes.length, 7, 0x1000];
  segment.forEach((word, index) => {
    bytes.writeUInt32LE(word, 52 + index * 4);
  });
  bytes.set(code, headers);
  return bytes;
}

function statusOf(pid: number): string {
  return readFileSync(`/proc/${pid}/status`, 'latin1');
}

/** Whether the main thread of a process waits in read, which is number 0. */
function isReading(pid: number): boolean {
  return readFileSync(`/proc/${pid}/syscall`, 'latin1').startsWith('0 ');
}
const canTrace = isRoot && process.arch === 'x64';

describe.skipIf(lacking(canTrace))('the whole state of a program (needs root on x86-64)', () => {
  async function confess(): Promise<{ running: Program; facts: Confession; state: LiveState }> {
    const running = start(program, [directory]);
    const facts = await listen(running);
    await until('the main thread reads', 5000, () => isReading(running.pid));
    return { running, facts, state: await capture(running.pid) };
  }

  it('is what the program says of itself, and nothing of it has changed afterwards', async () => {
    const { running, facts, state } = await confess();
    const fact = (name: string) => facts.get(name)!;
    const process = state.processes[0]!;
    expect(state.gaps).toEqual([]);
    expect(state.processes).toHaveLength(1);
    expect(process).toMatchObject({
      pid: running.pid,
      parentPid: 0,
      commandLine: [program, directory],
      exe: { path: program },
      umask: 0o27,
      layout: { brk: fact('brk')[0] },
      seccompMode: 0,
    });
    expect(process.limits).toContainEqual({ resource: 7, soft: '0x1f4', hard: '0x258' });
    const again = new Map([...facts, ...(await repeat(running))]);
    expect(again).toEqual(facts);
  });

  /** Says it all again; what was printed only at the start is missing. */
  async function repeat(running: Program): Promise<Confession> {
    running.say('again');
    return listen(running);
  }

  it('has dispositions, masks and pending signals with their values', async () => {
    const { facts, state } = await confess();
    expectSignals(facts, state);
  });

  it('has what each thread has registered with the kernel', async () => {
    const { facts, state } = await confess();
    expectThreads(facts, state);
  });

  it('has the registers of threads in their own code, and of those that wait in the kernel', async () => {
    const { facts, state } = await confess();
    const [main, waiter, spinner] = state.processes[0]!.threads;
    const words = (thread: typeof main) => {
      const bytes = Buffer.from(thread!.registers!.general, 'base64');
      return (index: number) => bytes.readBigInt64LE(index * 8);
    };
    const [r12, rax, origRax] = [3, 10, 15];
    const place = instructionAddress('x86_64', spinner!.registers!.general);
    expect(place).toBeGreaterThanOrEqual(BigInt(facts.get('spinBegin')![0]!));
    expect(place).toBeLessThan(BigInt(facts.get('spinEnd')![0]!));
    expect(words(spinner)(r12)).toBe(0x1122334455667788n);
    // struct user_i387_struct: the xmm registers are from byte 160 on.
    const floatingPoint = Buffer.from(spinner!.registers!.floatingPoint, 'base64');
    expect(floatingPoint.readBigInt64LE(160 + 5 * 16)).toBe(0x1122334455667788n);
    expect(spinner!.registers!.extended).not.toBeNull();
    expect([main!.systemCall, waiter!.systemCall, spinner!.systemCall]).toEqual([0, 202, null]);
    // -ERESTARTSYS in the place of a result: the call starts again.
    expect([words(main)(rax), words(main)(origRax)]).toEqual([-512n, 0n]);
  });

  it('has interval and POSIX timers with what is left of them', async () => {
    const { state } = await confess();
    expectTimers(state);
  });

  it('has open files by descriptor, with positions, flags, and which are one', async () => {
    const { facts, state } = await confess();
    expectFiles(facts, state, directory, { hasInodes: true });
  });

  it('knows descriptors that two processes share, and pipes between them', async () => {
    const parent = await startPython(`
import os, sys
shared = os.open('/dev/null', os.O_RDWR)
own = os.open('/dev/null', os.O_RDWR)
reader, writer = os.pipe()
if os.fork() == 0:
    os.close(reader); os.write(writer, b'x' * 5000); os.close(own)
    own = os.open('/dev/null', os.O_RDWR)
    print('ready', flush=True)
    sys.stdin.readline()
    os._exit(0)
os.close(writer)
os.wait()
`);
    const state = await capture(parent.pid);
    expect(state.gaps).toEqual([]);
    const [first, second] = state.processes;
    expect(second!.parentPid).toBe(parent.pid);
    const nulls = state.processes.map(({ files }) =>
      files.filter(({ kind }) => kind === 'null').map(({ description }) => description),
    );
    expect(nulls[0]).toHaveLength(2);
    expect(nulls[1]).toHaveLength(2);
    expect(nulls[1]![0]).toBe(nulls[0]![0]);
    expect(nulls[1]![1]).not.toBe(nulls[0]![1]);
    const pipes = [...first!.files, ...second!.files].flatMap(({ pipe }) => pipe ?? []);
    expect(pipes.map(({ unread }) => Buffer.from(unread, 'base64').toString())).toEqual(['x'.repeat(5000)]);
  });

  it('stopped without ptrace says what is missing', async () => {
    const running = start(program, [directory]);
    const facts = await listen(running);
    const state = await capture(running.pid, { freezer: 'signal' });
    const process = state.processes[0]!;
    expect(state.gaps).toContainEqual(
      expect.stringMatching(/^registers, signal handlers, .* are not known: /),
    );
    expect(state.gaps).toContainEqual(expect.stringMatching(/^of signals 12, 37, 38, pending in process/));
    expect(process.signals).toMatchObject({ dispositions: null, ignored: '0x1000' });
    expect(process.threads.map(({ registers }) => registers)).toEqual([null, null, null]);
    expect(process.threads.map(({ signalMask }) => signalMask)).toEqual(
      ['main', 'waiter', 'spinner'].map((name) => facts.get(`${name}.mask`)![0]),
    );
    expect(process.umask).toBe(0o27);
  });

  it('leaves alone a process that seccomp allows next to nothing', async () => {
    const strict = await startPython(`
import ctypes, sys
print('ready', flush=True)
sys.stdin.readline()
ctypes.CDLL(None).prctl(22, 1, 0, 0, 0)
sys.stdin.buffer.raw.read(1)
`);
    strict.say('on');
    await until('it is confined', 5000, () => /^Seccomp:\s*1$/m.test(statusOf(strict.pid)));
    const state = await capture(strict.pid);
    expect(state.gaps).toEqual([
      expect.stringMatching(/^signal handlers, .* are not known: .*seccomp \(strict\)/),
    ]);
    expect(state.processes[0]).toMatchObject({ seccompMode: 1, signals: { dispositions: null } });
    expect(state.processes[0]!.threads[0]!.registers).not.toBeNull();
    await until('it waits as before', 5000, () => statusOf(strict.pid).includes('State:\tS'));
  });

  it('has registers of 64-bit code only', async () => {
    const path = join(directory, 'narrow');
    writeFileSync(path, narrowProgram(), { mode: 0o755 });
    const narrow = start(path, []);
    await until('it waits', 5000, () => statusOf(narrow.pid).includes('State:\tS'));
    const state = await capture(narrow.pid);
    expect(state.gaps).toContainEqual(expect.stringMatching(/^the registers of thread \d+ .* 32-bit code$/));
    expect(state.processes[0]!.threads[0]).toMatchObject({ registers: null, systemCall: null });
  });

  it('of a process that another program traces is what /proc tells', async () => {
    const traced = await startPython(`
import ctypes, os, sys
if os.fork() == 0:
    ctypes.CDLL(None).ptrace(0, 0, 0, 0)
    os.kill(os.getpid(), 19)
    os._exit(0)
_, status = os.wait()
print('ready', flush=True)
sys.stdin.readline()
`);
    const child = Number(readFileSync(`/proc/${traced.pid}/task/${traced.pid}/children`, 'latin1'));
    const state = await capture(child);
    expect(state.gaps[0]).toMatch(/^registers, signal handlers, .* are not known: .*trace/);
    expect(state.processes[0]).toMatchObject({ pid: child, signals: { dispositions: null } });
  });

  it('is shown for people and as JSON, the environment only if asked for', async () => {
    const running = start('/usr/bin/env', ['SECRET=hush', program, directory]);
    await listen(running);
    await until('the main thread reads', 5000, () => isReading(running.pid));
    const store = join(directory, 'store');
    expect((await ckpt(['dump', '-t', String(running.pid), '-D', store])).exitCode).toBe(0);
    const { stdout } = await ckpt(['show', 'latest', '-D', store]);
    expect(stdout).toMatch(/^umask +0027$/m);
    expect(stdout).toMatch(/^ +\d+ {2}whole-state +read /m);
    expect(stdout).toMatch(/^ +\d+ {2}waiter é +futex /m);
    expect(stdout).toMatch(/^ +\d+ {2}spinner +at whole-state\+0x/m);
    expect(stdout).toMatch(/^SIGUSR1 +whole-state\+0x[0-9a-f]+ +SIGINFO ONSTACK RESTART +SIGUSR2$/m);
    expect(stdout).toMatch(/^ITIMER_REAL +in /m);
    expect(stdout).toMatch(/^ +3 {2}file +read-write append +42 +.*\/appended$/m);
    expect(stdout).not.toMatch(/hush|unread bytes|not recorded/);
    const asked = await ckpt(['show', 'latest', '-D', store, '--environment']);
    expect(asked.stdout).toMatch(/^SECRET=hush$/m);
    const { liveState } = await ckptJson('show', 'latest', '-D', store);
    expect(liveState).toMatchObject({ gaps: [], processes: [{ pid: running.pid, umask: 0o27 }] });
  });
});
