import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { CheckReport } from '../../src/checkpoint/index.ts';
import { loadNative } from '../../src/target/native/calls.ts';
import { isRoot, killPrograms, lacking, processesWith, start, startPython } from './programs.ts';

const ROOT = resolve(import.meta.dirname, '../..');

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'ckpt-check-test-'));
  spawnSync('chmod', ['755', directory]);
});
afterEach(killPrograms);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Copies the built program with the packages that it needs to where any user can read it. */
function install(name: string, without: readonly string[] = []): string {
  const home = join(directory, name);
  for (const part of ['bin', 'dist', 'package.json'])
    cpSync(join(ROOT, part), join(home, part), { recursive: true });
  const wanted = ['.'];
  for (const path of wanted) {
    const { dependencies, optionalDependencies } = JSON.parse(
      readFileSync(join(ROOT, path, 'package.json'), 'utf8'),
    ) as Record<string, Record<string, string> | undefined>;
    for (const dependency of Object.keys({ ...dependencies, ...optionalDependencies })) {
      const folder = `node_modules/${dependency}`;
      if (without.includes(dependency) || wanted.includes(folder) || !existsSync(join(ROOT, folder)))
        continue;
      wanted.push(folder);
      cpSync(join(ROOT, folder), join(home, folder), { recursive: true });
    }
  }
  return join(home, 'bin/ckpt.js');
}

