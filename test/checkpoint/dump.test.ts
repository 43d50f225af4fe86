import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { digestTargetMemory, takeCheckpoint } from '../../src/checkpoint/index.ts';
import { CodecPool, digestPage } from '../../src/codec/index.ts';
import { PAGE_SIZE } from '../../src/core/index.ts';
import { Store } from '../../src/store/index.ts';
import { anonymousVma, MemoryProcess, MemoryTarget, patternPage } from './memory-target.ts';

const pool = new CodecPool({ workers: 0 });
const root = mkdtempSync(join(tmpdir(), 'ckpt-dump-test-'));
let directory = '';
let made = 0;

beforeEach(() => {
  directory = join(root, String(made++));
});

afterAll(async () => {
  await pool.close();
  rmSync(root, { recursive: true, force: true });
});

const openStore = (at = directory) => Store.open(at, { access: 'create', command: 'test', codec: pool });

/** Every page of a checkpoint, by page number: its digest, because comparing bytes one by one takes for ever. */
async function pagesOf(store: Store, checkpoint: number, pid: number): Promise<Map<number, string>> {
  const pages = new Map<number, string>();
  const reader = await store.openCheckpoint(checkpoint);
  for await (const { startPage, pageCount, bytes } of reader.pages(pid)) {
    for (let index = 0; index < pageCount; index++) {
      const page = bytes?.slice(index * PAGE_SIZE, (index + 1) * PAGE_SIZE) ?? new Uint8Array(PAGE_SIZE);
      pages.set(startPage + index, digestOf(page));
    }
  }
  return pages;
}

const digestOf = (bytes: Uint8Array) => Buffer.from(digestPage(bytes)).toString('hex');

const snapshot = (process: MemoryProcess) =>
  new Map([...process.pages].sort(([a], [b]) => a - b).map(([page, bytes]) => [page, digestOf(bytes)]));

type Change =
  | { readonly kind: 'store' | 'patch'; readonly page: number; readonly value: number }
  | { readonly kind: 'drop'; readonly page: number };

const FIRST_PAGE = 0x7f0000000;
const PAGES = 600;

const page = fc.integer({ min: FIRST_PAGE, max: FIRST_PAGE + PAGES - 1 });
const change: fc.Arbitrary<Change> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('store' as const), page, value: fc.nat({ max: 400 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('patch' as const), page, value: fc.nat({ max: 4095 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('drop' as const), page }) },
);

function apply(process: MemoryProcess, changes: readonly Change[]): void {
  for (const one of changes) {
    if (one.kind === 'drop') process.unmap(one.page);
    else if (one.kind === 'store') process.store(one.page, patternPage(one.value));
    else {
      const bytes = process.pages.get(one.page)?.slice() ?? new Uint8Array(PAGE_SIZE);
      bytes[one.value] = (bytes[one.value]! + 1) & 0xff;
      process.store(one.page, bytes);
    }
  }
}

function filledProcess(pid = 7): MemoryProcess {
  const process = new MemoryProcess(pid);
  process.mappings = [
    anonymousVma(FIRST_PAGE, FIRST_PAGE + 200),
    anonymousVma(FIRST_PAGE + 200, FIRST_PAGE + PAGES),
  ];
  for (let index = 0; index < PAGES; index += 2) process.store(FIRST_PAGE + index, patternPage(index));
  return process;
}

