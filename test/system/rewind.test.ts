import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  dumpTarget,
  type RewindRequest,
  type RewindResult,
  rewindInPlace,
} from '../../src/checkpoint/index.ts';
import { PipedProgram } from './piped-program.ts';
import { threadStates } from './programs.ts';

let programs = '';
let work = '';
let store = '';
let program: PipedProgram;

beforeAll(() => {
  programs = mkdtempSync(join(tmpdir(), 'ckpt-rewinder-'));
  const source = join(import.meta.dirname, 'rewinder.c');
  execFileSync('gcc', ['-O1', '-o', join(programs, 'rewinder'), source, '-lpthread']);
});
afterAll(() => rmSync(programs, { recursive: true, force: true }));

beforeEach(async () => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-rewind-'));
  store = join(work, 'store');
  // On one processor: the kernel tells a program in its own memory (rseq) on which it runs.
  program = new PipedProgram(work, 'taskset', ['-c', '0', join(programs, 'rewinder'), work]);
  expect(await program.line()).toBe('ready');
});
afterEach(async () => {
  await program.kill();
  rmSync(work, { recursive: true, force: true });
});

async function dump(options: { incremental?: boolean; into?: string; tracker?: 'compare' } = {}) {
  const [result] = await dumpTarget({
    target: `${program.pid}`,
    storeDirectory: options.into ?? store,
    incremental: options.incremental ?? false,
    ...(options.tracker === undefined ? {} : { tracker: options.tracker }),
    workers: 1,
  });
  return result!;
}

function rewind(checkpoint: number, options: Partial<RewindRequest> = {}): Promise<RewindResult> {
  return rewindInPlace({ storeDirectory: store, checkpoint, pid: program.pid, workers: 1, ...options });
}

/** Does things one after another. */
async function change(...words: string[]): Promise<void> {
  for (const word of words) expect(await program.ask(word)).toBe('done');
}

describe('a program that is rewound has the state that it had', () => {
  it('whatever it has changed since', async () => {
    const before = await program.ask('state');
    await dump();
    const changes = [
      ['write'],
      ['discard'],
      ['unmap'],
      ['unshare'],
      ['map'],
      ['replace'],
      ['move'],
      ['protect'],
      ['grow'],
      ['shrink'],
      ['stack', 'write'],
      ['seek'],
      ['append'],
      ['fill'],
      ['count'],
      ['watch', 'count'],
      ['handler'],
      ['mask'],
      ['signal'],
      ['altstack'],
      ['timers'],
      ['untimer'],
      ['umask'],
      ['name'],
      ['limit'],
      ['chdir'],
      ['thread'],
    ];
    for (const words of changes) {
      await change(...words);
      expect(await program.ask('state'), words.join()).not.toBe(before);
      const result = await rewind(1);
      expect(result, words.join()).toMatchObject({ outcome: 'rewound', obstacles: [], leftStopped: false });
      expect(await program.ask('state'), words.join()).toBe(before);
    }
  });

  it('to the last byte and mapping, as a full dump in the same stop shows', async () => {
    const before = await program.ask('state');
    // Registered mappings would not be joined with new ones.
    const { memoryDigest } = await dump({ tracker: 'compare' });
    await change('write', 'discard', 'unmap', 'replace', 'move', 'protect', 'map', 'grow', 'stack', 'thread');
    await rewind(1, { leaveStopped: true });
    expect(threadStates(program.pid)).toMatch(/^T+$/);
    const again = await dump({ into: join(work, 'again'), tracker: 'compare' });
    expect(again.memoryDigest).toBe(memoryDigest);
    process.kill(program.pid, 'SIGCONT');
    expect(await program.ask('state')).toBe(before);
  });
});
