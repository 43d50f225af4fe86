import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  dumpTarget,
  type RewindRequest,
  type RewindResult,
  rewindInPlace,
} from '../../src/checkpoint/index.ts';
import { TargetError } from '../../src/core/index.ts';
import type { ProcessRewriter } from '../../src/target/index.ts';
import { PipedProgram } from './piped-program.ts';
import { threadStates, until } from './programs.ts';

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
    workers: 0,
  });
  return result!;
}

function rewind(checkpoint: number, options: Partial<RewindRequest> = {}): Promise<RewindResult> {
  return rewindInPlace({ storeDirectory: store, checkpoint, pid: program.pid, workers: 0, ...options });
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
      ['discard', 'seek'],
      ['unmap', 'append', 'name'],
      ['unshare', 'fill'],
      ['map', 'count'],
      ['replace', 'watch', 'count'],
      ['move', 'handler'],
      ['protect', 'mask', 'limit'],
      ['guard', 'lock'],
      ['grow', 'signal', 'umask'],
      ['shrink', 'altstack'],
      ['stack', 'timers'],
      ['untimer', 'chdir'],
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
    await until('the stop', 2000, () => /^T+$/.test(threadStates(program.pid)));
    const again = await dump({ into: join(work, 'again'), tracker: 'compare' });
    expect(again.memoryDigest).toBe(memoryDigest);
    process.kill(program.pid, 'SIGCONT');
    expect(await program.ask('state')).toBe(before);
  });
});

describe('what cannot be rewound is found before anything is touched', () => {
  const cases: readonly { does: string; found: RegExp; forced?: RegExp }[] = [
    { does: 'open', found: /descriptor \d+ \(\/dev\/null\) was opened since/ },
    { does: 'close', found: /descriptor \d+ \(.*data\) was closed since/ },
    { does: 'reopen', found: /descriptor \d+ \(.*data\) is \/dev\/zero now/ },
    { does: 'delete', found: /the file of descriptor \d+ \(.*data\) was deleted since/ },
    { does: 'connect', found: /descriptor \d+ \(socket:\[\d+\]\) was opened since/ },
    { does: 'fork', found: /process \d+ \(rewinder\) was started since/ },
    { does: 'raise', found: /signal 12 has come since/ },
    { does: 'group', found: /another session or process group/ },
  ];
  it.each(cases)('$does', async ({ does, found }) => {
    await dump();
    await change(does, 'write');
    const now = await program.ask('state');
    const refused = await rewind(1);
    expect(refused.outcome).toBe('refused');
    expect(refused.obstacles.map(({ problem }) => problem).join('\n')).toMatch(found);
    expect(refused.pages.written).toBe(0);
    expect(await program.ask('state')).toBe(now);
    const planned = await rewind(1, { dryRun: true });
    expect(planned.outcome).toBe('planned');
    expect(planned.obstacles).toEqual(refused.obstacles);
    expect(planned.pages.written).toBeGreaterThan(10);
    expect(await program.ask('state')).toBe(now);
  });

  it('a thread that has ended', async () => {
    await change('thread');
    await dump();
    await change('join');
    const refused = await rewind(1);
    expect(refused.obstacles.map(({ problem }) => problem).join()).toMatch(
      /thread \d+ \(rewinder\) has ended/,
    );
    expect(await program.ask('state')).toContain('threads=1');
  });

  it('a connection that was there then and is still', async () => {
    await change('connect');
    await dump();
    const refused = await rewind(1);
    expect(refused.obstacles).toHaveLength(2);
    expect(refused.obstacles[0]?.problem).toMatch(/is a connection, whose peer does not go back/);
  });

  it('and with --force the rest is done', async () => {
    const before = await program.ask('state');
    await dump();
    await change('open', 'raise', 'delete', 'write', 'seek');
    const result = await rewind(1, { force: true });
    expect(result).toMatchObject({ outcome: 'rewound' });
    // The deleted file has two descriptors.
    expect(result.obstacles).toHaveLength(4);
    expect(await program.ask('state')).toBe(before);
    expect((await rewind(1, { dryRun: true })).obstacles).toHaveLength(2);
  });

  it('another process', async () => {
    await dump();
    const other = new PipedProgram(join(work, 'store'), join(programs, 'rewinder'), [work]);
    try {
      await expect(rewind(1, { pid: other.pid })).rejects.toThrow(
        /cannot be rewound to checkpoint 1: it is of/,
      );
    } finally {
      await other.kill();
    }
  });
});

describe('a process that cannot be a target', () => {
  it('is refused while the threads that decode are still starting', async () => {
    await dump();
    await expect(rewind(1, { pid: 1, workers: 1 })).rejects.toThrow(/is the init process/);
  });
});

describe('a rewind that fails half-way is undone', () => {
  it.each(['remap', 'discard', 'applyState', 'verifyMappings', 'write'] as const)('in %s', async (step) => {
    await dump();
    await change(
      'write',
      'discard',
      'unmap',
      'replace',
      'move',
      'protect',
      'map',
      'grow',
      'seek',
      'append',
      'fill',
    );
    await change(
      'count',
      'watch',
      'handler',
      'mask',
      'altstack',
      'timers',
      'umask',
      'name',
      'chdir',
      'thread',
    );
    const now = await program.ask('state');
    const prototype = await rewriterPrototype();
    const original = prototype[step];
    const spy = vi.spyOn(prototype, step).mockImplementationOnce(function (
      this: ProcessRewriter,
      ...values: unknown[]
    ) {
      Reflect.apply(original, this, values);
      throw new TargetError('a failure of the test');
    });
    await expect(rewind(1)).rejects.toThrow(/failed and was undone: a failure of the test/);
    spy.mockRestore();
    expect(await program.ask('state')).toBe(now);
    expect(await rewind(1)).toMatchObject({ outcome: 'rewound' });
  });

  it('or else the process stays stopped, and the next attempt mends it', async () => {
    const before = await program.ask('state');
    await dump();
    await change('write', 'unmap', 'map', 'seek');
    const prototype = await rewriterPrototype();
    const fail = () => {
      throw new TargetError('a failure of the test');
    };
    const spies = (['applyState', 'remapBack'] as const).map((step) =>
      vi.spyOn(prototype, step).mockImplementationOnce(fail),
    );
    await expect(rewind(1)).rejects.toThrow(/failed half-way .* could not be undone/);
    for (const spy of spies) spy.mockRestore();
    await until('the stop', 2000, () => /^T+$/.test(threadStates(program.pid)));
    await expect(dump()).rejects.toThrow(/its rewind was interrupted/);
    expect(await rewind(1)).toMatchObject({ outcome: 'rewound', leftStopped: false });
    expect(await program.ask('state')).toBe(before);
  });
});

/** Tests fail its steps. */
async function rewriterPrototype(): Promise<ProcessRewriter> {
  const { ProcessRewriter } = await import('../../src/target/rewrite/process-rewriter.ts');
  return ProcessRewriter.prototype;
}
