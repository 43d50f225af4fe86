import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ckpt } from './harness.ts';

const CASES = resolve(import.meta.dirname, '../cases/podman');
const CHECKPOINT = join(CASES, 'checkpoint.tar.gz');
const PRE_CHECKPOINT = join(CASES, 'pre-checkpoint.tar.zst');

let work = '';
let store = '';
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-cli-archive-'));
  store = join(work, 'store');
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

describe('ckpt import of an archive', () => {
  it('takes it with its pre-checkpoint, and tells of it as JSON', async () => {
    const { status, stdout, stderr } = await ckpt(
      ...['import', CHECKPOINT, '--import-previous', PRE_CHECKPOINT, '--chain', '-D', store, '--json'],
    );
    expect(status, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      path: CHECKPOINT,
      checkpoints: [
        { checkpoint: 1, path: join(CHECKPOINT, 'pre-checkpoint'), preDump: true },
        { checkpoint: 2, path: join(CHECKPOINT, 'checkpoint'), preDump: false },
      ],
    });
  });

  it('removes what an import left that was killed while it unpacked', async () => {
    const left = join(store, 'tmp', 'web.tar.zst-abcdef');
    mkdirSync(join(left, 'checkpoint'), { recursive: true });
    writeFileSync(join(left, 'checkpoint', 'pages-1.img'), 'memory of somebody');
    const { status, stderr } = await ckpt('import', PRE_CHECKPOINT, '-D', store);
    expect(status, stderr).toBe(0);
    expect(stderr).toContain('removed tmp/web.tar.zst-abcdef, a leftover of a command that was killed');
    expect(existsSync(left)).toBe(false);
  });

  it.each<[string, readonly string[], number, RegExp]>([
    [
      'without its pre-checkpoint',
      [CHECKPOINT],
      2,
      /needs the archive of its pre-checkpoint.*--import-previous/s,
    ],
    [
      'that unpacks to too much',
      [PRE_CHECKPOINT, '--max-unpacked', '100K'],
      12,
      /more than 100 KiB.*--max-unpacked/s,
    ],
    ['with a limit that is none', [PRE_CHECKPOINT, '--max-unpacked', 'much'], 2, /'much' is not a size/],
    ['that is none', [join(CASES, 'README.md')], 2, /is no container archive/],
    ['that does not exist', [join(CASES, 'x.tar')], 2, /ENOENT/],
  ])('refuses one %s', async (_, args, expected, message) => {
    const before = readdirSync(join(store, 'checkpoints'));
    const { status, stderr } = await ckpt('import', ...args, '-D', store);
    expect(stderr).toMatch(message);
    expect(status).toBe(expected);
    expect(readdirSync(join(store, 'checkpoints'))).toEqual(before);
    expect(readdirSync(join(store, 'tmp'))).toEqual([]);
  });
});

describe('ckpt export --format podman', () => {
  const exported = (name: string, ...more: string[]) =>
    ckpt('export', '-D', store, '--format', 'podman', '--at', '2', '-o', join(work, name), ...more);

  it('writes an archive, and says how it is restored', async () => {
    const { status, stdout, stderr } = await exported('back.tar.zst');
    expect(status, stderr).toBe(0);
    expect(stdout).toMatch(/archive +\S+back\.tar\.zst \([\d.]+ KiB, 171 KiB before zstd\)/);
    expect(stdout).toContain(`podman container restore --import ${join(work, 'back.tar.zst')}`);
  });

  it('tells of it as JSON', async () => {
    const { stdout } = await exported('back.tar', '--compress', 'none', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ checkpoint: 2, compression: 'none', pages: 35, warnings: [] });
  });

  it.each<[readonly string[], number, RegExp]>([
    [['--chain'], 2, /holds one checkpoint.*leave out --chain/s],
    [['--lazy'], 2, /holds one checkpoint/],
    [['--compress', 'xz'], 2, /Allowed choices are none, gzip, zstd/],
    [['--at', '1'], 13, /pre-dump/],
  ])('refuses %s', async (more, expected, message) => {
    const { status, stderr } = await exported('refused', ...more);
    expect(stderr).toMatch(message);
    expect(status).toBe(expected);
    expect(existsSync(join(work, 'refused'))).toBe(false);
  });

  it('is what --compress is for', async () => {
    const output = join(work, 'directory');
    const { status, stderr } = await ckpt(
      ...['export', '-D', store, '--format', 'criu', '--at', '2', '-o', output, '--compress', 'none'],
    );
    expect(stderr).toMatch(/--compress is for archives/);
    expect(status).toBe(2);
  });
});
