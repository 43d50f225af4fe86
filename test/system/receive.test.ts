import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { MigrationRecords } from '../../src/migration/receive/records.ts';
import { ckpt, ckptJson } from './command.ts';
import { isRoot, lacking, until } from './programs.ts';

const CKPT = resolve(import.meta.dirname, '../../bin/ckpt.js');
const bench = mkdtempSync(join(tmpdir(), 'ckpt-receive-program-'));
const program = join(bench, 'counter');
const children: ChildProcess[] = [];
let work = '';
let output = '';
let store = '';

beforeAll(() => {
  execFileSync('gcc', ['-O1', '-o', program, resolve(import.meta.dirname, 'counter.c')]);
});
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-receive-'));
  output = join(work, 'output');
  store = join(work, 'store');
});
afterEach(async () => {
  await Promise.all(children.splice(0).map(end));
  rmSync(work, { recursive: true, force: true });
});
afterAll(() => rmSync(bench, { recursive: true }));

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** A program that counts into a file, with nothing else open. */
async function startCounter(): Promise<ChildProcess> {
  const file = openSync(output, 'a');
  const child = spawn(program, [], { stdio: ['ignore', file, file], detached: true });
  closeSync(file);
  children.push(child);
  await until('the counter counts', 5000, () => counted().length > 5);
  return child;
}

const counted = () =>
  readFileSync(output, 'latin1')
    .split('\n')
    .slice(1, -1)
    .map((line) => Number(line.split(' ')[0]));

/** Every number once, in order: nothing was done twice, nothing left out. */
function expectUnbroken(): void {
  const counts = counted();
  expect(counts).toEqual(counts.map((_, index) => index + 1));
}

/** A destination, with PIDs of its own or with ours, and where it listens. */
async function startReceive(pids: 'own' | 'ours', ...args: readonly string[]) {
  const options = [CKPT, 'receive', '--listen', '127.0.0.1:0', '-D', store, '--json', ...args];
  const apart = ['--pid', '--fork', '--mount-proc', '--kill-child', process.execPath, ...options];
  const child =
    pids === 'own'
      ? spawn('unshare', apart, { stdio: ['ignore', 'pipe', 'pipe'] })
      : spawn(process.execPath, options, { stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  const lines: Record<string, unknown>[] = [];
  let rest = '';
  let notes = '';
  child.stdout.on('data', (chunk) => {
    const parts = (rest + String(chunk)).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) lines.push(JSON.parse(part));
  });
  child.stderr.on('data', (chunk) => {
    notes += String(chunk);
  });
  await until('the destination listens', 20_000, () => lines.length > 0 || child.exitCode !== null);
  if (lines.length === 0) throw new Error(`ckpt receive ended: ${notes}`);
  return { child, lines, address: String(lines[0]!['address']), notes: () => notes };
}

describe.skipIf(lacking(isRoot))('a live process that is migrated', () => {
  it('goes on at the destination from where it stopped, and has ended at the source', async () => {
    const counter = await startCounter();
    const { child, lines, address } = await startReceive('own');
    const ended = once(counter, 'exit');
    const migration = await ckptJson('migrate', '-t', String(counter.pid), '--to', address);
    await ended;
    await until('the destination has said so', 5000, () => lines.length > 1);
    expect(migration).toMatchObject({ end: 'moved', memoryDigest: lines[1]!['memoryDigest'] });
    expect(lines[1]).toMatchObject({ event: 'received', outcome: 'started', pid: counter.pid });
    const moved = counted().length;
    await until('it counts on', 5000, () => counted().length > moved + 20);
    await end(child);
    expectUnbroken();
    expect((await ckpt(['verify', '-D', store])).exitCode).toBe(0);
  });

  it('goes on where it is if it cannot be made anew there, and can be later', async () => {
    const counter = await startCounter();
    const { child, address } = await startReceive('ours');
    // Both ends share their PIDs, and this one is taken.
    const { exitCode, stdout } = await ckpt(['migrate', '-t', String(counter.pid), '--to', address]);
    expect([exitCode, stdout]).toEqual([3, expect.stringContaining('cannot')]);
    const before = counted().length;
    await until('it counts on', 5000, () => counted().length > before + 20);
    await end(child);
    expectUnbroken();
    const [record] = await new MigrationRecords(store).all();
    expect(record).toMatchObject({ status: 'kept', target: { kind: 'live' } });
    const ended = once(counter, 'exit');
    counter.kill('SIGKILL');
    await ended;
    const { exitCode: possible, stdout: prospect } = await ckpt([
      ...['restore', '-D', store, '--new', '--dry-run', '--force'],
    ]);
    expect([possible, prospect]).toEqual([0, expect.stringContaining(String(counter.pid))]);
  });

  it('goes on where it is when the destination is killed, which leaves nothing then', async () => {
    const counter = await startCounter();
    const { child, address } = await startReceive('ours');
    const migrating = ckpt([
      'migrate',
      '-t',
      String(counter.pid),
      '--to',
      address,
      '--max-bandwidth',
      '1Mbit/s',
      '--reconnect-for',
      '100ms',
    ]);
    await until('a round is in the store', 20_000, () => {
      try {
        return readdirSync(join(store, 'checkpoints')).length > 0;
      } catch {
        return false;
      }
    });
    await end(child);
    const { exitCode } = await migrating;
    expect(exitCode).toBe(16);
    const before = counted().length;
    await until('it counts on', 5000, () => counted().length > before + 20);
    expectUnbroken();
    const { child: again, notes } = await startReceive('ours');
    await end(again);
    expect(notes()).toContain('was not finished: removed what had come of it');
    expect(readdirSync(join(store, 'checkpoints'))).toEqual([]);
    expect(readdirSync(join(store, 'packs'))).toEqual([]);
  });

  it('is let go once by a destination that was killed before it could be', async () => {
    const counter = await startCounter();
    const { child, lines, address } = await startReceive('own');
    await ckptJson('migrate', '-t', String(counter.pid), '--to', address);
    await until('the destination has said so', 5000, () => lines.length > 1);
    // With the destination all of its processes end; its record is put back to the moment before the release.
    await end(child);
    const records = new MigrationRecords(store);
    const [record] = await records.all();
    expect(record).toMatchObject({ status: 'started', process: { pid: counter.pid } });
    await records.write({ ...record!, status: 'committed' });
    const counts = counted();
    // What it has written to meanwhile is not as it was.
    const { child: again, notes } = await startReceive('own', '--force');
    expect(notes()).toContain(`it runs now, as process ${counter.pid}`);
    await until('it counts', 5000, () => counted().length > counts.length + 20);
    expect((await records.all())[0]).toMatchObject({ status: 'started' });
    await end(again);
    const { child: third, notes: quiet } = await startReceive('own');
    await end(third);
    expect(quiet()).not.toContain('runs now');
  });
});
