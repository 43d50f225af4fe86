import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ckpt, ckptJson } from './command.ts';
import { followAndRestore } from './follow.ts';
import { killPrograms, type Program, start, threadStates, until } from './programs.ts';

const CKPT = resolve(import.meta.dirname, '../../bin/ckpt.js');
/** More kills for those who have the time. */
const KILLS = Number(process.env['CKPT_ROUNDS'] ?? 40);
/** The target is at rest for about this long in a dump. */
const REST_MS = 60;

let folder = '';
let checksum = '';
let work = '';
let store = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ckpt-checksum-'));
  checksum = join(folder, 'checksum');
  execFileSync('gcc', ['-O2', '-pthread', '-o', checksum, join(import.meta.dirname, 'checksum.c')]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-killed-'));
  store = join(work, 'store');
});
afterEach(async () => {
  await killPrograms();
  rmSync(work, { recursive: true, force: true });
});

async function startChecksum(): Promise<Program> {
  const program = start(checksum, ['24', '4', '6000']);
  expect(await program.line()).toBe('ready');
  return program;
}

const isTraced = (pid: number) => !/^TracerPid:\s*0$/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
const isAtRest = (pid: number) => /[Tt]/.test(threadStates(pid));

/** Starts a dump and kills it some milliseconds after it began, or after it took hold of the target. */
async function killDump(
  pid: number,
  options: readonly string[],
  afterHold: boolean,
  milliseconds: number,
): Promise<boolean> {
  const args = [CKPT, 'dump', '-t', `${pid}`, '-D', store, '-q', ...options];
  const child: ChildProcess = spawn(process.execPath, args, { stdio: 'ignore' });
  const ended = once(child, 'exit');
  let over = false;
  ended.then(() => {
    over = true;
  });
  if (afterHold) while (!over && !isTraced(pid)) await delay(0);
  await Promise.race([ended, delay(milliseconds)]);
  const held = isTraced(pid);
  child.kill('SIGKILL');
  await ended;
  return held;
}

/** The program runs, nobody holds it, and the sums of its memory have been found right since. */
async function expectUntouched(program: Program): Promise<void> {
  await until('go on', 2000, () => !isTraced(program.pid) && !isAtRest(program.pid));
  const before = Number(await program.ask('rounds'));
  await expect
    .poll(() => program.ask('rounds').then(Number), { interval: 5, timeout: 5000 })
    .toBeGreaterThan(before);
}

describe('a target whose ckpt is killed', () => {
  it(
    `runs on untouched, ${KILLS} times`,
    async () => {
      const program = await startChecksum();
      let held = 0;
      for (let kill = 0; kill < KILLS; kill++) {
        // In turns the first dump of a store, which arms, and one that goes on from a checkpoint.
        const isFirst = kill % 4 === 0;
        if (isFirst) {
          rmSync(store, { recursive: true, force: true });
          await ckpt(['untrack', `${program.pid}`]);
        } else if (kill % 4 === 1) await ckptJson('dump', '-t', `${program.pid}`, '-D', store);
        const afterHold = kill % 3 !== 0;
        const milliseconds = Math.random() * (afterHold ? REST_MS : 600);
        const options = isFirst ? [] : ['--incremental'];
        if (await killDump(program.pid, options, afterHold, milliseconds)) held++;
        await expectUntouched(program);
      }
      expect(held).toBeGreaterThan(KILLS / 5);
      await followAndRestore({
        pid: program.pid,
        store: join(work, 'later'),
        deltas: 2,
        between: () => delay(50),
      });
      expect(await program.ask('end')).toBe('sound');
    },
    120_000 + KILLS * 3000,
  );
});
