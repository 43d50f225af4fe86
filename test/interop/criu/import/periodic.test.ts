import { createHash } from 'node:crypto';
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  executePrune,
  executeSquash,
  planPrune,
  planSquash,
  verifyDirectory,
} from '../../../../src/checkpoint/index.ts';
import { CodecPool } from '../../../../src/codec/index.ts';
import { openImageDirectory } from '../../../../src/interop/criu/images/directory.ts';
import { exportImages, importCheckpoints, importImages } from '../../../../src/interop/index.ts';
import { formatImported } from '../../../../src/report/index.ts';
import { type FaultPoint, type FaultPoints, Store } from '../../../../src/store/index.ts';
import { unpackCriuImages } from '../../../cases/criu/unpack.ts';
import { type DirectoryModel, writeImageDirectory } from '../image-directory.ts';
import { arbitraryChain } from './periodic-chain.ts';
import { damageOf, filesOf, memoryOf, withStore } from './stored-memory.ts';

const RUNS = Number(process.env['CKPT_IMPORT_RUNS'] ?? 3);
const PODMAN = resolve(import.meta.dirname, '../../../cases/podman');

let work = '';
let images = '';
let storeDirectory = '';
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-periodic-'));
  images = join(work, 'images');
  storeDirectory = join(work, 'store');
  mkdirSync(images);
});
afterEach(() => rmSync(work, { recursive: true, force: true }));

const importUpTo = (level: number, store = storeDirectory, from = images) =>
  importImages({ storeDirectory: store, path: join(from, String(level)), chain: true, workers: 0 });

const pagesFilesOf = (level: number, from = images) =>
  readdirSync(join(from, String(level)))
    .filter((name) => name.startsWith('pages-'))
    .map((name) => join(from, String(level), name));

/** What nobody may read any more says something else; the sizes are as they were, as of files with holes. */
function spoilPages(level: number): void {
  for (const path of pagesFilesOf(level)) writeFileSync(path, Buffer.alloc(statSync(path).size, 0xa5));
}

/** What `criu dump --auto-dedup` does to the pages files of a directory when its child is there (criu/cr-dedup.c). */
async function punch(level: number, from = images): Promise<number> {
  const [directory, child] = [
    await openImageDirectory(join(from, String(level))),
    await openImageDirectory(join(from, String(level + 1))),
  ];
  let punched = 0;
  for (const { name, entries, pagesPath, presentPages } of directory.memories) {
    const anew = new Set<number>();
    const later = child.memories.find((memory) => memory.name === name)?.entries;
    for (const [run, flags] of later?.flags.entries() ?? []) {
      if ((flags & 4) === 0) continue;
      for (let page = 0; page < later!.pageCounts[run]!; page++) anew.add(later!.startPages[run]! + page);
    }
    if (presentPages === 0) continue;
    const content = readFileSync(pagesPath);
    for (const [run, flags] of entries.flags.entries()) {
      if ((flags & 4) === 0) continue;
      for (let page = 0; page < entries.pageCounts[run]!; page++) {
        if (!anew.has(entries.startPages[run]! + page)) continue;
        content.fill(0, (entries.dataPages[run]! + page) * 4096, (entries.dataPages[run]! + page + 1) * 4096);
        punched++;
      }
    }
    writeFileSync(pagesPath, content);
  }
  return punched;
}

/** Everything that lies in a directory: texts of links, contents of files. */
function treeOf(directory: string): Map<string, string> {
  const tree = new Map<string, string>();
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isDirectory()) continue;
    tree.set(
      path.slice(directory.length),
      entry.isSymbolicLink() ? readlinkSync(path) : readFileSync(path, 'base64'),
    );
  }
  return tree;
}

