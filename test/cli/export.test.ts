import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inventoryImage } from '../interop/criu/image-encoder.ts';
import { storeLevels } from '../interop/criu/stored-images.ts';
import { ckpt } from './harness.ts';

let work = '';
let store = '';
beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-cli-export-'));
  store = join(work, 'store');
  const files = [{ name: 'inventory.img', content: inventoryImage('3.17', {}) }];
  const present = { value: 1, flags: 6 };
  const inherited = { value: 1, flags: 1 };
  await storeLevels(store, [
    { preDump: true, files, memories: [{ id: 7, pagesId: 1, pages: new Map([[16, present]]) }] },
    { files, memories: [{ id: 7, pagesId: 1, pages: new Map([[16, inherited]]) }] },
  ]);
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

const exported = (name: string, ...more: string[]) =>
  ckpt('export', '-D', store, '--format', 'criu', '-o', join(work, name), ...more);

describe('ckpt export', () => {
  it('writes one directory, and says how it is restored', async () => {
    const { status, stdout } = await exported('flat');
    expect(status).toBe(0);
    expect(stdout).toMatch(/images +\S+flat \(4\.0 KiB in 1 pages, 1 other files\)/);
    expect(stdout).toContain(`criu restore -D ${join(work, 'flat')}`);
  });

  it('writes a chain, and tells what is in it as JSON', async () => {
    const { status, stdout } = await exported('chain', '--at', '2', '--chain', '--json');
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      checkpoint: 2,
      layout: 'chain',
      imagesDirectory: join(work, 'chain', '2'),
      directories: [
        { checkpoint: 1, parent: null, pages: 1 },
        { checkpoint: 2, parent: 1, pages: 0, parentPages: 1 },
      ],
    });
  });

  it('writes a chain that ends with a pre-dump, and says how criu goes on from there', async () => {
    const { status, stdout } = await exported('begun', '--at', '1', '--chain');
    expect(status).toBe(0);
    expect(stdout).toContain(
      `criu dump -D ${join(work, 'begun', 'NEXT')} --track-mem --prev-images-dir ../1`,
    );
    expect(stdout).not.toContain('criu restore');
  });

  it('says which programs bring the pages that were left out', async () => {
    const { stdout } = await exported('lazy', '--lazy');
    expect(stdout).toContain('1 pages left to the page server');
    expect(stdout).toContain('--lazy-pages, beside criu lazy-pages --page-server');
  });

  it.each([
    [['--flat', '--chain'], 2, /cannot be used with option '--flat'/],
    [['--chain', '--lazy'], 2, /of one checkpoint, not of a chain.*leave out --chain/s],
    [['--criu-version', '5'], 2, /Allowed choices are 3\.17, 4\.2/],
    [['--at', '1'], 13, /pre-dump/],
    [['--at', '9'], 10, /9/],
  ])('refuses %s', async (more, expected, message) => {
    const { status, stderr } = await exported('refused', ...more);
    expect(stderr).toMatch(message);
    expect(status).toBe(expected);
    expect(existsSync(join(work, 'refused'))).toBe(false);
  });

  it('overwrites nothing', async () => {
    await exported('twice');
    const { status, stderr } = await exported('twice');
    expect(status).toBe(1);
    expect(stderr).toContain('exists already');
  });
});
