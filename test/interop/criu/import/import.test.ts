import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FIRST_OBJECT_PID } from '../../../../src/image/index.ts';
import { importImages } from '../../../../src/interop/index.ts';
import { patternPage } from '../../../checkpoint/memory-target.ts';
import {
  type DirectoryModel,
  type MemoryModel,
  vmasAround,
  writeImageDirectory,
} from '../image-directory.ts';
import { VMA_STATUS } from '../image-encoder.ts';
import { damageOf, filesOf, memoryOf, withStore } from './stored-memory.ts';

/** How many chains are made up; `CKPT_IMPORT_RUNS` for a long campaign. */
const RUNS = Number(process.env['CKPT_IMPORT_RUNS'] ?? 6);

let top = '';
let work = '';
beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), 'ckpt-import-'));
  work = top;
});
afterEach(() => rmSync(top, { recursive: true, force: true }));

/** What a pagemap says of a page. */
type Said = { readonly value: number; readonly flags: 4 | 6 } | { readonly flags: 1 };
/** One memory in one directory. */
type Memory = ReadonlyMap<number, Said>;

const START = 0x400;
const PAGES = 12;
const OBJECT = '77';
const OBJECT_AT = 0x800;

interface Level {
  readonly preDump: boolean;
  readonly version: '3.17' | '4.2' | 'both';
  /** Of processes 1 and 2 and of the object; undefined where there is no pagemap. */
  readonly memories: readonly (Memory | undefined)[];
}

/** A page refers to the parent only if that knows it. */
function sound(drawn: ReadonlyMap<number, Said>, before: Memory | undefined): Memory {
  return new Map(
    [...drawn].map(([page, said]) => [
      page,
      said.flags === 1 && before?.has(page) !== true ? { value: 9, flags: 4 } : said,
    ]),
  );
}

const said = fc.oneof(
  fc.record({ value: fc.nat(5), flags: fc.constantFrom(4 as const, 6 as const) }),
  fc.constant({ flags: 1 as const }),
);
const memory = fc
  .array(fc.option(said, { freq: 3, nil: undefined }), { minLength: PAGES, maxLength: PAGES })
  .map((pages) => new Map(pages.flatMap((one, page) => (one === undefined ? [] : [[page, one] as const]))));
const levels: fc.Arbitrary<readonly Level[]> = fc
  .array(
    fc.record({
      preDump: fc.boolean(),
      version: fc.constantFrom('3.17', '4.2', 'both'),
      memories: fc.tuple(
        memory,
        fc.option(memory, { nil: undefined }),
        fc.option(memory, { nil: undefined }),
      ),
    }),
    { minLength: 1, maxLength: 4 },
  )
  .map((drawn) => {
    const chain: Level[] = [];
    for (const level of drawn) {
      const before = chain.at(-1);
      const memories = level.memories.map((one, index) =>
        one === undefined ? undefined : sound(one, before?.memories[index]),
      );
      chain.push({ ...level, memories });
    }
    return chain;
  });

/** What a page holds, found page by page from the newest directory on. */
function valuesOf(chain: readonly Level[], level: number, index: number): Map<number, number> {
  const found = new Map<number, number>();
  for (const page of chain[level]!.memories[index]?.keys() ?? []) {
    let at = level;
    let here = chain[at]!.memories[index]!.get(page)!;
    while (here.flags === 1) here = chain[--at]!.memories[index]!.get(page)!;
    found.set(page, here.value);
  }
  return found;
}

function modelOf(pages: Memory, start: number): MemoryModel {
  return {
    entries: [...pages].map(([page, { flags }]) => ({ startPage: start + page, pageCount: 1, flags })),
    content: (page) => {
      const here = pages.get(page - start);
      return patternPage(here === undefined || here.flags === 1 ? 0 : here.value);
    },
  };
}

