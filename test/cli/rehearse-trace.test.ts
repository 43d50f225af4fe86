import { copyFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { appendFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Rehearsal, type TraceStep, TraceWriter } from '../../src/migration/index.ts';
import { HEADER, madeUpSteps, poissonIntervals } from '../migration/recording/recordings.ts';
import { ckpt } from './harness.ts';

const WORKLOAD = `sim:${resolve(import.meta.dirname, '../../fixtures/kv-store.yaml')}`;
const PAGES = 8192;

let directory: string;
let trace: string;

async function writeTrace(name: string, steps: readonly TraceStep[]): Promise<string> {
  const path = join(directory, name);
  const writer = await TraceWriter.begin(HEADER, (bytes) => appendFile(path, bytes));
  for (const step of steps) await writer.step(step);
  await writer.seal('duration');
  return path;
}

/** A copy of the trace with other bytes. */
function spoiled(name: string, change: (path: string, bytes: Buffer) => void): string {
  const path = join(directory, name);
  copyFileSync(trace, path);
  change(path, readFileSync(path));
  return path;
}

const rehearsed = (...options: readonly string[]) =>
  ckpt('rehearse', ...options, ...(options.includes('--bandwidth') ? [] : ['--bandwidth', '1Gbit/s']));

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'ckpt-rehearse-'));
  const rates = Array.from({ length: PAGES }, (_, page) => (page % 16 === 0 ? 1 : 0.01));
  trace = await writeTrace('whole.trace', madeUpSteps(PAGES, poissonIntervals(rates, 40), 512));
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe('ckpt rehearse --trace', () => {
  it('rehearses what was recorded, the same each time', async () => {
    const run = await rehearsed('--trace', trace, '--runs', '3', '--json');
    expect(run.status).toBe(0);
    const rehearsal = JSON.parse(run.stdout) as Rehearsal & { notes: string[] };
    expect(rehearsal).toMatchObject({ verdict: 'converges', policy: 'qemu', runs: 3, convergence: 1 });
    expect(rehearsal.pages.duplicate).toBeGreaterThan(400);
    expect(rehearsal.pages.normal).toBeGreaterThanOrEqual(PAGES - 512);
    expect(rehearsal.notes).toEqual(['no content was measured: pages are taken not to compress']);
    expect((await rehearsed('--trace', trace, '--runs', '3', '--json')).stdout).toBe(run.stdout);
  });

  it('says what it had to assume', async () => {
    const slow = ['--bandwidth', '50Mbit/s', '--auto-converge', '--runs', '1', '--give-up-after', '8s'];
    const { stdout } = await rehearsed('--trace', trace, ...slow);
    expect(stdout).toMatch(/^note: the migration may last \d.*, but only 4\.00 s were recorded/m);
    expect(stdout).toContain('note: how much of a processor the program needs was not recorded');
  });

  it('takes costs that are given', async () => {
    const downtime = async (...options: readonly string[]) => {
      const run = await rehearsed('--trace', trace, '--policy', 'fixed', '--runs', '1', '--json', ...options);
      const { downtimeMicroseconds, transferredBytes } = JSON.parse(run.stdout) as Rehearsal;
      return { downtimeMicroseconds, transferredBytes };
    };
    const usual = await downtime();
    const slower = await downtime('--resume-time', '508ms', '--stop-time', '2ms');
    expect(slower.downtimeMicroseconds - usual.downtimeMicroseconds).toBeGreaterThan(490_000);
    expect(slower.downtimeMicroseconds - usual.downtimeMicroseconds).toBeLessThan(510_000);
    const whole = ['--policy', 'qemu', '--multifd-channels', '2', '--multifd-compression', 'zstd'];
    const plain = await downtime(...whole);
    const pressed = await downtime(...whole, '--compression-ratio', '4');
    expect(pressed.transferredBytes).toBeLessThan(plain.transferredBytes * 0.3);
  });

  it('writes a page about it, whole or not at all', async () => {
    const page = join(directory, 'page.html');
    const run = await rehearsed('--trace', trace, '--runs', '1', '--report', page);
    expect(run.status).toBe(0);
    const text = readFileSync(page, 'utf8');
    expect(text).toMatch(/^<!doctype html>/);
    expect(text).toContain('whole.trace');
    const again = await rehearsed('--trace', trace, '--runs', '1', '--report', page);
    expect(again.status).toBe(1);
    expect(again.stderr).toContain('exists already');
    expect(readFileSync(page, 'utf8')).toBe(text);
    const failed = join(directory, 'failed.html');
    await rehearsed('--trace', join(directory, 'nowhere'), '--report', failed);
    expect(() => readFileSync(failed)).toThrow('ENOENT');
  });

  it('rehearses a target that writes nothing', async () => {
    const idle = await writeTrace('idle.trace', madeUpSteps(1000, [{}, {}]));
    const { status, stdout } = await rehearsed('--trace', idle, '--runs', '1');
    expect(status).toBe(0);
    expect(stdout).toContain('note: nothing was written while it was recorded');
  });

  it('refuses a recording that is shorter than one interval', async () => {
    const { status, stderr } = await rehearsed(
      '--trace',
      await writeTrace('short.trace', madeUpSteps(1000, [])),
    );
    expect(status).toBe(2);
    expect(stderr).toContain('shorter than one interval');
  });

  it('refuses what is damaged, cut off, of another version, or no trace', async () => {
    const cases: [string, number, RegExp][] = [
      [spoiled('cut.trace', (path, bytes) => truncateSync(path, bytes.length - 40)), 12, /without its seal/],
      [
        spoiled('flipped.trace', (path, bytes) => {
          bytes[bytes.length >> 1]! ^= 4;
          writeFileSync(path, bytes);
        }),
        12,
        /is damaged/,
      ],
      [
        spoiled('newer.trace', (path, bytes) => {
          bytes.writeUInt16LE(99, 8);
          writeFileSync(path, bytes);
        }),
        10,
        /format version 99/,
      ],
      [
        spoiled('other.trace', (path) => writeFileSync(path, 'something else altogether')),
        12,
        /is not a trace/,
      ],
      [join(directory, 'nowhere.trace'), 2, /cannot read the trace/],
    ];
    for (const [path, status, message] of cases) {
      const run = await rehearsed('--trace', path);
      expect(run.stderr).toMatch(message);
      expect(run.status).toBe(status);
      expect(run.stdout).toBe('');
    }
  });

  it.each([
    [[], 'nothing to rehearse'],
    [['--trace', 'x', '-t', WORKLOAD], 'cannot be rehearsed together'],
    [
      ['--trace', 'x', '--observe', '5s'],
      "'--trace <file>' cannot be used with option '--observe <duration>'",
    ],
    [['--trace', 'x', '--after', '5s'], 'cannot be used with'],
    [['-t', WORKLOAD, '--compression-ratio', '0.5'], 'not a ratio'],
    [['-t', WORKLOAD, '--read-speed', '0GB/s'], 'carries nothing'],
    [['-t', WORKLOAD, '--bandwidth', '0Mbit/s'], 'carries nothing'],
    [['-t', WORKLOAD, '--downtime-limit', '1ms', '--rtt', '10ms'], 'round trip'],
    [['-t', WORKLOAD, '--policy', 'fixed', '--downtime-limit', '1ms', '--rtt', '10ms'], 'round trip'],
    [['-t', WORKLOAD, '--tracker', 'guess'], 'tracker'],
    [['-t', '4711', '--observe', '0s'], 'above zero'],
    [['-t', '4711', '--interval', '0ms'], 'above zero'],
  ])('refuses %j', async (options, message) => {
    const run = await rehearsed(...options);
    expect(run.stderr).toContain(message);
    expect(run.status).toBe(2);
  });
});
