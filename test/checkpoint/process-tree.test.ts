import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { type CheckpointOptions, digestTargetMemory, takeCheckpoint } from '../../src/checkpoint/index.ts';
import { CodecPool, digestPage } from '../../src/codec/index.ts';
import { PAGE_SIZE, TargetError } from '../../src/core/index.ts';
import { PAGEMAP_HIGH } from '../../src/procfs/index.ts';
import { Store } from '../../src/store/index.ts';
import { anonymousVma, MemoryProcess, MemoryTarget, patternPage } from './memory-target.ts';

const pool = new CodecPool({ workers: 0 });
const root = mkdtempSync(join(tmpdir(), 'ckpt-tree-test-'));
let directory = '';
let made = 0;

beforeEach(() => {
  directory = join(root, String(made++));
});

afterAll(async () => {
  await pool.close();
  rmSync(root, { recursive: true, force: true });
});

const FIRST_PAGE = 0x7f0000000;
const PAGES = 300;
/** Spools that take everything, and next to nothing: the second copies while the target runs. */
const LARGE = 1 << 24;
const SMALL = 8 * PAGE_SIZE;

/** Frames by the bytes that are in them: what processes have in common is one array. */
const frames = new WeakMap<Uint8Array, number>();
let nextFrame = 1;

function frameOf(bytes: Uint8Array): number {
  const frame = frames.get(bytes) ?? nextFrame++;
  frames.set(bytes, frame);
  return frame;
}

/** A process that shares its pages with its children until one of them stores, as after fork. */
class ForkingProcess extends MemoryProcess {
  fingerprint = 'start=1 exe=1:1 image=a';
  readonly tree: ForkingProcess[];
  /** None of these pages is on it. */
  readonly zeroFrame = 2 ** 40;
  reads = 0;

  constructor(tree: ForkingProcess[], pid: number, parentPid = 0) {
    super(pid, parentPid);
    this.tree = tree;
    this.mappings = [anonymousVma(FIRST_PAGE, FIRST_PAGE + PAGES)];
    tree.push(this);
  }

  fork(pid: number): ForkingProcess {
    const child = new ForkingProcess(this.tree, pid, this.pid);
    for (const [page, bytes] of this.pages) {
      child.pages.set(page, bytes);
      child.dirty.add(page);
    }
    return child;
  }

  exit(): void {
    this.tree.splice(this.tree.indexOf(this), 1);
  }

  override readPagemap(startPage: number, pageCount: number, words: Uint32Array): number {
    super.readPagemap(startPage, pageCount, words);
    for (let index = 0; index < pageCount; index++) {
      const bytes = this.pages.get(startPage + index);
      if (bytes === undefined) continue;
      words[index * 2] = frameOf(bytes);
      const isShared = this.tree.some(
        (other) => other !== this && other.pages.get(startPage + index) === bytes,
      );
      if (isShared) words[index * 2 + 1]! &= ~PAGEMAP_HIGH.exclusive;
    }
    return pageCount;
  }

  override readMemory(startPage: number, pageCount: number, into: Uint8Array): number {
    if (!this.tree.includes(this)) throw new TargetError('has exited', { data: { gone: true } });
    const read = super.readMemory(startPage, pageCount, into);
    this.reads += read;
    return read;
  }
}

const openStore = () => Store.open(directory, { access: 'create', command: 'test', codec: pool });
const digestOf = (bytes: Uint8Array) => Buffer.from(digestPage(bytes)).toString('hex');

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

type Snapshot = ReadonlyMap<number, ReadonlyMap<number, string>>;

const snapshotOf = (tree: readonly ForkingProcess[]): Snapshot =>
  new Map(
    tree.map(({ pid, pages }) => [
      pid,
      new Map([...pages].sort(([a], [b]) => a - b).map(([page, bytes]) => [page, digestOf(bytes)])),
    ]),
  );

async function expectHeld(store: Store, checkpoint: number, truth: Snapshot): Promise<void> {
  const { processes } = await store.manifest(checkpoint);
  expect(processes.map(({ pid }) => pid).sort()).toEqual([...truth.keys()].sort());
  for (const [pid, pages] of truth) expect(await pagesOf(store, checkpoint, pid)).toEqual(pages);
}

function filledRoot(): ForkingProcess[] {
  const tree: ForkingProcess[] = [];
  const first = new ForkingProcess(tree, 100);
  for (let index = 0; index < PAGES; index++) first.store(FIRST_PAGE + index, patternPage(index));
  return tree;
}

