import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { probeAbilities } from '../../src/target/live-probe.ts';
import { ckpt, ckptJson } from './command.ts';
import { expectRestored, followAndRestore, rseqAreas } from './follow.ts';
import { killPrograms, lacking, type Program, start, startPython, until } from './programs.ts';
import { readMemory } from './read-memory.mjs';

const ROOT = resolve(import.meta.dirname, '../..');
const TRACKER = ['--tracker', 'pagemap-scan'];
/** More rounds for those who have the time. */
const ROUNDS = Number(process.env['CKPT_ROUNDS'] ?? 60);
const canScan = (await probeAbilities()).writeProtectionProblem === undefined;

const programs = mkdtempSync(join(tmpdir(), 'ckpt-programs-'));
const [shifter, stirrer, confined] = ['shifter', 'stirrer', 'confined'].map((name) => join(programs, name));
let work = '';
let store = '';

beforeAll(() => {
  execFileSync('gcc', ['-O1', '-o', shifter!, join(ROOT, 'test/guest/shifter.c')]);
  execFileSync('gcc', ['-O1', '-static', '-o', stirrer!, join(ROOT, 'test/system/stirrer.c')]);
  execFileSync('gcc', ['-O1', '-o', confined!, join(ROOT, 'test/system/confined.c')]);
});
afterAll(() => rmSync(programs, { recursive: true, force: true }));
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-scan-'));
  store = join(work, 'store');
});
afterEach(async () => {
  await killPrograms();
  rmSync(work, { recursive: true, force: true });
});

async function ready(program: Program): Promise<Program> {
  expect(await program.line()).toBe('ready');
  return program;
}

/** What ckpt keeps in a process: userfaultfds, and records beside them. */
function trackingLinks(pid: number): { userfaultfds: number[]; records: number[] } {
  const links = readdirSync(`/proc/${pid}/fd`).map((number) => {
    return { number: Number(number), link: readlinkSync(`/proc/${pid}/fd/${number}`) };
  });
  const numbers = (text: string) =>
    links.filter(({ link }) => link.includes(text)).map(({ number }) => number);
  return { userfaultfds: numbers('[userfaultfd]'), records: numbers('memfd:ckpt-tracking') };
}

function registeredMappings(pid: number): number {
  return readFileSync(`/proc/${pid}/smaps`, 'latin1').match(/^VmFlags:.* uw\b/gm)?.length ?? 0;
}

/** Restores a checkpoint of a process that is still stopped as it was then, and compares. */
async function expectAsSeen(checkpoint: number, pid: number): Promise<void> {
  const ignored = await rseqAreas(store);
  await expectRestored(store, checkpoint, readMemory(pid, ignored), ignored);
}

interface Outcome {
  readonly reason: string;
  readonly suspects: number;
  readonly unchanged: number;
  readonly said: readonly string[];
  readonly wrong: readonly string[];
}

/** Follows a program by the tracker alone, judging each round by all of its memory. */
async function follow(program: string, rounds: number, operations: number, commands = {}): Promise<Outcome> {
  const script = join(ROOT, 'test/guest/follow-shifter.mjs');
  const settings = [program, 'pagemap-scan', `${rounds}`, `${operations}`, JSON.stringify(commands)];
  const { stdout } = await promisify(execFile)(process.execPath, [script, ...settings], {
    env: { ...process.env, CKPT_ROOT: ROOT },
  });
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as Outcome;
}

describe.skipIf(lacking(canScan))('following live processes by write protection', () => {
  it('misses no change of a program that moves page tables, forks, merges and discards', async () => {
    const few = await follow(shifter!, ROUNDS, 4);
    expect(few).toMatchObject({ wrong: [], said: [] });
    expect(few.unchanged).toBeGreaterThan(ROUNDS * 200);
    expect(await follow(shifter!, ROUNDS, 50)).toMatchObject({ wrong: [], said: [] });
  });

  it('misses no change of files, heap and stack, and says where it cannot see', async () => {
    const commands = { 5: 'watch', 20: 'close', 40: 'close' };
    const outcome = await follow(stirrer!, Math.max(ROUNDS, 45), 5, commands);
    expect(outcome.wrong).toEqual([]);
    expect(outcome.unchanged).toBeGreaterThan(20_000);
    expect(outcome.said).toEqual([
      expect.stringMatching(/watches 0x[0-9a-f]+-0x[0-9a-f]+ with a userfaultfd of its own: compared/),
      expect.stringMatching(/has lost its userfaultfd since the last checkpoint: every page is compared/),
    ]);
  });

  it('restores every checkpoint of a chain byte for byte', async () => {
    const program = await ready(start(stirrer!, []));
    let round = 0;
    const results = await followAndRestore({
      pid: program.pid,
      store,
      deltas: Number(process.env['CKPT_ROUNDS'] ?? 7),
      between: () => program.ask(`${++round} 6`),
      dumpOptions: ['--single', ...TRACKER],
    });
    const pages = results.map((result) => result['pages'] as { present: number; dirty: number });
    for (const { present, dirty } of pages.slice(1)) expect(dirty).toBeLessThan(present / 2);
  });
});

