import { mkdtempSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { patternPage } from '../checkpoint/memory-target.ts';
import { writeImageDirectory } from '../interop/criu/image-directory.ts';
import { ckpt } from './harness.ts';

let work = '';
beforeEach(async () => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-cli-import-'));
  const content = (page: number) => patternPage(page);
  const whole = [{ startPage: 0x400, pageCount: 4, flags: 6 }];
  const changed = [
    { startPage: 0x400, pageCount: 3, flags: 1 },
    { startPage: 0x403, pageCount: 1, flags: 6 },
  ];
  await writeImageDirectory(join(work, '1'), {
    preDump: true,
    processes: [{ pid: 1, entries: whole, content }],
  });
  await writeImageDirectory(join(work, '2'), {
    parent: '../1',
    processes: [{ pid: 1, name: 'web', entries: changed, content }],
  });
});
afterEach(() => rmSync(work, { recursive: true, force: true }));

const imported = (directory: string, ...more: string[]) =>
  ckpt('import', join(work, directory), '-D', join(work, 'store'), '--workers', '1', ...more);

describe('ckpt import', () => {
  it('takes a chain, and says what each directory became', async () => {
    const { status, stdout } = await imported('2', '--chain');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^target +web$/m);
    expect(stdout).toMatch(/^ +1 +1 +4 +0 +1 .* no, pre-dump +\S+\/1$/m);
    expect(stdout).toMatch(/^ +2 +1 +1 +3 +9 .* yes +\S+\/2$/m);
    const list = await ckpt('ls', '-D', join(work, 'store'), '--json');
    expect(JSON.parse(list.stdout)).toMatchObject([
      { checkpoint: 1, preDump: true, target: { kind: 'criu', name: 'web' } },
      { checkpoint: 2, preDump: false, parent: 1, target: { kind: 'criu', name: 'web' } },
    ]);
  });

  it('takes one directory, and tells what as JSON', async () => {
    const { status, stdout } = await imported('2', '--json');
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      target: 'web',
      checkpoints: [{ checkpoint: 1, preDump: false, processes: 1, pages: { present: 1, parent: 3 } }],
    });
  });

  it('adds to a chain what is new, and does nothing where nothing is', async () => {
    await imported('1', '--chain');
    const { status, stdout } = await imported('2', '--chain');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^known +1 directory, the newest as checkpoint 1$/m);
    expect(stdout).toMatch(/^ +2 +1 +1 +3 +9 .* yes +\S+\/2$/m);
    expect(stdout).not.toMatch(/no, pre-dump/);
    const again = await imported('2', '--chain');
    expect(again.status).toBe(0);
    expect(again.stdout).toMatch(
      /^stored +nothing: all of it is in the store already, the newest as checkpoint 2$/m,
    );
    expect(JSON.parse((await imported('2', '--chain', '--json')).stdout)).toMatchObject({
      known: [
        { checkpoint: 1, path: expect.stringMatching(/\/1$/) },
        { checkpoint: 2, path: expect.stringMatching(/\/2$/) },
      ],
      checkpoints: [],
    });
  });

  it('names what is damaged with its place, and exits as for damage', async () => {
    truncateSync(join(work, '1', 'pages-1.img'), 5000);
    const { status, stderr } = await imported('2', '--chain');
    expect(status).toBe(12);
    expect(stderr).toContain(`${join(work, '1', 'pages-1.img')} is damaged at byte 5000`);
  });

  it('refuses what is no directory of images', async () => {
    const { status, stderr } = await imported('.');
    expect(status).toBe(2);
    expect(stderr).toContain('has no inventory.img');
  });
});