type Step =
  | { readonly kind: 'store'; readonly process: number; readonly page: number; readonly value: number }
  | { readonly kind: 'fork' | 'exit' | 'exec'; readonly process: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant('store' as const),
      process: fc.nat(7),
      page: fc.integer({ min: FIRST_PAGE, max: FIRST_PAGE + PAGES - 1 }),
      value: fc.nat(600),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('fork' as const), process: fc.nat(7) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('exit' as const), process: fc.nat(7) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('exec' as const), process: fc.nat(7) }) },
);

/** Does one step; the tree keeps its root, and a PID may come back. */
function doStep(tree: ForkingProcess[], one: Step): void {
  const process = tree[one.process % tree.length]!;
  if (one.kind === 'store') process.store(one.page, patternPage(one.value));
  else if (one.kind === 'fork' && tree.length < 6) {
    const pid = [101, 102, 103, 104, 105, 106].find((free) => tree.every((other) => other.pid !== free))!;
    process.fork(pid).fingerprint = `start=${nextFrame++} exe=1:1 image=a`;
  } else if (one.kind === 'exit' && process.parentPid !== 0) process.exit();
  else if (one.kind === 'exec' && process.parentPid !== 0) {
    process.fingerprint = `start=1 exe=1:1 image=${nextFrame++}`;
    process.pages.clear();
    process.dirty.clear();
    process.store(FIRST_PAGE + 1, patternPage(77));
  }
}

describe('a tree of processes', () => {
  it.each([
    { softDirty: true, spoolBytes: LARGE },
    { softDirty: true, spoolBytes: SMALL },
    { softDirty: false, spoolBytes: LARGE },
    { softDirty: false, spoolBytes: SMALL },
  ])('is as it was at every checkpoint, whoever comes, goes and writes meanwhile (%o)', async (how) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.array(step, { maxLength: 25 }), fc.array(step, { maxLength: 25 })), {
          minLength: 1,
          maxLength: 4,
        }),
        async (rounds) => {
          directory = join(root, `property-${made++}`);
          const store = await openStore();
          const tree = filledRoot();
          const target = new MemoryTarget(tree, how.softDirty);
          const truths: Snapshot[] = [];
          for (const [index, [before, during]] of rounds.entries()) {
            for (const one of before) doStep(tree, one);
            // The rest happens while a running target is copied, a step for each time that it is read.
            const left = [...during];
            for (const process of tree) {
              process.beforeRead = () => {
                const next = target.frozen ? undefined : left.shift();
                if (next !== undefined) doStep(tree, next);
              };
            }
            let truth: Snapshot = new Map();
            target.onFreeze = () => {
              truth = snapshotOf(tree);
            };
            const { memoryDigest } = await takeCheckpoint(target, store, pool, {
              incremental: index > 0,
              spoolBytes: how.spoolBytes,
            });
            truths.push(truth);
            for (const process of tree) process.beforeRead = undefined;
            expect(memoryDigest).toBe(await digestTargetMemory(target, pool));
          }
          for (const [index, truth] of truths.entries()) await expectHeld(store, index + 1, truth);
          await store.close();
          rmSync(directory, { recursive: true, force: true });
        },
      ),
      { numRuns: 15 },
    );
  });

  it.each([LARGE, SMALL])(
    'is read once where its processes share pages (spool of %d bytes)',
    async (spoolBytes) => {
      const store = await openStore();
      const tree = filledRoot();
      const parent = tree[0]!;
      const children = [101, 102, 103].map((pid) => parent.fork(pid));
      children[1]!.store(FIRST_PAGE + 7, patternPage(999));
      // One page is all zeros. What the parent alone has changed is still shared by its children.
      for (let index = 0; index < 100; index++) parent.store(FIRST_PAGE + index, patternPage(2000 + index));
      const target = new MemoryTarget(tree, true);
      const base = await takeCheckpoint(target, store, pool, { incremental: false, spoolBytes });
      await expectHeld(store, 1, snapshotOf(tree));
      expect(children.map(({ reads }) => reads)).toEqual([100, 1, 0]);
      expect(base.pages).toMatchObject({ present: 4 * PAGES, written: PAGES + 100 });
      expect(base.processes).toBe(4);

      const grandchild = children[1]!.fork(104);
      parent.store(FIRST_PAGE + 200, patternPage(3000));
      const delta = await takeCheckpoint(target, store, pool, { incremental: true, spoolBytes });
      await expectHeld(store, 2, snapshotOf(tree));
      expect(grandchild.reads).toBe(0);
      expect(delta.pages).toMatchObject({ written: 1 });
      await store.close();
    },
  );

  it('is read once where one object of memory is mapped by several, and where only one of them has used it', async () => {
    const store = await openStore();
    const tree = filledRoot();
    const [parent, child, stranger] = [tree[0]!, tree[0]!.fork(101), tree[0]!.fork(102)];
    const start = FIRST_PAGE + 2 * PAGES;
    const object = {
      ...anonymousVma(start, start + PAGES),
      shared: true,
      inode: 7,
      pathname: '/dev/zero (deleted)',
    };
    for (const process of tree) {
      process.mappings.push(process === stranger ? { ...object, inode: 8 } : object);
      const pages = [{ startPage: start, endPage: start + PAGES }];
      Object.assign(process, {
        populatedPages: ({ shared }: { shared: boolean }) => (shared ? pages : undefined),
      });
    }
    // The child has used none of the pages: its page table knows nothing of them.
    for (let index = 0; index < PAGES; index++) {
      parent.pages.set(start + index, patternPage(1000 + index));
      stranger.pages.set(start + index, patternPage(2000 + index));
    }
    await takeCheckpoint(new MemoryTarget(tree, true), store, pool, { incremental: false });
    expect(tree.map(({ reads }) => reads)).toEqual([2 * PAGES, 0, PAGES]);
    const truth = new Map(snapshotOf(tree));
    truth.set(child.pid, truth.get(parent.pid)!);
    await expectHeld(store, 1, truth);
    await store.close();
  });

  it.each([true, false])(
    'gives what cannot be read of one process from another that can be (%s)',
    async (can) => {
      const store = await openStore();
      const tree = filledRoot();
      const child = tree[0]!.fork(101);
      tree[0]!.unreadable.add(FIRST_PAGE + 5);
      if (!can) child.unreadable.add(FIRST_PAGE + 5);
      const { warnings } = await takeCheckpoint(new MemoryTarget(tree, true), store, pool, {
        incremental: false,
      });
      const lost = { startPage: FIRST_PAGE + 5, endPage: FIRST_PAGE + 6, reason: 'could not be read' };
      expect(warnings).toEqual([{ pid: 100, ...lost }, ...(can ? [] : [{ pid: 101, ...lost }])]);
      expect((await pagesOf(store, 1, 100)).size).toBe(PAGES - 1);
      const ofChild = await pagesOf(store, 1, child.pid);
      expect(ofChild.size).toBe(can ? PAGES : PAGES - 1);
      await store.close();
    },
  );
});