describe.skipIf(lacking(canScan))('what tracking leaves in a process', () => {
  const BUSY = `
import os, sys, mmap
memory = mmap.mmap(-1, 4 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.write(os.urandom(4 << 20))
print('ready')
child = 0
for line in sys.stdin:
    if line.startswith('fork'):
        r, w = os.pipe()
        child = os.fork()
        if child == 0:
            for i in range(0, 100): memory[4096 * i] = 5
            os.close(w)
            os.read(r, 1)
            os._exit(0)
        os.close(r)
        print(child)
    elif line.startswith('end'):
        os.close(w)
        os.waitpid(child, 0)
        print('ended')
    else:
        for i in range(int(line)): memory[4096 * i] = (memory[4096 * i] + 1) % 256
        print('done')
`;
  const dump = (pid: number, ...more: string[]) =>
    ckpt(['dump', '-t', `${pid}`, '-D', store, ...TRACKER, ...more]);

  it('is one descriptor and its record, high up, until `untrack` removes them', async () => {
    const program = await startPython(BUSY);
    const { pid } = program;
    const none = await ckptJson('untrack', `${pid}`);
    expect(none).toEqual({ processes: [{ pid, name: 'python3', outcome: 'none' }] });
    for (const incremental of [[], ['-i'], ['-i']])
      expect((await dump(pid, ...incremental)).exitCode).toBe(0);
    const { userfaultfds, records } = trackingLinks(pid);
    expect([userfaultfds.length, records.length]).toEqual([1, 1]);
    expect(Math.min(...userfaultfds, ...records)).toBeGreaterThan(30);
    expect(readFileSync(`/proc/${pid}/fdinfo/${userfaultfds[0]}`, 'latin1')).toMatch(/^flags:\s*02004000$/m);
    expect(registeredMappings(pid)).toBeGreaterThan(3);

    const removed = await ckpt(['untrack', `${pid}`]);
    expect(removed).toMatchObject({
      exitCode: 0,
      stdout: `process ${pid} (python3) is not tracked any more\n`,
    });
    expect(trackingLinks(pid)).toEqual({ userfaultfds: [], records: [] });
    expect(registeredMappings(pid)).toBe(0);
    expect(await program.ask('50')).toBe('done');
    const next = await dump(pid, '-i');
    expect(next.stderr).toContain(
      'has lost its userfaultfd since the last checkpoint: every page is compared',
    );
    expect((await ckptJson('verify', '-D', store))['findings']).toEqual([]);
  });

  it('is not believed by another chain of dumps than the one that armed it', async () => {
    const program = await startPython(BUSY);
    const other = join(work, 'other');
    await dump(program.pid);
    await program.ask('10');
    expect((await ckpt(['dump', '-t', `${program.pid}`, '-D', other, ...TRACKER])).exitCode).toBe(0);
    await program.ask('3');
    const delta = await dump(program.pid, '-i', '-s');
    expect(delta.stderr).toContain('was tracked for another dump since the last checkpoint');
    await expectAsSeen(2, program.pid);
  });

  it('is set up anew in a forked child, which inherits what is not its own', async () => {
    const program = await startPython(BUSY);
    const { pid } = program;
    await dump(pid);
    const child = Number(await program.ask('fork'));
    expect(trackingLinks(child)).toEqual(trackingLinks(pid));
    expect(registeredMappings(child)).toBe(0);
    const before = registeredMappings(pid);
    await dump(pid, '-i');
    expect(registeredMappings(pid)).toBeGreaterThanOrEqual(before);
    expect(registeredMappings(child)).toBeGreaterThan(3);
    const { userfaultfds, records } = trackingLinks(child);
    expect([userfaultfds.length, records.length]).toEqual([1, 1]);
    await program.ask('7');
    const third = await ckptJson('dump', '-t', `${pid}`, '-D', store, '-i', ...TRACKER);
    const { present, dirty } = third['pages'] as { present: number; dirty: number };
    expect(dirty).toBeLessThan(present / 10);

    const { processes } = (await ckptJson('untrack', `${pid}`)) as { processes: { outcome: string }[] };
    expect(processes.map(({ outcome }) => outcome)).toEqual(['removed', 'removed']);
    expect(registeredMappings(pid) + registeredMappings(child)).toBe(0);
    expect(await program.ask('end')).toBe('ended');
  });

  it('goes away with a process that untracks while its child still holds the descriptor', async () => {
    const program = await startPython(BUSY);
    const { pid } = program;
    await dump(pid);
    await program.ask('fork');
    await ckptJson('untrack', `${pid}`, '--single');
    expect(registeredMappings(pid)).toBe(0);
    expect(await program.ask('end')).toBe('ended');
  });

  it('is nothing where seccomp kills for a call that is not foreseen; a filter is suspended', async () => {
    const strict = await ready(start(confined!, ['strict']));
    const first = await ckpt(['dump', '-t', `${strict.pid}`, '-D', store, ...TRACKER]);
    expect(first.stderr).toContain('cannot be tracked: strict seccomp kills it');
    await strict.ask('x');
    const second = await ckpt(['dump', '-t', `${strict.pid}`, '-D', store, '-i', '-s', ...TRACKER]);
    expect(second.stderr).toContain('cannot be tracked: strict seccomp kills it');
    await expectAsSeen(2, strict.pid);
    process.kill(strict.pid, 'SIGCONT');
    expect(await strict.ask('x')).toBe('x');

    rmSync(store, { recursive: true });
    const filtered = await ready(start(confined!, ['filter']));
    expect((await ckpt(['dump', '-t', `${filtered.pid}`, '-D', store, ...TRACKER])).stderr).not.toContain(
      'cannot',
    );
    expect(await filtered.ask('x')).toBe('x');
    const delta = await ckpt(['dump', '-t', `${filtered.pid}`, '-D', store, '-i', '-s', ...TRACKER]);
    expect(delta.stderr).not.toContain('every page is compared');
    await expectAsSeen(2, filtered.pid);
    process.kill(filtered.pid, 'SIGCONT');
    expect(await filtered.ask('x')).toBe('x');
  });

  it('is not relied upon where pages may be written past the page tables', async () => {
    const pinned = await ready(start(confined!, ['aio']));
    const notes =
      /cannot be tracked: it uses asynchronous I\/O \(\/\[aio\].*\), which may write to its memory unseen/;
    expect((await ckpt(['dump', '-t', `${pinned.pid}`, '-D', store, ...TRACKER])).stderr).toMatch(notes);
    const all = await ckpt(['dump', '-t', `${pinned.pid}`, '-D', join(work, 'other'), '-v']);
    expect(all.stderr).toMatch(
      /tracker (soft-dirty|compare): .*no pagemap-scan, since it uses asynchronous I\/O/,
    );
    await pinned.ask('x');
    const delta = await ckpt(['dump', '-t', `${pinned.pid}`, '-D', store, '-i', '-s', ...TRACKER]);
    expect(delta.stderr).toMatch(notes);
    expect((await ckptJson('verify', '-D', store))['findings']).toEqual([]);
  });

  it('does no harm when ckpt is killed at any moment, and the chain goes on', async () => {
    const program = await ready(start(stirrer!, []));
    const { pid } = program;
    const kills = Number(process.env['CKPT_KILLS'] ?? 12);
    expect((await dump(pid)).exitCode).toBe(0);
    for (let index = 0; index < kills; index++) {
      // Some begin from nothing: then calls are made inside the process.
      if (index % 3 === 0) await ckptJson('untrack', `${pid}`);
      await program.ask(`${index} 3`);
      await ckpt(['dump', '-t', `${pid}`, '-D', store, '-i', '--single', ...TRACKER], (ckptPid) => {
        void killInTime(ckptPid, pid, index);
      });
      await until('the program runs on', 5000, () => !isHeld(pid));
      expect(await program.ask(`${index + 100} 3`)).toBe('done');
    }
    const last = await ckptJson('dump', '-t', `${pid}`, '-D', store, '-i', '-s', '--single', ...TRACKER);
    await expectAsSeen(Number(last['checkpoint']), pid);
    process.kill(pid, 'SIGCONT');
    expect(await program.ask('1 5')).toBe('done');
  });
});

function statusOf(pid: number): string {
  return readFileSync(`/proc/${pid}/status`, 'latin1');
}

/** Kills a ckpt at some moment: every other one while the target stands still. */
async function killInTime(ckptPid: number, target: number, index: number): Promise<void> {
  if (index % 2 === 0) await delay(60 + ((index * 37) % 240));
  else {
    const deadline = performance.now() + 5000;
    while (!isHeld(target) && performance.now() < deadline) await delay(0);
    await delay((index * 5) % 16);
  }
  kill(ckptPid);
}

function isHeld(pid: number): boolean {
  return /^State:\s*[tT]/m.test(statusOf(pid));
}

/** Kills a ckpt that may have ended already. */
function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
