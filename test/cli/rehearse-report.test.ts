import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Rehearsal } from '../../src/migration/index.ts';
import { ckpt } from './harness.ts';

const TARGET = `sim:${resolve(import.meta.dirname, '../../fixtures/hot-counter.yaml')}`;
const REHEARSE = ['rehearse', '-t', TARGET, '--runs', '2', '--after', '100ms', '--bandwidth'];

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ckpt-page-'));
  file = join(folder, 'page.html');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('ckpt rehearse --report', () => {
  it('writes a page of the same rehearsal, for its owner alone', async () => {
    const run = await ckpt(...REHEARSE, '1Gbit/s', '--downtime-limit', '250ms', '--report', file, '--json');
    expect(run.status).toBe(0);
    const page = readFileSync(file, 'utf8');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const { notes, ...rehearsal } = JSON.parse(run.stdout) as Rehearsal & { notes: string[] };
    const shown = JSON.parse(/<pre id="json">(.*?)<\/pre>/s.exec(page)![1]!) as Record<string, unknown>;
    expect(shown).toMatchObject({ rehearsal, notes });
    expect(page).toContain('<dt>downtime-limit</dt><dd><b>250 ms</b> <small>usual: 300 ms</small></dd>');
    for (const part of ['over-time', 'dirty', 'working-set-curve', 'heat'])
      expect(page).toContain(`id="${part}"`);
  });

  it('refuses a file that exists before anything is rehearsed, and leaves it as it is', async () => {
    writeFileSync(file, 'mine');
    const run = await ckpt(...REHEARSE, '1Gbit/s', '--report', file);
    expect(run).toMatchObject({ status: 1, stdout: '' });
    expect(run.stderr).toContain(`${file} exists already`);
    expect(readFileSync(file, 'utf8')).toBe('mine');
  });

  it('leaves nothing behind if the rehearsal fails', async () => {
    const run = await ckpt(...REHEARSE, '1Gbit/s', '--rtt', '2s', '--report', file);
    expect(run.status).toBe(2);
    expect(existsSync(file)).toBe(false);
    expect(readdirSync(folder)).toEqual([]);
  });
});