function directoryOf({ preDump, version, memories }: Level, parent: string | undefined): DirectoryModel {
  const [first, second, object] = memories;
  const own = modelOf(first!, START);
  const mapping = {
    startPage: OBJECT_AT,
    endPage: OBJECT_AT + PAGES,
    status: VMA_STATUS.regular | VMA_STATUS.anonymousShared,
    shmid: BigInt(OBJECT),
  };
  // An object that is mapped has an image, be it one without pages.
  const showing = object === undefined ? [] : [mapping];
  return {
    preDump,
    version,
    ...(parent === undefined ? {} : { parent }),
    processes: [
      { pid: 1, name: 'root', ...own, vmas: [...vmasAround(own.entries), ...showing] },
      ...(second === undefined ? [] : [{ pid: 2, parentPid: 1, ...modelOf(second, START) }]),
    ],
    shared: object === undefined ? [] : [{ id: OBJECT, ...modelOf(object, 0) }],
    files: { 'dump.log': 'said much\n' },
  };
}

async function write(chain: readonly Level[]): Promise<void> {
  work = mkdtempSync(join(top, 'run-'));
  for (const [index, level] of chain.entries()) {
    const parent = index === 0 ? undefined : `../${index}`;
    await writeImageDirectory(join(work, String(index + 1)), directoryOf(level, parent));
  }
}

const contents = (values: ReadonlyMap<number, number>, start: number) =>
  new Map([...values].map(([page, value]) => [start + page, Buffer.from(patternPage(value))]));

/** Compares one checkpoint with one level, page for page. */
async function expectLevel(chain: readonly Level[], level: number, checkpoint: number, store: string) {
  const { preDump, memories } = chain[level]!;
  await withStore(store, async (opened) => {
    const { processes } = (await opened.openCheckpoint(checkpoint)).manifest;
    const object = contents(valuesOf(chain, level, 2), 0);
    const shown = preDump ? [] : [...object].map(([page, content]) => [OBJECT_AT + page, content] as const);
    const own = contents(valuesOf(chain, level, 0), START);
    expect(await memoryOf(opened, checkpoint, 1)).toEqual(new Map([...own, ...shown]));
    const pids = [
      1,
      ...(memories[1] === undefined ? [] : [2]),
      ...(memories[2] === undefined ? [] : [FIRST_OBJECT_PID]),
    ];
    const known = processes.map(({ pid }) => pid);
    // Processes of a pre-dump are those with a pagemap; that of the first is always there.
    expect(known).toEqual(pids);
    if (pids.includes(2)) {
      expect(await memoryOf(opened, checkpoint, 2)).toEqual(contents(valuesOf(chain, level, 1), START));
    }
    if (pids.includes(FIRST_OBJECT_PID)) {
      expect(await memoryOf(opened, checkpoint, FIRST_OBJECT_PID)).toEqual(object);
    }
  });
}