/** Memory, mappings, kept files of a checkpoint: what an import at once or by and by must not differ in. */
const contentOf = (store: string, checkpoint: number) =>
  withStore(store, async (opened) => {
    const { manifest } = await opened.openCheckpoint(checkpoint);
    const { listing, contents } = await filesOf(opened, checkpoint);
    const processes = [];
    for (const { pid, parentPid, name, vmas, sharedMemory } of manifest.processes) {
      const named = manifest.preDump ? {} : { parentPid, name };
      const digests = [...(await memoryOf(opened, checkpoint, pid))].map(
        ([page, content]) => `${page} ${createHash('sha256').update(content).digest('hex')}`,
      );
      processes.push({ pid, ...named, vmas, sharedMemory, digests });
    }
    const { preDump, notRestorable, memoryDigest, state } = manifest;
    const files = [...contents].map(([name, bytes]) => [name, bytes.toString('base64')]);
    return {
      facts: { preDump, notRestorable, memoryDigest, state: state?.content.sha256 },
      processes,
      listing,
      files,
    };
  });

async function expectSameChain(one: string, other: string, pairs: readonly [number, number][]) {
  for (const [here, there] of pairs) {
    expect(await contentOf(one, here)).toEqual(await contentOf(other, there));
  }
  expect(await withStore(one, damageOf)).toEqual([]);
}

async function exported(store: string, checkpoint: number, layout: 'flat' | 'chain') {
  const outputDirectory = mkdtempSync(join(work, 'out-'));
  rmSync(outputDirectory, { recursive: true });
  await exportImages({ storeDirectory: store, checkpoint, outputDirectory, layout, workers: 0 });
  return treeOf(outputDirectory);
}

async function writeLevel(chain: readonly DirectoryModel[], level: number): Promise<void> {
  await writeImageDirectory(join(images, String(level)), chain[level - 1]!);
}

const withWriter = async <Result>(
  use: (store: Store, pool: CodecPool) => Promise<Result>,
  faults?: FaultPoints,
): Promise<Result> => {
  const pool = new CodecPool({ workers: 0 });
  try {
    const store = await Store.open(storeDirectory, {
      access: 'create',
      command: 'test',
      codec: pool,
      ...(faults === undefined ? {} : { faults }),
    });
    try {
      return await use(store, pool);
    } finally {
      await store.close().catch(() => undefined);
    }
  } finally {
    await pool.close();
  }
};

/** Lets images of the real criu appear as they did, one directory after the other. */
function realImages(name: 'braid' | 'snaps' | 'dedup'): { appear: (level: number) => void; whole: string } {
  const unpacked = unpackCriuImages(name);
  const whole = join(work, `whole-${name}`);
  cpSync(join(unpacked, name), whole, { recursive: true, verbatimSymlinks: true });
  rmSync(unpacked, { recursive: true });
  const appear = (level: number) =>
    cpSync(join(whole, String(level)), join(images, String(level)), {
      recursive: true,
      verbatimSymlinks: true,
    });
  return { appear, whole };
}