describe('takeCheckpoint()', () => {
  it.each([
    { softDirty: true, spoolBytes: 1 << 24 },
    { softDirty: true, spoolBytes: 8 * PAGE_SIZE },
    { softDirty: false, spoolBytes: 1 << 24 },
    { softDirty: false, spoolBytes: 8 * PAGE_SIZE },
  ])('keeps every page of every checkpoint of a chain (%o)', async ({ softDirty, spoolBytes }) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(change, { maxLength: 40 }), { minLength: 1, maxLength: 4 }),
        async (rounds) => {
          const at = join(root, `property-${made++}`);
          const store = await openStore(at);
          const process = filledProcess();
          const target = new MemoryTarget([process], softDirty);
          const truths: Map<number, string>[] = [];
          for (const [index, changes] of rounds.entries()) {
            apply(process, changes);
            truths.push(snapshot(process));
            const result = await takeCheckpoint(target, store, pool, { incremental: index > 0, spoolBytes });
            expect(result.memoryDigest).toBe(await digestTargetMemory(target, pool));
            expect(target.frozen).toBe(false);
          }
          for (const [index, truth] of truths.entries()) {
            expect(await pagesOf(store, index + 1, process.pid)).toEqual(truth);
          }
          await store.close();
          rmSync(at, { recursive: true, force: true });
        },
      ),
      { numRuns: 25 },
    );
  });

  it('takes a base of what changes while it is copied as of the last freeze', async () => {
    const store = await openStore();
    const process = filledProcess();
    const target = new MemoryTarget([process], true);
    let writes = 0;
    // Writes go on until the second freeze, into pages already copied, being copied and not copied yet.
    process.beforeRead = () => {
      if (target.frozen) return;
      writes++;
      process.store(FIRST_PAGE + ((writes * 37) % PAGES), patternPage(500 + writes));
      process.unmap(FIRST_PAGE + ((writes * 91) % PAGES));
    };
    const result = await takeCheckpoint(target, store, pool, {
      incremental: false,
      spoolBytes: 4 * PAGE_SIZE,
    });
    expect(writes).toBeGreaterThan(0);
    expect(target.freezes).toBe(2);
    expect(await pagesOf(store, result.checkpoint, process.pid)).toEqual(snapshot(process));
    await store.close();
  });

  it('stores small changes as differences, never on top of a difference', async () => {
    const store = await openStore();
    const process = filledProcess();
    const target = new MemoryTarget([process], true);
    await takeCheckpoint(target, store, pool, { incremental: false });
    for (let round = 1; round <= 3; round++) {
      // The first page was all zeros in the base: nothing that a difference could refer to.
      for (let index = 2; index < PAGES; index += 2) {
        const bytes = process.pages.get(FIRST_PAGE + index)!.slice();
        bytes[round * 100] = 0x5a;
        process.store(FIRST_PAGE + index, bytes);
      }
      const result = await takeCheckpoint(target, store, pool, { incremental: true });
      expect(result.pages.written).toBe(PAGES / 2 - 1);
      expect(await pagesOf(store, result.checkpoint, process.pid)).toEqual(snapshot(process));
      const reader = await store.openCheckpoint(result.checkpoint);
      const index = await reader.index(process.pid);
      let differences = 0;
      for (const reference of index.segments) {
        const { segment } = await index.load(reference);
        for (let entry = 0; entry < segment.count; entry++) {
          if (segment.deltaPacks[entry] === 0) continue;
          differences++;
          expect(segment.packs[entry]).toBe(1);
        }
      }
      expect(differences).toBe(PAGES / 2 - 1);
    }
    await store.close();
  });

  it('stores equal pages once, across processes and checkpoints', async () => {
    const store = await openStore();
    const first = filledProcess(7);
    const second = filledProcess(8);
    const target = new MemoryTarget([first, second], true);
    const base = await takeCheckpoint(target, store, pool, { incremental: false });
    // One of the pages of each process is all zeros.
    expect(base.pages).toMatchObject({ zero: 2, written: PAGES / 2 - 1, shared: PAGES / 2 - 1 });
    second.store(FIRST_PAGE + 1, patternPage(10));
    const delta = await takeCheckpoint(target, store, pool, { incremental: true });
    expect(delta.pages).toMatchObject({ dirty: 1, written: 0, shared: 1 });
    expect(await pagesOf(store, 2, 8)).toEqual(snapshot(second));
    await store.close();
  });

  it('keeps a new process, and forgets one that is gone', async () => {
    const store = await openStore();
    const parent = filledProcess(7);
    const target = new MemoryTarget([parent], true);
    await takeCheckpoint(target, store, pool, { incremental: false });
    const child = filledProcess(8);
    target.list.push(child);
    await takeCheckpoint(target, store, pool, { incremental: true });
    target.list.shift();
    await takeCheckpoint(target, store, pool, { incremental: true });
    expect(await pagesOf(store, 2, 8)).toEqual(snapshot(child));
    expect((await store.manifest(3)).processes.map(({ pid }) => pid)).toEqual([8]);
    await store.close();
  });

  it('reports unreadable pages, and goes on', async () => {
    const store = await openStore();
    const process = filledProcess();
    process.unreadable.add(FIRST_PAGE + 4);
    const result = await takeCheckpoint(new MemoryTarget([process], true), store, pool, {
      incremental: false,
    });
    expect(result.warnings).toEqual([
      { pid: 7, startPage: FIRST_PAGE + 4, endPage: FIRST_PAGE + 5, reason: 'could not be read' },
    ]);
    const expected = snapshot(process);
    expected.delete(FIRST_PAGE + 4);
    expect(await pagesOf(store, 1, 7)).toEqual(expected);
    await store.close();
  });

  it('gives the same bytes however many workers encode', async () => {
    const packs = await Promise.all(
      [0, 3].map(async (workers) => {
        const codec = new CodecPool({ workers });
        const at = join(root, `workers-${workers}`);
        const store = await Store.open(at, { access: 'create', command: 'test', codec });
        await takeCheckpoint(new MemoryTarget([filledProcess()], true), store, codec, { incremental: false });
        const { readFileSync } = await import('node:fs');
        const bytes = readFileSync(join(at, 'packs/000001.pack'));
        await store.close();
        await codec.close();
        return bytes;
      }),
    );
    expect(packs[0]!.equals(packs[1]!)).toBe(true);
  });

  it('keeps patched pages on both sides of memory that is new far from any other', async () => {
    const store = await openStore();
    const process = filledProcess();
    const [near, between, far] = [FIRST_PAGE, FIRST_PAGE + 1 * 8192, FIRST_PAGE + 2 * 8192];
    process.mappings = [near, between, far].map((start) => anonymousVma(start, start + PAGES));
    for (let index = 0; index < 20; index++) process.store(far + index, patternPage(500 + index));
    const target = new MemoryTarget([process], true);
    await takeCheckpoint(target, store, pool, { incremental: false });
    for (let index = 0; index < 20; index++) process.store(between + index, patternPage(700 + index));
    apply(
      process,
      [near, near + 2, far, far + 1, far + 7].map((page) => ({ kind: 'patch', page, value: 9 })),
    );
    await takeCheckpoint(target, store, pool, { incremental: true });
    expect(await pagesOf(store, 2, 7)).toEqual(snapshot(process));
    await store.close();
  });
});