describe('an import', () => {
  it('of a chain holds at every level what a reader finds page by page', async () => {
    await fc.assert(
      fc.asyncProperty(levels, async (chain) => {
        await write(chain);
        const store = join(work, 'store');
        const path = join(work, String(chain.length));
        const result = await importImages({ storeDirectory: store, path, chain: true, workers: 0 });
        expect(result.checkpoints.map(({ preDump }) => preDump)).toEqual(chain.map(({ preDump }) => preDump));
        for (const [level, { checkpoint }] of result.checkpoints.entries()) {
          await expectLevel(chain, level, checkpoint, store);
        }
        expect(await withStore(store, damageOf)).toEqual([]);
      }),
      { numRuns: RUNS },
    );
  }, 120_000);

  it('of one directory holds the same, with the pages of its parents', async () => {
    await fc.assert(
      fc.asyncProperty(levels, async (chain) => {
        await write(chain);
        const store = join(work, 'store');
        const path = join(work, String(chain.length));
        const { checkpoints } = await importImages({ storeDirectory: store, path, workers: 0 });
        expect(checkpoints).toHaveLength(1);
        await expectLevel(chain, chain.length - 1, 1, store);
        const runs = await withStore(store, async (opened) => (await filesOf(opened, 1)).listing.memories);
        expect(
          runs.flatMap(({ runs: { flags } }) => [...flags]).filter((flags) => (flags & 1) !== 0),
        ).toEqual([]);
      }),
      { numRuns: RUNS },
    );
  }, 120_000);

  it('lets go of what an object showed that is empty now', async () => {
    const none = new Map<number, Said>();
    const level = { preDump: false, version: '3.17' } as const;
    const chain = [
      { ...level, memories: [none, undefined, new Map([[9, { value: 3, flags: 4 as const }]])] },
      { ...level, memories: [none, undefined, none] },
    ];
    await write(chain);
    const store = join(work, 'store');
    await importImages({ storeDirectory: store, path: join(work, '2'), chain: true, workers: 0 });
    await expectLevel(chain, 0, 1, store);
    await expectLevel(chain, 1, 2, store);
  });

  it('follows an object that shrinks, moves and grows, and a process in the place of another', async () => {
    const entries = (flags: number, ...pages: number[]) =>
      pages.map((startPage) => ({ startPage, pageCount: 1, flags }));
    const contentOf = (level: number, page: number) => page * 4 + level;
    const chain = [
      {
        own: entries(4, 16, 17, 18),
        other: entries(4, 16, 17),
        object: entries(4, 0, 1, 5),
        at: [0x100, 6, 0],
      },
      { own: [...entries(1, 16), ...entries(4, 18, 0x101)], object: entries(1, 1), at: [0x200, 2, 1] },
      {
        own: [...entries(1, 16), ...entries(6, 17), ...entries(1, 18)],
        other: entries(4, 17),
        object: [...entries(1, 1), ...entries(4, 4)],
        at: [0x100, 6, 0],
      },
    ] as const;
    for (const [index, { own, object, at, ...level }] of chain.entries()) {
      const content = (page: number) => patternPage(contentOf(index + 1, page));
      const shared = {
        startPage: at[0],
        endPage: at[0] + at[1],
        offsetPages: at[2],
        status: VMA_STATUS.regular | VMA_STATUS.anonymousShared,
        shmid: BigInt(OBJECT),
      };
      const vmas = [...vmasAround(own), shared].sort((a, b) => a.startPage - b.startPage);
      const second = 'other' in level ? [{ pid: 2, parentPid: 1, entries: level.other, content }] : [];
      await writeImageDirectory(join(work, String(index + 1)), {
        ...(index === 0 ? {} : { parent: `../${index}` }),
        processes: [{ pid: 1, entries: own, content, vmas }, ...second],
        shared: [{ id: OBJECT, entries: object, content }],
      });
    }
    const store = join(work, 'store');
    await importImages({ storeDirectory: store, path: join(work, '3'), chain: true, workers: 0 });
    // Page in the process, page that it was and level that it is of.
    const expected: Readonly<Record<string, readonly (readonly [number, number, number])[]>> = {
      '1/1': [
        ...[16, 17, 18].map((page) => [page, page, 1] as const),
        [0x100, 0, 1],
        [0x101, 1, 1],
        [0x105, 5, 1],
      ],
      '2/1': [
        [16, 16, 1],
        [18, 18, 2],
        [0x101, 0x101, 2],
        [0x200, 1, 1],
      ],
      '3/1': [
        [16, 16, 1],
        [17, 17, 3],
        [18, 18, 2],
        [0x101, 1, 1],
        [0x104, 4, 3],
      ],
      '1/2': [
        [16, 16, 1],
        [17, 17, 1],
      ],
      '3/2': [[17, 17, 3]],
    };
    await withStore(store, async (opened, codec) => {
      for (const [place, pages] of Object.entries(expected)) {
        const [checkpoint = 0, pid = 0] = place.split('/').map(Number);
        const wanted = pages.map(
          ([at, page, level]) => [at, Buffer.from(patternPage(contentOf(level, page)))] as const,
        );
        expect(await memoryOf(opened, checkpoint, pid)).toEqual(new Map(wanted));
      }
      expect(await damageOf(opened, codec)).toEqual([]);
    });
  });

  it('takes a process that has ended, whose only thread CRIU 3.17.1 does not name', async () => {
    const pages: Memory = new Map([[0, { value: 1, flags: 4 }]]);
    const model = directoryOf({ preDump: false, version: '3.17', memories: [pages] }, undefined);
    const ended = { pid: 2, parentPid: 1, name: 'ended', state: 6, threads: [72], ...modelOf(new Map(), 0) };
    await writeImageDirectory(join(work, '1'), { ...model, processes: [...model.processes, ended] });
    const store = join(work, 'store');
    await importImages({ storeDirectory: store, path: join(work, '1'), workers: 0 });
    await withStore(store, async (opened) => {
      const { processes } = (await opened.openCheckpoint(1)).manifest;
      expect(processes.map(({ pid, name, vmas }) => [pid, name, vmas.length])).toEqual([
        [1, 'root', 1],
        [2, 'ended', 0],
      ]);
      expect(await memoryOf(opened, 1, 2)).toEqual(new Map());
    });
  });

  it('keeps every other file byte for byte, and what CRIU said of each page', async () => {
    const pages: Memory = new Map([
      [0, { value: 1, flags: 6 }],
      [1, { value: 2, flags: 4 }],
      [5, { value: 3, flags: 6 }],
    ]);
    const model = directoryOf({ preDump: false, version: '4.2', memories: [pages] }, undefined);
    const random = Buffer.from(Array.from({ length: 3 << 20 }, (_, index) => (index * 31) >> 3));
    const files = { 'tmpfs-1.tar.gz.img': random, 'dump.log': '', 'sub/more/x': 'y' };
    await writeImageDirectory(join(work, '1'), { ...model, files });
    const store = join(work, 'store');
    await importImages({ storeDirectory: store, path: join(work, '1'), workers: 0 });
    await withStore(store, async (opened) => {
      const { listing, contents: kept } = await filesOf(opened, 1);
      expect(kept.get('tmpfs-1.tar.gz.img')?.equals(random)).toBe(true);
      expect(kept.get('sub/more/x')?.toString()).toBe('y');
      expect(listing.files.map(({ name, kind }) => [name, kind])).toEqual([
        ...['core-1.img', 'dump.log', 'fdinfo-1.img', 'files.img', 'fs-1.img', 'ids-1.img'].map((name) => [
          name,
          'file',
        ]),
        ...['inventory.img', 'mm-1.img', 'pstree.img'].map((name) => [name, 'file']),
        ['sub', 'directory'],
        ['sub/more', 'directory'],
        ['sub/more/x', 'file'],
        ['tmpfs-1.tar.gz.img', 'file'],
      ]);
      const [memories] = listing.memories;
      expect(memories).toMatchObject({ name: 'pagemap-1.img', pid: 1, sharedMemory: null, pagesId: 1 });
      expect([...memories!.runs.startPages]).toEqual([START, START + 1, START + 5]);
      expect([...memories!.runs.flags]).toEqual([6, 4, 6]);
    });
  });

  it('does not keep a store in itself', async () => {
    const pages: Memory = new Map([[0, { value: 1, flags: 4 }]]);
    const model = directoryOf({ preDump: false, version: '3.17', memories: [pages] }, undefined);
    await writeImageDirectory(join(work, '1'), model);
    const request = { storeDirectory: join(work, '1', 'store'), path: join(work, '1'), workers: 0 };
    const first = await importImages(request);
    const second = await importImages(request);
    expect(second.checkpoints.map(({ files }) => files)).toEqual(first.checkpoints.map(({ files }) => files));
    expect(second.notes).toEqual([`${join(work, '1', 'store')} is left out: it is a store`]);
  });

  it('calls the processes of pre-dumps by what the dump calls them', async () => {
    const pages: Memory = new Map([[0, { value: 1, flags: 4 }]]);
    const level = { version: '3.17', memories: [pages, pages] } as const;
    await write([
      { ...level, preDump: true },
      { ...level, preDump: false },
    ]);
    const store = join(work, 'store');
    const result = await importImages({
      storeDirectory: store,
      path: join(work, '2'),
      chain: true,
      workers: 0,
    });
    expect(result.target).toBe('root');
    await withStore(store, async (opened) => {
      const manifests = await opened.manifests();
      expect(manifests.map(({ target: { kind, name } }) => [kind, name])).toEqual([
        ['criu', 'root'],
        ['criu', 'root'],
      ]);
      expect(new Set(manifests.map(({ target }) => target.fingerprint)).size).toBe(1);
      for (const { processes } of manifests) {
        expect(processes.map(({ pid, parentPid, name }) => [pid, parentPid, name])).toEqual([
          [1, 0, 'root'],
          [2, 1, 'program'],
        ]);
      }
    });
  });
});