describe('a chain that is imported as it grows', () => {
  it('is the same as one that is imported at once, though no known page is read again', async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryChain, fc.infiniteStream(fc.boolean()), async (chain, pauses) => {
        for (const one of [images, storeDirectory, join(work, 'at-once')])
          rmSync(one, { recursive: true, force: true });
        const atOnce = join(work, 'at-once');
        for (const level of chain.keys()) await writeLevel(chain, level + 1);
        await importUpTo(chain.length, atOnce);
        rmSync(images, { recursive: true });
        let known = 0;
        for (let level = 1; level <= chain.length; level++) {
          await writeLevel(chain, level);
          if (level < chain.length && pauses.next().value) continue;
          const result = await importUpTo(level);
          expect(result.known.map(({ checkpoint }) => checkpoint)).toEqual(
            Array.from({ length: known }, (_, index) => index + 1),
          );
          expect(result.checkpoints.map(({ path }) => path)).toEqual(
            Array.from({ length: level - known }, (_, index) => join(images, String(known + index + 1))),
          );
          known = level;
          for (let one = 1; one <= level; one++) spoilPages(one);
        }
        await expectSameChain(
          storeDirectory,
          atOnce,
          chain.map((_, index) => [index + 1, index + 1]),
        );
        expect(await exported(storeDirectory, chain.length, 'chain')).toEqual(
          await exported(atOnce, chain.length, 'chain'),
        );
      }),
      { numRuns: RUNS },
    );
  }, 120_000);

  it.each([
    ['braid', 4],
    ['snaps', 3],
    ['dedup', 3],
  ] as const)('is the same as one that is imported at once (%s of the real criu)', async (name, levels) => {
    const { appear, whole } = realImages(name);
    const atOnce = join(work, 'at-once');
    const { checkpoints } = await importUpTo(levels, atOnce, whole);
    for (let level = 1; level <= levels; level++) {
      appear(level);
      const result = await importUpTo(level);
      expect(result.known).toHaveLength(level - 1);
      expect(result.checkpoints).toMatchObject([{ checkpoint: level }]);
      if (level > 1) {
        const [written] = result.checkpoints;
        expect(written?.pages).toMatchObject({
          present: checkpoints[level - 1]?.pages.present,
          parent: checkpoints[level - 1]?.pages.parent,
        });
      }
      spoilPages(level);
    }
    // A directory that criu had deduplicated before it was imported is not known to be so when it comes alone.
    if (name !== 'dedup') {
      const pairs = Array.from({ length: levels }, (_, index): [number, number] => [index + 1, index + 1]);
      await expectSameChain(storeDirectory, atOnce, pairs);
    }
    expect(await exported(storeDirectory, levels, 'flat')).toEqual(await exported(atOnce, levels, 'flat'));
    expect(await exported(storeDirectory, levels, 'chain')).toEqual(await exported(atOnce, levels, 'chain'));
  });

  it('keeps every point restorable that criu --auto-dedup has punched out of the directories since', async () => {
    const { appear, whole } = realImages('snaps');
    const atOnce = join(work, 'at-once');
    await importUpTo(3, atOnce, whole);
    appear(1);
    await importUpTo(1);
    for (const level of [2, 3]) {
      appear(level);
      expect(await punch(level - 1)).toBeGreaterThan(50);
      const { known, checkpoints } = await importUpTo(level);
      expect(known).toHaveLength(level - 1);
      expect(checkpoints).toMatchObject([{ checkpoint: level, notRestorable: null }]);
    }
    await expectSameChain(storeDirectory, atOnce, [
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
    for (const checkpoint of [1, 2, 3]) {
      expect(await exported(storeDirectory, checkpoint, 'flat')).toEqual(
        await exported(atOnce, checkpoint, 'flat'),
      );
    }
    // The directories as they are now would be good for nothing but the last.
    const late = await importUpTo(3, join(work, 'late'));
    expect(late.checkpoints.map(({ notRestorable }) => notRestorable)).toEqual([
      'deduplicated',
      'deduplicated',
      null,
    ]);
  });

  it('changes nothing when there is nothing new, and says so', async () => {
    const { appear } = realImages('snaps');
    for (const level of [1, 2, 3]) appear(level);
    await importUpTo(3);
    const before = treeOf(storeDirectory);
    for (const level of [3, 2]) {
      const result = await importUpTo(level);
      expect(result).toMatchObject({ checkpoints: [], target: 'braid' });
      expect(result.known.at(-1)).toEqual({ checkpoint: level, path: join(images, String(level)) });
      expect(formatImported(result)).toContain(
        `nothing: all of it is in the store already, the newest as checkpoint ${level}`,
      );
    }
    expect(treeOf(storeDirectory)).toEqual(before);
  });

  it('is found behind other targets, and may go on in two ways', async () => {
    const { appear, whole } = realImages('snaps');
    const other = realImages('braid');
    for (const level of [1, 2]) appear(level);
    await importUpTo(2);
    await importUpTo(4, storeDirectory, other.whole);
    appear(3);
    const { known, checkpoints } = await importUpTo(3);
    expect(known.map(({ checkpoint }) => checkpoint)).toEqual([1, 2]);
    expect(checkpoints).toMatchObject([{ checkpoint: 7 }]);
    expect(await importUpTo(4, storeDirectory, other.whole)).toMatchObject({ checkpoints: [] });
    // As if the third had been taken in another way.
    renameSync(join(images, '3'), join(images, 'other'));
    cpSync(join(whole, '3'), join(images, '3'), { recursive: true, verbatimSymlinks: true });
    appendFileSync(join(images, '3', 'dump.log'), 'once more\n');
    expect(await importUpTo(3)).toMatchObject({
      known: [{ checkpoint: 1 }, { checkpoint: 2 }],
      checkpoints: [{ checkpoint: 8 }],
    });
    const atOnce = join(work, 'at-once');
    await importUpTo(3, atOnce, whole);
    await expectSameChain(storeDirectory, atOnce, [
      [1, 1],
      [2, 2],
      [7, 3],
    ]);
    const [seventh, eighth] = [await contentOf(storeDirectory, 7), await contentOf(storeDirectory, 8)];
    expect(eighth.processes).toEqual(seventh.processes);
    expect((await verifyDirectory({ storeDirectory })).findings).toEqual([]);
  });

  it.each(['pruned', 'squashed'] as const)('goes on from what was %s to a base', async (how) => {
    const { appear, whole } = realImages('snaps');
    for (const level of [1, 2]) appear(level);
    await importUpTo(2);
    await withWriter(async (store) => {
      if (how === 'pruned') await executePrune(store, await planPrune(store, { keep: 1 }));
      else await executeSquash(store, await planSquash(store, { checkpoint: 2 }));
    });
    appear(3);
    const { known, checkpoints } = await importUpTo(3);
    expect(known).toEqual([{ checkpoint: 2, path: join(images, '2') }]);
    expect(checkpoints).toMatchObject([{ checkpoint: 3 }]);
    const atOnce = join(work, 'at-once');
    await importUpTo(3, atOnce, whole);
    await expectSameChain(storeDirectory, atOnce, [
      [2, 2],
      [3, 3],
    ]);
  });

  it('takes a directory that was imported alone for its base', async () => {
    const { appear } = realImages('snaps');
    appear(1);
    await importImages({ storeDirectory, path: join(images, '1'), workers: 0 });
    appear(2);
    expect(await importUpTo(2)).toMatchObject({
      known: [{ checkpoint: 1 }],
      checkpoints: [{ checkpoint: 2 }],
    });
    // Alone, with the pages of its parent, the second is no link of the chain.
    await importImages({ storeDirectory, path: join(images, '2'), workers: 0 });
    appear(3);
    expect(await importUpTo(3)).toMatchObject({
      known: [{ checkpoint: 1 }, { checkpoint: 2 }],
      checkpoints: [{ checkpoint: 4 }],
    });
  });

  it('takes the pre-checkpoint of podman for the parent that it is', async () => {
    const [path, previousPath] = [join(PODMAN, 'checkpoint.tar.gz'), join(PODMAN, 'pre-checkpoint.tar.zst')];
    const request = { storeDirectory, chain: true, workers: 0 };
    await importCheckpoints({ ...request, path: previousPath });
    const { known, checkpoints } = await importCheckpoints({ ...request, path, previousPath });
    expect(known).toEqual([{ checkpoint: 1, path: join(path, 'pre-checkpoint') }]);
    expect(checkpoints).toMatchObject([{ checkpoint: 2, path: join(path, 'checkpoint') }]);
    expect(await importCheckpoints({ ...request, path, previousPath })).toMatchObject({
      known: [{ checkpoint: 1 }, { checkpoint: 2 }],
      checkpoints: [],
    });
    const atOnce = join(work, 'at-once');
    await importCheckpoints({ ...request, storeDirectory: atOnce, path, previousPath });
    await expectSameChain(storeDirectory, atOnce, [[2, 2]]);
    expect(await withStore(storeDirectory, (store) => memoryOf(store, 1, 1))).toEqual(
      await withStore(atOnce, (store) => memoryOf(store, 1, 1)),
    );
  });
});

