import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { loadNative } from '../../src/target/native/calls.ts';
import { SystemCallError } from '../../src/target/native/errno.ts';
import { TraceSession } from '../../src/target/native/trace-session.ts';
import {
  isRoot,
  killPrograms,
  lacking,
  type Program,
  start,
  startGrandchild,
  threadStates,
  until,
} from './programs.ts';

const CALLER = join(import.meta.dirname, 'call-inside.mjs');
const canRun = isRoot && existsSync('/usr/bin/gcc') && process.arch === 'x64';
const MISSING = 'needs root, gcc and x86-64';
const KILLS = 30;

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ckpt-injection-'));
  if (!canRun) return;
  const source = join(import.meta.dirname, 'registers.c');
  // Inline assembly uses the red zone on purpose; the compiler must not.
  execFileSync('gcc', ['-O1', '-pthread', '-mno-red-zone', '-o', join(folder, 'registers'), source]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(killPrograms);

async function startWatcher(): Promise<Program> {
  const program = await startGrandchild(join(folder, 'registers'));
  expect(await program.line()).toBe('ready');
  return program;
}

/** The program noticed nothing, and computes. */
async function expectUnharmed(program: Program): Promise<void> {
  const before = await program.ask('rounds');
  expect(before).toMatch(/^\d+$/);
  await delay(20);
  expect(Number(await program.ask('rounds'))).toBeGreaterThan(Number(before));
  expect(/^TracerPid:\s*0$/m.test(readFileSync(`/proc/${program.pid}/status`, 'latin1'))).toBe(true);
}

const stop = async (pid: number) =>
  TraceSession.stop(await loadNative(), () => [pid], { timeoutMicroseconds: 5e6 });

describe.skipIf(lacking(canRun))(`system calls inside a process (${MISSING})`, () => {
  it('are made by each of its threads, and none of them notices', async () => {
    const program = await startWatcher();
    const caller = start(process.execPath, [CALLER, `${program.pid}`, '50', '4']);
    expect(await caller.line()).toBe('calling');
    await expect(caller.line()).rejects.toThrow('ended');
    expect(await program.ask('interruptions')).toBe('0');
    await expectUnharmed(program);
  });

  it('report what the kernel refuses, by the name of the call', async () => {
    const program = await startWatcher();
    const session = await stop(program.pid);
    const injector = session.injector(program.pid);
    const refused = () => injector.call('close', 9999);
    expect(refused).toThrow(SystemCallError);
    expect(refused).toThrow(`close inside process ${program.pid} failed: EBADF`);
    expect(injector.tryCall('close', 9999)).toBe(-9n);
    injector.close();
    session.detach();
    await expectUnharmed(program);
  });

  it('take arguments through scratch memory, which is given back', async () => {
    const program = await startWatcher();
    const session = await stop(program.pid);
    const injector = session.injector(program.pid);
    const before = injector.readScratch(0, injector.scratchBytes);
    injector.call('uname', injector.writeScratch(new Uint8Array(400)));
    const name = Buffer.from(injector.readScratch(0, 5)).toString('latin1');
    expect(name).toBe('Linux');
    const address = injector.scratchAddress;
    injector.close();
    const again = session.injector(program.pid);
    expect(again.scratchAddress).toBe(address);
    expect(again.readScratch(0, again.scratchBytes)).toEqual(before);
    again.close();
    session.detach();
    await expectUnharmed(program);
  });

  it('work in a process that job control has stopped, which stays stopped', async () => {
    const program = await startWatcher();
    process.kill(program.pid, 'SIGSTOP');
    await until('stop', 1000, () => /^T+$/.test(threadStates(program.pid)));
    const session = await stop(program.pid);
    const injector = session.injector(program.pid);
    expect(injector.call('getpid')).toBe(BigInt(program.pid));
    injector.close();
    session.detach();
    await until('stop again', 1000, () => /^T+$/.test(threadStates(program.pid)));
    process.kill(program.pid, 'SIGCONT');
    await expectUnharmed(program);
  });

  it(`leave the process whole when ckpt is killed in the middle of them, ${KILLS} times`, async () => {
    const program = await startWatcher();
    for (let kill = 0; kill < KILLS; kill++) {
      const caller = start(process.execPath, [CALLER, `${program.pid}`, '1000000', '3']);
      expect(await caller.line()).toBe('calling');
      await delay(2 + Math.random() * 40);
      await caller.kill();
    }
    await expectUnharmed(program);
  });

  it('leave it stopped when it is to stay stopped', async () => {
    const program = await startWatcher();
    const session = await stop(program.pid);
    session.detach({ leaveStopped: true });
    await until('stop', 1000, () => /^T+$/.test(threadStates(program.pid)));
    process.kill(program.pid, 'SIGCONT');
    await expectUnharmed(program);
  });
});