describe('a process of the parent checkpoint', () => {
  const notes: string[] = [];
  const options: CheckpointOptions = { incremental: true, onNote: (note) => notes.push(note) };
  beforeEach(() => {
    notes.length = 0;
  });

  it.each([
    ['start=9 exe=1:1 image=b', /taken as a new one: the process has ended since and its PID belongs/],
    ['start=1 exe=1:2 image=b', /taken as a new one: the process has executed another program/],
    ['start=1 exe=1:1 image=b', /taken as a new one: the process has executed its program anew/],
  ])('whose fingerprint is now %s is compared with nothing', async (fingerprint, note) => {
    const store = await openStore();
    const tree = filledRoot();
    const child = new ForkingProcess(tree, 101, 100);
    child.store(FIRST_PAGE, patternPage(1));
    const target = new MemoryTarget(tree, true);
    await takeCheckpoint(target, store, pool, { incremental: false });
    child.pages.clear();
    child.store(FIRST_PAGE, patternPage(700));
    child.dirty.clear(); // As if all its pages had been there, clean, all the time.
    child.fingerprint = fingerprint;
    await takeCheckpoint(target, store, pool, options);
    await expectHeld(store, 2, snapshotOf(tree));
    expect(notes).toEqual([expect.stringMatching(note)]);
    expect((await store.manifest(2)).processes[1]).toMatchObject({ pid: 101, fingerprint });
    await store.close();
  });

  it('is believed to be the same where no fingerprint was kept', async () => {
    const store = await openStore();
    const plain = new MemoryProcess(100);
    plain.mappings = [anonymousVma(FIRST_PAGE, FIRST_PAGE + PAGES)];
    plain.store(FIRST_PAGE, patternPage(5));
    await takeCheckpoint(new MemoryTarget([plain], true), store, pool, { incremental: false });
    const { dirty } = (await takeCheckpoint(new MemoryTarget([plain], true), store, pool, options)).pages;
    expect(dirty).toBe(0);
    expect(notes).toEqual([]);
    expect((await store.manifest(2)).processes[0]).not.toHaveProperty('fingerprint');
    await store.close();
  });
});