/** Two dumps of a process with a page of its own each, alike but for what is said here. */
const pair = (first: Partial<DirectoryModel> = {}): [DirectoryModel, DirectoryModel] => {
  const content = (page: number) => new Uint8Array(4096).fill(page);
  const process = { pid: 7, entries: [{ startPage: 16, pageCount: 2, flags: 4 }], content };
  const inherits = [
    { startPage: 16, pageCount: 1, flags: 1 },
    { startPage: 17, pageCount: 1, flags: 4 },
  ];
  const files = { 'dump.log': 'first\n' };
  return [
    { uptime: 1_000_001, processes: [process], files, ...first },
    { uptime: 2_000_001, parent: '../1', processes: [{ ...process, entries: inherits }], files },
  ];
};

describe('directories of the same names', () => {
  it.each([
    ['of another time', { uptime: 1_000_002 }],
    ['with another file of the same size', { files: { 'dump.log': 'other\n' } }],
    ['with one file more', { files: { 'dump.log': 'first\n', more: '' } }],
    [
      'with other pages',
      {
        processes: [
          {
            pid: 7,
            entries: [{ startPage: 16, pageCount: 3, flags: 4 }],
            content: () => Buffer.alloc(4096, 1),
          },
        ],
      },
    ],
  ])('are not taken for those that are stored: %s', async (_, change) => {
    await writeLevel(pair(), 1);
    await importUpTo(1);
    rmSync(images, { recursive: true });
    for (const level of [1, 2]) await writeLevel(pair(change), level);
    expect(await importUpTo(2)).toMatchObject({
      known: [],
      checkpoints: [{ checkpoint: 2 }, { checkpoint: 3 }],
    });
  });

  it('are not taken for those that are stored if one between them has changed', async () => {
    const third: DirectoryModel = { ...pair()[1], uptime: 3_000_001, parent: '../2' };
    const chain = [...pair(), third];
    for (const level of [1, 2]) await writeLevel(chain, level);
    await importUpTo(2);
    writeFileSync(join(images, '1', 'dump.log'), 'other\n');
    await writeLevel(chain, 3);
    expect(await importUpTo(3)).toMatchObject({ known: [], checkpoints: [{}, {}, {}] });
  });

  it('do not stand in the way of others where a checkpoint is damaged', async () => {
    for (const level of [1, 2]) await writeLevel(pair(), level);
    await importUpTo(1);
    const [manifest] = readdirSync(join(storeDirectory, 'checkpoints'));
    const path = join(storeDirectory, 'checkpoints', manifest!);
    writeFileSync(path, readFileSync(path, 'utf8').replace('"preDump"', '"preDumq"'));
    const { known, checkpoints, notes } = await importUpTo(2);
    expect(known).toEqual([]);
    expect(checkpoints).toHaveLength(2);
    expect(notes.join()).toMatch(/checkpoint 1 is not continued: /);
  });
});