describe('takeCheckpoint() that fails', () => {
  it.each(['scan', 'read', 'abort'])(
    'lets the target go on and leaves the store as it was (%s)',
    async (where) => {
      const store = await openStore();
      const process = filledProcess();
      const target = new MemoryTarget([process], true);
      await takeCheckpoint(target, store, pool, { incremental: false });
      const before = readdirSync(directory, { recursive: true }).sort();
      process.store(FIRST_PAGE, patternPage(999));
      const controller = new AbortController();
      const failure = new Error('as planned');
      if (where === 'scan') {
        process.readPagemap = () => {
          throw failure;
        };
      } else if (where === 'read') {
        process.beforeRead = () => {
          throw failure;
        };
      } else process.beforeRead = () => controller.abort(failure);
      const dump = takeCheckpoint(target, store, pool, { incremental: true, signal: controller.signal });
      await expect(dump).rejects.toThrow('as planned');
      expect(target.frozen).toBe(false);
      expect(readdirSync(directory, { recursive: true }).sort()).toEqual(before);
      await store.close();
    },
  );

  it('refuses a delta without a base, and one on another target', async () => {
    const store = await openStore();
    const target = new MemoryTarget([filledProcess()], true);
    await expect(takeCheckpoint(target, store, pool, { incremental: true })).rejects.toThrow(
      'has no checkpoint',
    );
    await takeCheckpoint(target, store, pool, { incremental: false });
    const other = Object.assign(new MemoryTarget([filledProcess()], true), {
      identity: { kind: 'live', name: 'memory', fingerprint: 'other' },
    });
    await expect(takeCheckpoint(other, store, pool, { incremental: true })).rejects.toThrow(
      'cannot be the parent of a dump of memory: the machine has been restarted since',
    );
    await store.close();
  });
});
