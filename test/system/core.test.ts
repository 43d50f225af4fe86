import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startRedis } from '../bench/redis.ts';
import { ckpt, ckptJson } from './command.ts';
import { isRoot, killPrograms, lacking, type Program, start, startPython, until } from './programs.ts';

const has = (program: string) =>
  ['/usr/bin', '/usr/local/bin'].some((path) => existsSync(join(path, program)));
const canDebug = isRoot && has('gdb') && has('gcore');
const PROGRAM = resolve(import.meta.dirname, '../../bin/ckpt.js');
const SPECIMEN = resolve(import.meta.dirname, 'core-specimen.c');

let built = '';
let work = '';
let store = '';
beforeAll(() => {
  built = mkdtempSync(join(tmpdir(), 'ckpt-core-built-'));
  if (has('gcc')) execFileSync('gcc', ['-g', '-O1', '-pthread', '-o', join(built, 'specimen'), SPECIMEN]);
});
afterAll(() => rmSync(built, { recursive: true, force: true }));
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-core-'));
  store = join(work, 'store');
});
afterEach(async () => {
  await killPrograms();
  rmSync(work, { recursive: true, force: true });
});

async function startSpecimen(...args: string[]): Promise<Program> {
  const program = start(join(built, 'specimen'), args);
  expect(await program.line()).toBe('ready');
  return program;
}

/** Takes a checkpoint and leaves the target stopped, so that gcore finds the same. */
async function dumpStopped(pid: number): Promise<void> {
  await ckptJson('dump', '-t', `${pid}`, '-D', store, '--leave-stopped');
}

async function restoreCore(checkpoint: number, ...args: string[]): Promise<string> {
  const path = join(work, `core-${checkpoint}`);
  await ckptJson('restore', '-D', store, '--at', `${checkpoint}`, '--format', 'core', '-o', path, ...args);
  return path;
}

function gcore(pid: number): string {
  execFileSync('gcore', ['-o', join(work, 'gcore'), `${pid}`], { stdio: 'ignore' });
  return join(work, `gcore.${pid}`);
}

const MARK = '=== here the answers begin';

/** What gdb answers to commands about a core, without what it says while it opens it. */
function askGdb(program: string, core: string, ...commands: readonly string[]): string {
  const asked = [`echo ${MARK}\\n`, ...commands].flatMap((command) => ['-ex', command]);
  const { stdout, status } = spawnSync(
    'gdb',
    ['-nx', '-batch', '-iex', 'set debuginfod enabled off', ...asked, program, core],
    { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } },
  );
  expect(status).toBe(0);
  return stdout.slice(stdout.indexOf(MARK) + MARK.length + 1);
}

const SAME_AS_GCORE = [
  'info threads',
  'thread apply all bt full',
  'info sharedlibrary',
  'info proc mappings',
  'info auxv',
  'thread apply all info registers rip rsp rbp rbx r12 r13 r14 r15 eflags fs_base xmm0 xmm1',
] as const;

/** The clock is asked in the vDSO, which gdb names by the file that it makes of its memory. */
const IN_VDSO = /clock_gettime.* in section \.text of .*(vdso|system-supplied DSO)/;