/** Stands for SIGKILL: from the chosen point on nothing more happens to the disk. */
class KillAt implements FaultPoints {
  passed = 0;
  readonly #survive: number;

  constructor(survive: number) {
    this.#survive = survive;
  }

  reached(point: FaultPoint): void {
    if (this.passed >= this.#survive) throw new Error(`killed before ${point}`);
    this.passed++;
  }
}

it('a continued import that is killed anywhere leaves all of it or nothing', async () => {
  const third: DirectoryModel = { ...pair()[1], uptime: 3_000_001, parent: '../2' };
  for (const level of [1, 2, 3]) await writeLevel([...pair(), third], level);
  await importUpTo(1);
  const before = join(work, 'before');
  cpSync(storeDirectory, before, { recursive: true });
  const request = { storeDirectory, path: join(images, '3'), chain: true };
  const seen = new Set<number>();
  for (let survive = 0, whole = false; !whole; survive++) {
    rmSync(storeDirectory, { recursive: true });
    cpSync(before, storeDirectory, { recursive: true });
    const faults = new KillAt(survive);
    await withWriter((store, pool) => importImages(request, { store, pool }), faults).catch(() => undefined);
    whole = faults.passed < survive;
    // Who was killed holds no lock.
    rmSync(join(storeDirectory, 'lock'), { force: true });
    const left = await withWriter((store) => store.numbers());
    expect([[1], [1, 2, 3]]).toContainEqual(left);
    expect(await withStore(storeDirectory, damageOf)).toEqual([]);
    if (seen.has(left.length)) continue;
    seen.add(left.length);
    expect(await importUpTo(3)).toMatchObject({ known: left.map((checkpoint) => ({ checkpoint })) });
    expect(await withStore(storeDirectory, (store) => store.numbers())).toEqual([1, 2, 3]);
  }
  expect(seen).toEqual(new Set([1, 3]));
}, 60_000);
