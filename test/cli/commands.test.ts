import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SMALL_WORKLOAD } from '../checkpoint/workload.ts';
import { ckpt } from './harness.ts';

const root = mkdtempSync(join(tmpdir(), 'ckpt-commands-test-'));
const workload = join(root, 'small.yaml');
const store = join(root, 'store');

afterAll(() => rmSync(root, { recursive: true, force: true }));

beforeAll(async () => {
  writeFileSync(workload, SMALL_WORKLOAD);
  const { status, stderr } = await ckpt(
    'dump',
    '-t',
    `sim:${workload}`,
    '-D',
    store,
    '--every',
    '20ms',
    '--count',
    '4',
  );
  expect(stderr).toBe('');
  expect(status).toBe(0);
});

async function json(...argv: string[]): Promise<unknown> {
  const { status, stdout, stderr } = await ckpt(...argv, '--json');
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return JSON.parse(stdout);
}

describe('dump', () => {
  it('tells what it did, as text and as JSON', async () => {
    const text = await ckpt('dump', '-t', `sim:${workload}`, '-D', join(root, 'other'));
    expect(text.stdout).toMatch(/^checkpoint {2}1 \(base, soft-dirty\)\npages {7}\S+ present/);
    const document = await json(
      'dump',
      '-t',
      `sim:${workload}`,
      '-D',
      join(root, 'other'),
      '-i',
      '--wait',
      '5ms',
    );
    expect(document).toMatchObject({
      checkpoint: 2,
      kind: 'delta',
      parent: 1,
      tracker: 'soft-dirty',
      pages: {
        mapped: expect.any(Number),
        present: expect.any(Number),
        scanned: expect.any(Number),
        dirty: expect.any(Number),
        zero: expect.any(Number),
        shared: expect.any(Number),
        written: expect.any(Number),
      },
      bytes: { memory: expect.any(Number), stored: expect.any(Number) },
      microseconds: {
        freeze: expect.any(Number),
        scan: expect.any(Number),
        read: expect.any(Number),
        total: expect.any(Number),
      },
    });
  });

  it('refuses a delta without a base and a process that does not exist', async () => {
    const empty = await ckpt('dump', '-t', `sim:${workload}`, '-D', join(root, 'none'), '--incremental');
    expect(empty.status).toBe(10);
    expect(existsSync(join(root, 'none'))).toBe(false);
    const gone = await ckpt('dump', '-t', '4194303', '-D', join(root, 'gone'));
    expect(gone.status).toBe(13);
    expect(gone.stderr).toContain('4194303');
  });

  it('names line and field of a malformed workload', async () => {
    const path = join(root, 'bad.yaml');
    writeFileSync(path, SMALL_WORKLOAD.replace('rate: 500/s', 'rate: fast'));
    const { status, stderr } = await ckpt('dump', '-t', `sim:${path}`, '-D', join(root, 'bad'));
    expect(status).toBe(2);
    expect(stderr).toMatch(/bad\.yaml:16: .*rate.*'fast'/);
  });
});

describe('ls, show and diff', () => {
  it('list the checkpoints', async () => {
    const { stdout } = await ckpt('ls', '-D', store);
    expect(stdout.split('\n')[0]).toMatch(/^checkpoint +kind +parent +taken +target +tracker/);
    expect(stdout.trim().split('\n')).toHaveLength(5);
    expect(await json('ls', '-D', store)).toMatchObject([
      { checkpoint: 1, kind: 'base', parent: null },
      { checkpoint: 2, kind: 'delta', parent: 1 },
      { checkpoint: 3, kind: 'delta', parent: 2 },
      { checkpoint: 4, kind: 'delta', parent: 3 },
    ]);
  });

  it('show mappings, and why one is not kept', async () => {
    const { stdout } = await ckpt('show', 'latest', '-D', store);
    expect(stdout).toContain('(not kept: shared mapping of a file');
    const document = (await json('show', '2', '-D', store)) as {
      processes: { mappings: { start: string }[] }[];
    };
    expect(document.processes[0]!.mappings[0]!.start).toMatch(/^0x[0-9a-f]+000$/);
  });

  it('tell what changed, down to bytes', async () => {
    expect((await ckpt('diff', '2', '2', '-D', store)).stdout).toContain('hold the same memory');
    const document = (await json('diff', '1', '2', '-D', store, '--bytes')) as {
      different: boolean;
      processes: { mappings: { pages: { changed: number }; changedBytes?: number; ranges?: unknown[] }[] }[];
    };
    expect(document.different).toBe(true);
    const changed = document.processes
      .flatMap(({ mappings }) => mappings)
      .filter(({ pages }) => pages.changed > 0);
    expect(changed.length).toBeGreaterThan(0);
    for (const mapping of changed) expect(mapping.changedBytes).toBeGreaterThan(0);
    expect((await ckpt('diff', '1', '2', '-D', store, '--exit-code')).status).toBe(1);
    expect((await ckpt('diff', '2', '2', '-D', store, '--exit-code')).status).toBe(0);
  });

  it('refuse a checkpoint that does not exist', async () => {
    const { status, stderr } = await ckpt('show', '77', '-D', store);
    expect(status).toBe(10);
    expect(stderr).toContain('has no checkpoint 77');
  });
});