describe.skipIf(lacking(canDebug))('cores of checkpoints, in gdb', () => {
  const specimen = () => join(built, 'specimen');

  it.skipIf(lacking(has('gcc')))(
    'show threads, variables and mapped files as those of gcore do',
    async () => {
      const program = await startSpecimen();
      await program.ask('count');
      await dumpStopped(program.pid);
      const [ours, theirs] = [await restoreCore(1), gcore(program.pid)];
      const questions = [
        ...SAME_AS_GCORE,
        'print global',
        'print *global.list->next',
        'print global.list->next->next->value',
      ];
      const answers = askGdb(specimen(), ours, ...questions);
      expect(answers).toBe(askGdb(specimen(), theirs, ...questions));
      expect(answers).toMatch(/main \(argc=1, /);
      expect(answers).toMatch(/waits_for_a_signal \(depth=depth@entry=3\)[\s\S]*in patient/);
      expect(answers).toMatch(/in asks_the_clock \(\)[\s\S]*in restless/);
      expect(answers).toContain('counter = 1, name = ');
    },
  );

  it.skipIf(lacking(has('gcc')))('leave out the middle of a mapping of 1 TiB', async () => {
    const program = await startSpecimen('vast');
    await dumpStopped(program.pid);
    const core = await restoreCore(1);
    expect(statSync(core).size).toBeLessThan(32 * 1024 * 1024);
    const answers = askGdb(
      specimen(),
      core,
      'x/s global.vast',
      'x/d global.vast + (1LL << 39)',
      'x/s global.vast + (1LL << 40) - 4096',
    );
    expect(answers).toMatch(/"begin"\n.*:\s0\n.*"end"\n$/);
  });

  it.skipIf(lacking(has('gcc')))('find their way out of the vDSO', async () => {
    const program = await startSpecimen();
    let backtrace = '';
    for (let checkpoint = 1; checkpoint <= 10 && !IN_VDSO.test(backtrace); checkpoint++) {
      await ckptJson('dump', '-t', `${program.pid}`, '-D', store);
      const core = await restoreCore(checkpoint);
      backtrace = askGdb(specimen(), core, 'thread 3', 'info symbol $pc', 'bt');
      expect(backtrace).toMatch(/in asks_the_clock \(\)[\s\S]*in restless[\s\S]*in start_thread/);
    }
    expect(backtrace).toMatch(IN_VDSO);
  });

  it.skipIf(lacking(has('gcc')))('of a chain show each its own moment', async () => {
    const program = await startSpecimen();
    for (let count = 1; count <= 3; count++) {
      expect(await program.ask('count')).toBe(`${count}`);
      const incremental = count === 1 ? [] : ['--incremental'];
      await ckptJson('dump', '-t', `${program.pid}`, '-D', store, ...incremental);
    }
    for (let count = 1; count <= 3; count++) {
      const { exitCode, stdout, stderr } = await ckpt([
        'gdb',
        '-D',
        store,
        `${count}`,
        '--',
        '-nx',
        '-batch',
        '-ex',
        'print global.counter',
      ]);
      expect(stderr).not.toContain('ckpt:');
      expect({ exitCode, last: stdout.trimEnd().split('\n').at(-1) }).toEqual({
        exitCode: 0,
        last: `$1 = ${count}`,
      });
    }
  });

  it.skipIf(lacking(has('gcc')))('are of the process of the tree that is named', async () => {
    const program = await startSpecimen('with-child');
    const children = execFileSync('pgrep', ['-P', `${program.pid}`], { encoding: 'utf8' });
    const child = Number(children.trim());
    await dumpStopped(program.pid);
    const name = async (...args: string[]) =>
      askGdb(specimen(), await restoreCore(1, ...args), 'print global.name', 'info threads');
    expect(await name()).toMatch(/"specimen"[\s\S]*LWP.*\n[\s\S]*LWP.*\n[\s\S]*LWP/);
    rmSync(join(work, 'core-1'));
    expect(await name('--pid', `${child}`)).toMatch(new RegExp(`"child"[\\s\\S]*LWP ${child}`));
  });

  it.skipIf(lacking(has('gcc') && has('readelf')))('satisfy readelf', async () => {
    const program = await startSpecimen();
    await dumpStopped(program.pid);
    const core = await restoreCore(1);
    const complaints = (path: string) =>
      spawnSync('readelf', ['-a', path], { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } }).stderr;
    expect(complaints(core)).toBe('');
  });

  it.skipIf(lacking(has('python3')))('of python3 with threads have the backtraces of gcore', async () => {
    const program = await startPython(
      'import threading, time, sys\n' +
        'for n in range(3): threading.Thread(target=time.sleep, args=(1000 + n,), daemon=True).start()\n' +
        'print("ready")\n' +
        'sys.stdin.readline()\n',
    );
    await delay(100);
    await dumpStopped(program.pid);
    const exe = execFileSync('readlink', [`/proc/${program.pid}/exe`], { encoding: 'utf8' }).trim();
    const answers = askGdb(exe, await restoreCore(1), ...SAME_AS_GCORE);
    expect(answers).toBe(askGdb(exe, gcore(program.pid), ...SAME_AS_GCORE));
    expect(answers.match(/^Thread \d/gm)?.length).toBeGreaterThanOrEqual(4);
  });

  it.skipIf(lacking(has('redis-server')))('of redis-server have the backtraces of gcore', async () => {
    const redis = await startRedis(17_391);
    try {
      await redis.fill(2_000_000, 0.5);
      await dumpStopped(redis.pid);
      const exe = execFileSync('readlink', [`/proc/${redis.pid}/exe`], { encoding: 'utf8' }).trim();
      const answers = askGdb(exe, await restoreCore(1), ...SAME_AS_GCORE);
      expect(answers).toBe(askGdb(exe, gcore(redis.pid), ...SAME_AS_GCORE));
      expect(answers).toMatch(/epoll_wait|aeProcessEvents|aeMain/);
    } finally {
      await redis.stop();
    }
  });
});

describe.skipIf(lacking(canDebug && has('gcc')))('ckpt gdb', () => {
  it('gives back the exit status of gdb', async () => {
    const program = await startSpecimen();
    await dumpStopped(program.pid);
    const { exitCode } = await ckpt(['gdb', '-D', store, '1', '--', '-nx', '-batch', '-ex', 'quit 9']);
    expect(exitCode).toBe(9);
  });

  it('leaves nothing behind when it is killed, and passes SIGTERM on', async () => {
    const program = await startSpecimen();
    await dumpStopped(program.pid);
    const temporary = join(work, 'tmp');
    mkdirSync(temporary);
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      const started = join(work, signal);
      const child = spawn(
        process.execPath,
        [PROGRAM, 'gdb', '-D', store, '1', '--', '-nx', '-ex', `shell echo $PPID > ${started}`],
        { stdio: ['pipe', 'ignore', 'ignore'], env: { ...process.env, TMPDIR: temporary } },
      );
      try {
        await until('gdb has started', 20_000, () => existsSync(started) && statSync(started).size > 0);
        child.kill(signal);
        const [code, ended] = (await once(child, 'exit')) as [number | null, string | null];
        // gdb takes SIGTERM for a wish to quit.
        expect(code ?? ended).toBe(signal === 'SIGTERM' ? 0 : 'SIGKILL');
        expect(readdirSync(temporary)).toEqual([]);
      } finally {
        child.stdin.destroy();
      }
      const gdb = readFileSync(started, 'utf8').trim();
      await until('gdb has ended', 10_000, () => !existsSync(`/proc/${gdb}`));
    }
  });
});
