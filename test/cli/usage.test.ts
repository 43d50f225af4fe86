import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ckpt } from './harness.ts';

const root = mkdtempSync(join(tmpdir(), 'ckpt-cli-test-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe('ckpt', () => {
  it('prints help and its exit statuses', async () => {
    const { status, stdout } = await ckpt('--help');
    expect(status).toBe(0);
    for (const command of ['dump', 'restore', 'ls', 'show', 'diff', 'verify', 'squash', 'prune', 'sim']) {
      expect(stdout).toContain(`  ${command} `);
    }
    expect(stdout).toContain('Exit status: 0 done');
  });

  it.each([
    [['frobnicate'], "unknown command 'frobnicate'"],
    [['dmup'], '(Did you mean dump?)'],
    [['dump', '-D', 'x'], "required option '-t, --tree <target>' not specified"],
    [['dump', '-t', '1'], "required option '-D, --store <dir>' not specified"],
    [['dump', '-t', '1', '-D', 'x', '--wait', '5'], "duration '5' is not a duration; write it like"],
    [['dump', '-t', '1', '-D', 'x', '--codec', 'lzma'], 'Allowed choices are zstd, none'],
    [['dump', '-t', '1', '-D', 'x', '--level', '99'], 'a whole number from 1 to 19'],
    [['dump', '-t', 'nonsense', '-D', 'x'], "'nonsense' names no target"],
    [['dump', '-t', '0', '-D', 'x'], "'0' names no target"],
    [['dump', '-t', '1', '-D', 'x', '--count', '3'], '--count tells how many'],
    [['show', 'first', '-D', 'x'], 'a whole number from 1'],
    [['prune', '-D', 'x', '--keep', '0'], 'a whole number from 1'],
    [['restore', '-D', 'x'], 'say one way to restore'],
    [['restore', '-D', 'x', '--to', 'y', '--run', '1s'], 'say one way to restore'],
    [['restore', '-D', 'x', '--format', 'elf', '-o', 'y'], 'Allowed choices are core'],
    [['restore', '-D', 'x', '--format', 'core'], 'add -o FILE'],
    [['restore', '-D', 'x', '--format', 'core', '-o', 'y', '--salvage'], '--salvage goes with --to'],
    [['restore', '-D', 'x', '--in-place'], 'add -t PID'],
    [['restore', '-D', 'x', '--in-place', '-t', 'sh'], 'it must be a whole number'],
    [
      ['restore', '-D', 'x', '--in-place', '-t', '7', '--to', 'y'],
      '--in-place -t PID rewinds a live process',
    ],
    [['decode', '/nonexistent.img'], 'cannot read the image /nonexistent.img'],
    [['export', '-D', 'x', '--format', 'podman', '-o', '-'], 'nothing is written to standard output'],
    [['page-server', '-D', 'x', '--silence', '0s'], 'it must be from 1s to 500h'],
    [['page-server', '-D', 'x', '--silence', '600h'], 'it must be from 1s to 500h'],
    [['gdb', '-D', 'x'], "missing required argument 'checkpoint'"],
    [['sim', 'maps'], 'name either a workload file or a store'],
    [['sim', 'run', '/nonexistent.sd'], 'cannot read /nonexistent.sd'],
  ])('refuses %j with status 2', async (argv, message) => {
    const { status, stdout, stderr } = await ckpt(...argv);
    expect(stderr).toContain(message);
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(stdout).toBe('');
    expect(status).toBe(2);
  });

  it.each([
    'ls',
    'verify',
    'show 1',
    'restore --to out',
    'restore --format core -o out',
    'restore --in-place -t 1',
    'squash',
    'prune --keep 1',
    'diff 1 2',
  ])('%s without a store ends with status 10 and creates nothing', async (command) => {
    const before = readdirSync(root);
    const { status, stderr } = await ckpt(...command.split(' '), '-D', join(root, 'nowhere'));
    expect(status).toBe(10);
    expect(stderr).toMatch(/^ckpt: .*nowhere/);
    expect(stderr).toMatch(/^hint: /m);
    expect(readdirSync(root)).toEqual(before);
  });

  it('tells errors as JSON on standard error with --json', async () => {
    const { status, stdout, stderr } = await ckpt('ls', '-D', join(root, 'nowhere'), '--json');
    expect(status).toBe(10);
    expect(stdout).toBe('');
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'store-not-found', exitStatus: 10 } });
  });

  it('refuses a directory that is not a store, and says so', async () => {
    const directory = join(root, 'other');
    const { mkdirSync } = await import('node:fs');
    mkdirSync(directory);
    writeFileSync(join(directory, 'notes.txt'), 'mine');
    const { status, stderr } = await ckpt('ls', '-D', directory);
    expect(status).toBe(10);
    expect(stderr).toContain(directory);
    expect(readdirSync(directory)).toEqual(['notes.txt']);
  });
});