describe('restore', () => {
  it('writes a sparse file a mapping, and maps, in a folder a process', async () => {
    const out = join(root, 'out');
    const result = (await json('restore', '-D', store, '--at', '3', '--to', out)) as {
      pages: number;
      files: number;
    };
    const folders = readdirSync(out);
    expect(folders.length).toBeGreaterThan(1);
    let files = 0;
    for (const folder of folders) {
      const maps = readFileSync(join(out, folder, 'maps'), 'utf8')
        .trim()
        .split('\n');
      const names = readdirSync(join(out, folder)).filter((name) => name.endsWith('.mem'));
      expect(names.sort()).toEqual(maps.map((line) => `${line.split(' ')[0]}.mem`).sort());
      for (const name of names) {
        const [start, end] = name.replace('.mem', '').split('-');
        expect(BigInt(statSync(join(out, folder, name)).size)).toBe(
          BigInt(`0x${end}`) - BigInt(`0x${start}`),
        );
      }
      files += names.length;
    }
    expect(result.files).toBe(files);
    const again = await ckpt('restore', '-D', store, '--to', out);
    expect(again.status).toBe(1);
    expect(again.stderr).toContain('is not empty');
    expect(readdirSync(root).filter((name) => name.includes('partial'))).toEqual([]);
  });

  it('lets a simulated process go on', async () => {
    const { stdout, status } = await ckpt('restore', '-D', store, '--at', '1', '--run', '10ms');
    expect(status).toBe(0);
    expect(stdout).toContain('(verified)');
  });

  it('refuses to make a core of a simulated process, which has no registers', async () => {
    const core = join(root, 'core');
    const { status, stderr } = await ckpt('restore', '-D', store, '--format', 'core', '-o', core);
    expect(status).toBe(14);
    expect(stderr).toMatch(/is of a simulated process, which has no registers\nhint: .*--to DIR/);
    expect(existsSync(core)).toBe(false);
  });

  it('refuses a damaged page, names its place, and leaves nothing behind', async () => {
    const damaged = join(root, 'damaged');
    await ckpt('dump', '-t', `sim:${workload}`, '-D', damaged);
    const pack = join(damaged, 'packs/000001.pack');
    const bytes = readFileSync(pack);
    bytes[4000]! ^= 1;
    writeFileSync(pack, bytes);
    const out = join(root, 'damaged-out');
    const { status, stderr } = await ckpt('restore', '-D', damaged, '--to', out);
    expect(status).toBe(12);
    expect(stderr).toMatch(/pack 000001.*offset/);
    expect(existsSync(out)).toBe(false);
    const verified = await ckpt('verify', '-D', damaged);
    expect(verified.status).toBe(12);
    expect(verified.stdout).toContain('error: ');
  });
});

describe('verify, squash and prune', () => {
  it('keep every remaining checkpoint restorable', async () => {
    const copy = join(root, 'copy');
    await ckpt('dump', '-t', `sim:${workload}`, '-D', copy, '--every', '15ms', '--count', '5', '-q');
    const digestOf = async (number: number) =>
      ((await json('show', String(number), '-D', copy)) as { memoryDigest: string }).memoryDigest;
    const digests = [await digestOf(4), await digestOf(5)];
    expect((await ckpt('verify', '-D', copy)).stdout).toContain('everything is as it was written');
    expect((await ckpt('squash', '-D', copy, '--at', '4', '-n')).stdout).toContain('would become a base');
    expect((await ckpt('squash', '-D', copy, '--at', '4')).stdout).toContain('is now a base');
    expect((await ckpt('prune', '-D', copy, '--keep', '2', '-n')).stdout).toContain('would go  1, 2, 3');
    expect(await json('prune', '-D', copy, '--keep', '2')).toMatchObject({
      done: true,
      kept: [4, 5],
      removed: [1, 2, 3],
    });
    expect([await digestOf(4), await digestOf(5)]).toEqual(digests);
    expect((await ckpt('verify', '-D', copy)).status).toBe(0);
    expect((await ckpt('restore', '-D', copy, '--to', join(root, 'pruned'))).status).toBe(0);
  });
});

describe('sim', () => {
  it('runs workloads, compares trackers, shows maps and pagemap', async () => {
    expect((await ckpt('sim', 'run', workload, '--duration', '50ms')).stdout).toContain('virtual time');
    const comparison = await ckpt(
      'sim',
      'run',
      workload,
      '--trackers',
      '--interval',
      '10ms',
      '--intervals',
      '2',
    );
    for (const tracker of ['soft-dirty', 'compare', 'event-queue'])
      expect(comparison.stdout).toContain(tracker);
    expect((await ckpt('sim', 'maps', workload)).stdout).toMatch(/^[0-9a-f]+-[0-9a-f]+ r/m);
    expect((await ckpt('sim', 'pagemap', '-D', store, '--at', '2')).stdout).toContain('present');
  });

  it('runs a scenario and refuses a malformed one with its line', async () => {
    const scenario = join(root, 'one.sd');
    writeFileSync(scenario, 'mmap 0 2 rw anon private\nwrite 0\nsnap\n');
    expect((await ckpt('sim', 'run', scenario)).stdout).toBe(
      '> mmap 0 2 rw anon private\n= 0\n> write 0\n= 1\n> snap\np0 vma 0-1 rw-p sd anon\np0 pg 0-0 P....XD\np0 pg 1-1 ......D\n',
    );
    writeFileSync(scenario, 'mmap 0 2 rw anon private\nfrobnicate 3\n');
    const { status, stderr } = await ckpt('sim', 'run', scenario);
    expect(status).toBe(2);
    expect(stderr).toMatch(/one\.sd:2/);
  });
});
