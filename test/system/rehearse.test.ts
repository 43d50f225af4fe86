import { spawnSync } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { Rehearsal } from '../../src/migration/index.ts';
import { startRedis } from '../bench/redis.ts';
import { ckpt, ckptJson } from './command.ts';
import { isRoot, killPrograms, lacking, type Program, startPython, threadStates, until } from './programs.ts';

const PAGES = 8192;
/** Writes 20 other pages of 8,192 every 10 ms. */
const WRITER = `
import mmap, os, time
pages = ${PAGES}
memory = mmap.mmap(-1, pages * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(pages): memory[page * 4096:page * 4096 + 2048] = os.urandom(2048)
print('ready', flush=True)
at = 0
due = time.monotonic()
while True:
    for _ in range(20):
        memory[at * 7919 % pages * 4096 + 16] = at & 255
        at += 1
    due += 0.01
    time.sleep(max(0, due - time.monotonic()))
`;
const OBSERVE = ['--observe', '2s', '--runs', '5', '--bandwidth', '100Mbit/s', '--sender', 'system'];

/** It runs, and nothing of ckpt is in it. */
function expectUntouched(program: Pick<Program, 'pid'>): void {
  expect(threadStates(program.pid)).not.toMatch(/t/i);
  expect(linksOf(program).filter((link) => /userfaultfd|memfd:.*ckpt/.test(link))).toEqual([]);
}

/** Waits until it is watched: then it has a userfaultfd, or, with another tracker, time enough has passed. */
async function watched(program: Program): Promise<void> {
  const deadline = performance.now() + 6000;
  while (performance.now() < deadline && !linksOf(program).some((link) => link.includes('userfaultfd'))) {
    await delay(20);
  }
  await delay(300);
}

function linksOf({ pid }: Pick<Program, 'pid'>): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      // It was closed meanwhile.
      return [];
    }
  });
}

afterEach(killPrograms);

describe.skipIf(lacking(isRoot))('ckpt rehearse of a live process', () => {
  it.each(['auto', 'compare'])('predicts what its writes come to, with the tracker %s', async (tracker) => {
    const program = await startPython(WRITER);
    const options = ['--policy', 'fixed', '--max-rounds', '2', '--tracker', tracker];
    const result = await ckptJson('rehearse', '-t', String(program.pid), ...OBSERVE, ...options);
    const rehearsal = result as unknown as Rehearsal & { notes: string[] };
    expect(rehearsal).toMatchObject({ verdict: 'converges', policy: 'fixed', runs: 5, convergence: 1 });
    expect(rehearsal.notes[0]).toMatch(/^watched for [12]\.\d+ s; meanwhile it stood still for/);
    const [first, second] = rehearsal.rounds;
    expect(first!.sentPages).toBeGreaterThan(PAGES);
    expect(first!.sentPages).toBeLessThan(PAGES * 1.6);
    // It cycles through its pages at 2,000 a second, and the first round takes about three seconds.
    const expected = Math.min(PAGES, (2000 * (second!.startMicroseconds - first!.startMicroseconds)) / 1e6);
    expect(first!.dirtiedPages / expected).toBeGreaterThan(0.6);
    expect(first!.dirtiedPages / expected).toBeLessThan(1.3);
    expectUntouched(program);
  });

  it.skipIf(lacking(spawnSync('redis-server', ['--version']).status === 0))(
    'predicts a redis-server that is written to',
    async () => {
      const redis = await startRedis(17_397);
      try {
        await redis.fill(20_000_000, 0.5);
        let isOver = false;
        const load = (async () => {
          for (; !isOver; await delay(5)) await redis.touch(100);
        })();
        const result = await ckptJson('rehearse', '-t', String(redis.pid), ...OBSERVE);
        isOver = true;
        await load;
        const rehearsal = result as unknown as Rehearsal;
        expect(rehearsal.verdict).toBe('converges');
        expect(rehearsal.transferredBytes).toBeGreaterThan(20e6);
        expect(rehearsal.rounds[0]!.dirtiedPages).toBeGreaterThan(80);
        expectUntouched(redis);
      } finally {
        await redis.stop();
      }
    },
  );

  it('leaves it alone when it is interrupted while it watches', async () => {
    const program = await startPython(WRITER);
    const run = await ckpt(
      ['rehearse', '-t', String(program.pid), '--observe', '60s', '--bandwidth', '1Gbit/s'],
      (pid) => void watched(program).then(() => process.kill(pid, 'SIGINT')),
    );
    expect(run.exitCode).toBe(130);
    expect(run.stdout).toBe('');
    await until('a process that runs', 5000, () => !/t/i.test(threadStates(program.pid)));
    expectUntouched(program);
  });

  it('says so when it ends in the middle', async () => {
    const program = await startPython(WRITER);
    const { exitCode, stdout, stderr } = await ckpt(
      ['rehearse', '-t', String(program.pid), '--observe', '60s', '--bandwidth', '1Gbit/s'],
      () => void watched(program).then(() => program.kill()),
    );
    expect(stderr).toMatch(/ended after \d+\.\d s: there is nothing left to migrate/);
    expect(exitCode).toBe(13);
    expect(stdout).toBe('');
  });
});