interface CheckRun {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function check(
  args: readonly string[] = [],
  around: readonly string[] = [],
  program = join(ROOT, 'bin/ckpt.js'),
): CheckRun {
  const command = [...around, process.execPath, program, 'check', ...args];
  const { status, stdout, stderr } = spawnSync(command[0]!, command.slice(1), {
    encoding: 'utf8',
    cwd: '/',
    timeout: 30_000,
    env: { PATH: process.env['PATH'], HOME: '/' },
  });
  return { status, stdout, stderr };
}

const AS_NOBODY = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'];

function reportOf(run: CheckRun): CheckReport {
  return JSON.parse(run.stdout) as CheckReport;
}

/** States of all features of all purposes. */
function statesOf(report: CheckReport): Record<string, string> {
  const features = report.purposes.flatMap((purpose) => purpose.features);
  return Object.fromEntries(features.map(({ id, state }) => [id, state]));
}

function worksFor(report: CheckReport): Record<string, boolean> {
  return Object.fromEntries(report.purposes.map(({ id, works }) => [id, works]));
}

const stateOfTarget = (run: CheckRun, id: string) =>
  reportOf(run).target?.features.find((feature) => feature.id === id)?.state;

describe('ckpt check', () => {
  it.skipIf(lacking(isRoot))('finds everything that root has, and leaves nothing behind', () => {
    const run = check(['--json']);
    expect(run).toMatchObject({ status: 0, stderr: '' });
    const report = reportOf(run);
    expect(report.dumpWorks).toBe(true);
    expect(statesOf(report)).toMatchObject({
      'trial-dump': 'works',
      'native-calls': 'works',
      ptrace: 'works',
      inject: 'works',
      'other-processes': 'works',
      'frame-numbers': 'works',
      'set-tid': 'works',
      'set-mm-map': 'works',
      'write-memory': 'works',
    });
    expect(worksFor(report)).toMatchObject({
      dump: true,
      track: true,
      'restore-in-place': true,
      'restore-new': true,
    });
    expect(processesWith('while read -r line')).toEqual([]);
    expect(readdirSync(tmpdir()).filter((name) => /^ckpt-check-[^t]/.test(name))).toEqual([]);
    const mountPoint = / (\S+) \S+ - cgroup2 /.exec(readFileSync('/proc/self/mountinfo', 'utf8'))?.[1];
    if (mountPoint !== undefined) {
      expect(readdirSync(mountPoint).filter((name) => name.startsWith('ckpt-check'))).toEqual([]);
    }
  });

  it('says the same to people, with a remedy below what is missing', () => {
    const run = check();
    const report = reportOf(check(['--json']));
    const features = report.purposes.flatMap((purpose) => purpose.features);
    for (const { name, state, remedy } of features) {
      expect(run.stdout).toContain(`  ${name}  `);
      if (state === 'missing' && remedy !== undefined) expect(run.stdout).toContain(`remedy: ${remedy}`);
    }
    expect(run.stdout).toContain(`--tracker auto`);
    expect(run.stdout).toContain(report.trackers.auto);
  });

  it.skipIf(lacking(isRoot))('tells an ordinary user what he lacks', () => {
    const program = install('nobody');
    const run = check(['--json'], AS_NOBODY, program);
    expect(run.stderr).toBe('');
    const report = reportOf(run);
    expect(statesOf(report)).toMatchObject({
      'process-memory': 'works',
      ptrace: 'works',
      'frame-numbers': 'missing',
      'page-flags': 'missing',
      'set-tid': 'missing',
      'last-pid': 'missing',
      'set-mm-map': 'missing',
    });
    expect(worksFor(report)).toMatchObject({ 'restore-new': false, 'restore-files': true });
    expect(report.machine.missingCapabilities).toContain('CAP_SYS_PTRACE');
    const setTid = report.purposes.at(-1)?.features.find(({ id }) => id === 'set-tid');
    expect(setTid?.remedy).toContain('CAP_CHECKPOINT_RESTORE');
  });

  it('knows what remains without native calls', () => {
    const program = install('plain', ['koffi']);
    const run = check(['--json'], [], program);
    expect(run).toMatchObject({ status: 0, stderr: '' });
    const report = reportOf(run);
    expect(statesOf(report)).toMatchObject({
      'trial-dump': 'works',
      'native-calls': 'missing',
      ptrace: 'untried',
      'pagemap-scan': 'untried',
    });
    const works = Object.fromEntries(report.trackers.kinds.map(({ kind, works }) => [kind, works]));
    expect(works).toMatchObject({ 'pagemap-scan': false, compare: true });
    expect(worksFor(report)).toMatchObject({ 'restore-in-place': false, 'restore-new': false });
  });

  it.skipIf(lacking(isRoot))('sends the root of a user namespace to the root of the host', () => {
    const run = check(['--json'], ['unshare', '--user', '--map-root-user']);
    expect(run.stderr).toBe('');
    const report = reportOf(run);
    expect(report.machine).toMatchObject({ user: 0, missingCapabilities: [] });
    expect(statesOf(report)).toMatchObject({ 'frame-numbers': 'missing', 'other-processes': 'works' });
    const frames = report.purposes[0]?.features.find(({ id }) => id === 'frame-numbers');
    expect(frames?.remedy).toContain('root of the host');
  });

  it.skipIf(lacking(isRoot))('survives a machine without /proc, and says so', () => {
    const run = check([], ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /proc && exec "$@"', 'sh']);
    expect(run).toMatchObject({ status: 14, stderr: '' });
    expect(run.stdout).toContain('dump (memory and state of live processes): does not work');
    expect(run.stdout).toContain('remedy: mount the proc file system on /proc');
    expect(run.stdout).not.toMatch(/^\s+at /m);
  });
});

describe('ckpt check -t', () => {
  it('finds nothing against a plain process', () => {
    const program = start('sleep', ['1000']);
    const run = check(['-t', `${program.pid}`, '--json']);
    expect(run).toMatchObject({ status: 0, stderr: '' });
    const { target } = reportOf(run);
    const missing = target?.features.filter(({ id, state }) => id !== 'target-cgroup' && state !== 'works');
    expect(missing).toEqual([]);
    expect(target?.name).toBe('sleep');
  });

  it('names who traces it', async () => {
    const program = start('sleep', ['1000']);
    const native = await loadNative();
    native.seize(program.pid);
    const run = check(['-t', `${program.pid}`]);
    expect(run.stdout).toContain(`process ${process.pid} (`);
    expect(run.stdout).toMatch(/no {2}traced by nobody .* traces it/);
  });

  it('sees a seccomp filter and a userfaultfd', async () => {
    const filtered = await startPython(`
import ctypes, os, sys
libc = ctypes.CDLL(None)
descriptor = libc.syscall(323, 0x80801)
print('ready')
libc.prctl(22, 1, 0, 0, 0)
os.read(0, 1)`);
    await expect
      .poll(() => stateOfTarget(check(['-t', `${filtered.pid}`, '--json']), 'target-seccomp'))
      .toBe('missing');
    expect(stateOfTarget(check(['-t', `${filtered.pid}`, '--json']), 'target-userfaultfd')).toBe('missing');
  });

  it.skipIf(lacking(isRoot))('refuses the process of another user, with status 13', () => {
    const program = start('sleep', ['1000']);
    const run = check(['-t', `${program.pid}`], AS_NOBODY, install('other'));
    expect(run).toMatchObject({ status: 13, stderr: '' });
    expect(run.stdout).toMatch(/NO {2}rights/);
  });

  it('fails with status 13 for a process that does not exist', () => {
    expect(check(['-t', '4194303'])).toMatchObject({ status: 13, stdout: '' });
  });
});
