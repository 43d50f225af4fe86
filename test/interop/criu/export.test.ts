import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pruneDirectory, readStore, squashDirectory } from '../../../src/checkpoint/index.ts';
import { InterruptedError } from '../../../src/core/index.ts';
import { LazyPages } from '../../../src/interop/criu/page-server/lazy-pages.ts';
import { exportImages } from '../../../src/interop/index.ts';
import { anonymousVma, patternPage } from '../../checkpoint/memory-target.ts';
import { processState } from '../states.ts';
import { StatefulTarget, storeCheckpoint } from '../stored-target.ts';
import { readMemory, readPages } from './image-reader.ts';
import {
  type ModelLevel,
  type ModelMemory,
  type ModelPage,
  noise,
  pagemapOf,
  storeLevels,
} from './stored-images.ts';

const PARENT = 1;
const LAZY = 2;
const PRESENT = 4;

let work = '';
let storeDirectory = '';
let outputDirectory = '';
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-export-'));
  storeDirectory = join(work, 'store');
  outputDirectory = join(work, 'out');
});
afterEach(() => rmSync(work, { recursive: true, force: true }));

const flat = { layout: 'flat', workers: 0 } as const;
const chain = { layout: 'chain', workers: 0 } as const;
const INVENTORY = { name: 'inventory.img', content: Buffer.from('16313158020000000802', 'hex') };
const PARENT_LINK = { name: 'parent', target: '../before' };

const memory = (id: ModelMemory['id'], pages: Readonly<Record<number, ModelPage>>): ModelMemory => ({
  id,
  pagesId: typeof id === 'number' ? id : 65_537,
  pages: new Map(Object.entries(pages).map(([page, one]) => [Number(page), one])),
});

/** A base of two pages and a directory that changes one of them. */
const TWO_LEVELS: readonly ModelLevel[] = [
  {
    preDump: true,
    files: [INVENTORY],
    memories: [memory(7, { 16: { value: 1, flags: 6 }, 17: { value: 2, flags: 4 } })],
  },
  {
    files: [INVENTORY, PARENT_LINK],
    memories: [
      memory(7, { 16: { value: 1, flags: 1 }, 17: { value: 3, flags: 6 }, 18: { value: 0, flags: 4 } }),
    ],
  },
];

const contentsOf = (level: ModelLevel, id: ModelMemory['id']) =>
  new Map([...level.memories.find((one) => one.id === id)!.pages].map(([page, { value }]) => [page, value]));

const readContents = (directory: string, id: ModelMemory['id']) =>
  [...readPages(directory, `pagemap-${id}.img`, 'old')].map(([page, { content }]) => [page, content]);

const asPatterns = (contents: ReadonlyMap<number, number>) =>
  [...contents].sort(([a], [b]) => a - b).map(([page, value]) => [page, Buffer.from(patternPage(value))]);

async function pageOf(served: LazyPages, pid: number, page: number): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of served.read(pid, { startPage: page, endPage: page + 1 })) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** Chains of up to four directories, with a process and a shared memory object that come and go. */
const arbitraryLevels = fc
  .array(
    fc.array(
      fc.record({
        id: fc.constantFrom<ModelMemory['id']>(7, 8, 'shmem-5'),
        page: fc.integer({ min: 0, max: 30 }),
        value: fc.integer({ min: 0, max: 3 }),
        flags: fc.constantFrom(1, 4, 6),
      }),
      { minLength: 1, maxLength: 60 },
    ),
    { minLength: 1, maxLength: 4 },
  )
  .map((written): ModelLevel[] => {
    let before = new Map<ModelMemory['id'], Map<number, ModelPage>>();
    return written.map((changes, index) => {
      const now = new Map<ModelMemory['id'], Map<number, ModelPage>>();
      for (const { id, page, value, flags } of changes) {
        const pages = now.get(id) ?? new Map<number, ModelPage>();
        now.set(id, pages);
        const inherited = before.get(id)?.get(page);
        if (flags !== PARENT) pages.set(page, { value, flags });
        else if (inherited !== undefined) pages.set(page, { value: inherited.value, flags });
      }
      before = now;
      const memories = [...now].map(([id, pages], order): ModelMemory => ({ id, pagesId: order + 1, pages }));
      return {
        preDump: index < written.length - 1,
        files: index === 0 ? [INVENTORY] : [INVENTORY, PARENT_LINK],
        memories,
      };
    });
  });

describe('exportImages()', () => {
  it('writes chains whose pages and flags are those that were imported', async () => {
    await fc.assert(
      fc.asyncProperty(
        arbitraryLevels,
        fc.constantFrom('3.17' as const, '4.2' as const, undefined),
        async (levels, criuVersion) => {
          rmSync(work, { recursive: true, force: true });
          mkdirSync(work);
          await storeLevels(storeDirectory, levels);
          const result = await exportImages({
            ...chain,
            storeDirectory,
            checkpoint: 'latest',
            outputDirectory,
            criuVersion,
          });
          expect(result.directories.map(({ checkpoint, parent }) => [checkpoint, parent])).toEqual(
            levels.map((_, index) => [index + 1, index === 0 ? null : index]),
          );
          for (const [index, level] of levels.entries()) {
            const directory = join(outputDirectory, String(index + 1));
            for (const one of level.memories) {
              const read = readPages(directory, pagemapOf(one), criuVersion === '4.2' ? 'new' : 'old');
              const expected = [...one.pages].sort(([a], [b]) => a - b);
              expect([...read].map(([page, { flags }]) => [page, flags])).toEqual(
                expected.map(([page, { flags }]) => [page, flags]),
              );
              for (const [page, { value }] of expected) {
                expect(read.get(page)?.content.equals(patternPage(value))).toBe(true);
              }
            }
          }
        },
      ),
      { numRuns: 6 },
    );
  });

  it('writes flat directories that need no other', async () => {
    await fc.assert(
      fc.asyncProperty(
        arbitraryLevels,
        fc.constantFrom('old' as const, 'new' as const),
        async (levels, generation) => {
          rmSync(work, { recursive: true, force: true });
          mkdirSync(work);
          await storeLevels(storeDirectory, levels);
          await exportImages({ ...flat, storeDirectory, checkpoint: levels.length, outputDirectory });
          expect(existsSync(join(outputDirectory, 'parent'))).toBe(false);
          for (const one of levels.at(-1)!.memories) {
            const read = readPages(outputDirectory, pagemapOf(one), generation);
            const isObject = typeof one.id === 'string';
            for (const [page, { value, flags }] of one.pages) {
              const expected = flags === PARENT ? (isObject ? PRESENT : PRESENT | LAZY) : flags;
              expect(read.get(page)?.flags).toBe(expected);
              expect(read.get(page)?.content.equals(patternPage(value))).toBe(true);
            }
            expect(read.size).toBe(one.pages.size);
          }
        },
      ),
      { numRuns: 6 },
    );
  });

  it('keeps other files byte for byte, with links and directories, for its owner alone', async () => {
    const files = [
      { name: 'core-7.img', content: noise('core', 700_000), mode: 0o4755 },
      { name: 'deep', mode: 0o500 },
      { name: 'deep/empty', content: Buffer.alloc(0), mode: 0o400 },
      INVENTORY,
      { name: 'link', target: '/nowhere/at all' },
      { name: 'unlisted/directory/file', content: noise('file', 10) },
    ];
    await storeLevels(storeDirectory, [{ files, memories: [memory(7, { 1: { value: 1, flags: 4 } })] }]);
    const result = await exportImages({ ...flat, storeDirectory, checkpoint: 1, outputDirectory });
    expect(result.directories).toEqual([
      {
        checkpoint: 1,
        directory: outputDirectory,
        parent: null,
        memories: 1,
        pages: 1,
        zeroPages: 0,
        parentPages: 0,
        lazyPages: 0,
        files: 6,
        bytes: 4096 + 700_000 + 10 + INVENTORY.content.length,
      },
    ]);
    for (const { name, content } of files) {
      if (content !== undefined) expect(readFileSync(join(outputDirectory, name)).equals(content)).toBe(true);
    }
    const modes = ['', 'core-7.img', 'deep', 'deep/empty', 'pages-7.img', 'pagemap-7.img'];
    expect(modes.map((name) => statSync(join(outputDirectory, name)).mode & 0o7777)).toEqual([
      0o700, 0o755, 0o700, 0o400, 0o600, 0o600,
    ]);
    expect(readlinkSync(join(outputDirectory, 'link'))).toBe('/nowhere/at all');
    expect(readdirSync(work).sort()).toEqual(['out', 'store']);
  });

  it('links the directories of a chain to each other, whatever they were called', async () => {
    await storeLevels(storeDirectory, TWO_LEVELS);
    const result = await exportImages({ ...chain, storeDirectory, checkpoint: 'latest', outputDirectory });
    expect(result.imagesDirectory).toBe(join(outputDirectory, '2'));
    expect(readlinkSync(join(outputDirectory, '2/parent'))).toBe('../1');
    expect(readdirSync(join(outputDirectory, '1')).sort()).toEqual([
      'inventory.img',
      'pagemap-7.img',
      'pages-7.img',
    ]);
    expect(result.directories[1]).toMatchObject({ pages: 2, zeroPages: 1, parentPages: 1, parent: 1 });
  });

  it('leaves pages that may come later to the page server, by the mappings they are in', async () => {
    const vmas = [
      anonymousVma(16, 18),
      { ...anonymousVma(18, 19), flags: ['rd', 'wr', 'lo'] },
      { ...anonymousVma(19, 20), inode: 5, pathname: '/bin/program' },
      { ...anonymousVma(20, 21), flags: ['rd', 'ht'] },
      { ...anonymousVma(21, 22), pathname: '[vdso]' },
      { ...anonymousVma(22, 23), pathname: '[heap]' },
    ];
    const pages = new Map([16, 17, 18, 19, 20, 21, 22].map((page) => [page, { value: page, flags: 4 }]));
    await storeLevels(storeDirectory, [
      {
        files: [INVENTORY],
        memories: [{ id: 7, pagesId: 1, pages, vmas }, memory('shmem-9', { 0: { value: 9, flags: 4 } })],
      },
    ]);
    const result = await exportImages({
      ...flat,
      storeDirectory,
      checkpoint: 1,
      outputDirectory,
      lazy: true,
    });
    const { entries } = readMemory(outputDirectory, 'pagemap-7.img', 'old');
    expect(entries.map(({ startPage, pageCount, flags }) => [startPage, pageCount, flags])).toEqual([
      [16, 2, LAZY],
      [18, 4, PRESENT],
      [22, 1, LAZY],
    ]);
    expect(readContents(outputDirectory, 'shmem-9')).toEqual([[0, Buffer.from(patternPage(9))]]);
    expect(result.directories[0]).toMatchObject({ pages: 5, lazyPages: 3 });
  });

  it('leaves nothing to the page server that it could not hand over', async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryLevels, async (levels) => {
        rmSync(work, { recursive: true, force: true });
        mkdirSync(work);
        await storeLevels(storeDirectory, levels);
        await exportImages({
          ...flat,
          storeDirectory,
          checkpoint: levels.length,
          outputDirectory,
          lazy: true,
        });
        await readStore(
          storeDirectory,
          async (store) => {
            const served = new LazyPages(await store.openCheckpoint(levels.length));
            for (const one of levels.at(-1)!.memories) {
              for (const [page, { flags, content }] of readPages(outputDirectory, pagemapOf(one), 'old')) {
                const expected = patternPage(one.pages.get(page)!.value);
                expect(flags).toBe(typeof one.id === 'number' ? LAZY : PRESENT);
                if (flags === PRESENT) expect(content.equals(expected)).toBe(true);
                else expect(await pageOf(served, Number(one.id), page)).toEqual(Buffer.from(expected));
              }
            }
          },
          0,
        );
      }),
      { numRuns: 5 },
    );
  });

  it('warns that pagemaps alone do not make images of a later CRIU older', async () => {
    const later = Buffer.from('163131580d000000080040e0ede3f4cb0348016200', 'hex');
    const memories = [memory(7, { 16: { value: 1, flags: 4 } })];
    await storeLevels(storeDirectory, [{ files: [{ name: 'inventory.img', content: later }], memories }]);
    const request = { ...flat, storeDirectory, checkpoint: 1 } as const;
    const older = await exportImages({ ...request, outputDirectory, criuVersion: '3.17' });
    expect(older.warnings).toEqual([expect.stringContaining('the rest is as it was')]);
    const any = await exportImages({ ...request, outputDirectory: join(work, 'any') });
    expect(any.warnings).toEqual([]);
  });

  it('leaves room for zeros without writing them', async () => {
    const pages: Record<number, ModelPage> = {};
    for (let page = 0; page < 2000; page++) pages[page] = { value: page === 1000 ? 1 : 0, flags: 4 };
    await storeLevels(storeDirectory, [{ files: [INVENTORY], memories: [memory(7, pages)] }]);
    const result = await exportImages({ ...flat, storeDirectory, checkpoint: 1, outputDirectory });
    expect(result.directories[0]).toMatchObject({ pages: 2000, zeroPages: 1999 });
    const { size, blocks } = statSync(join(outputDirectory, 'pages-7.img'));
    expect(size).toBe(2000 * 4096);
    expect(blocks * 512).toBeLessThan(100 * 4096);
  });

  it('gives the images of an archive, without what stood around them', async () => {
    const files = [
      { name: 'checkpoint', mode: 0o700 },
      { name: 'checkpoint/inventory.img', content: INVENTORY.content },
      { name: 'checkpoint/parent', target: '../pre-checkpoint' },
      { name: 'config.dump', content: Buffer.from('{}') },
      { name: 'rootfs-diff.tar', content: noise('tar', 300_000) },
    ];
    await storeLevels(storeDirectory, [
      { imagesPath: 'checkpoint', files, memories: [memory(1, { 5: { value: 5, flags: 4 } })] },
    ]);
    const result = await exportImages({ ...flat, storeDirectory, checkpoint: 1, outputDirectory });
    expect(result.imagesDirectory).toBe(outputDirectory);
    expect(readdirSync(outputDirectory).sort()).toEqual(['inventory.img', 'pagemap-1.img', 'pages-1.img']);
  });

  it.each([
    ['pruned', (directory: string) => pruneDirectory({ storeDirectory: directory, keep: 1, dryRun: false })],
    [
      'squashed',
      (directory: string) => squashDirectory({ storeDirectory: directory, checkpoint: 2, dryRun: false }),
    ],
  ])('begins a chain with a whole directory where the one before was %s', async (_, change) => {
    await storeLevels(storeDirectory, TWO_LEVELS);
    await change(storeDirectory);
    const result = await exportImages({ ...chain, storeDirectory, checkpoint: 'latest', outputDirectory });
    expect(result.directories).toMatchObject([{ checkpoint: 2, parent: null, pages: 3 }]);
    expect(result.warnings).toEqual([expect.stringContaining('has all pages itself')]);
    expect(readdirSync(outputDirectory)).toEqual(['2']);
    expect(readContents(join(outputDirectory, '2'), 7)).toEqual(asPatterns(contentsOf(TWO_LEVELS[1]!, 7)));
  });
});

describe('exportImages() refuses', () => {
  const attempt = (more: Partial<Parameters<typeof exportImages>[0]> = {}) =>
    exportImages({ ...flat, storeDirectory, checkpoint: 'latest', outputDirectory, ...more });

  afterEach(() => expect(readdirSync(work).filter((name) => name.startsWith('.'))).toEqual([]));

  it('to write over anything', async () => {
    await storeLevels(storeDirectory, TWO_LEVELS);
    mkdirSync(outputDirectory);
    await expect(attempt()).rejects.toMatchObject({ code: 'output' });
    rmSync(outputDirectory, { recursive: true });
    writeFileSync(outputDirectory, 'precious');
    await expect(attempt()).rejects.toMatchObject({ code: 'output' });
    expect(readFileSync(outputDirectory, 'utf8')).toBe('precious');
  });

  it('a pre-dump that is to be restored, but not one that is to be dumped upon', async () => {
    await storeLevels(storeDirectory, TWO_LEVELS);
    await expect(attempt({ checkpoint: 1 })).rejects.toMatchObject({
      code: 'target',
      message: expect.stringContaining('pre-dump'),
    });
    const { warnings } = await attempt({ checkpoint: 1, layout: 'chain' });
    expect(warnings).toEqual([expect.stringContaining('is a pre-dump')]);
  });

  it('checkpoints of ckpt itself', async () => {
    await storeCheckpoint(storeDirectory, new StatefulTarget([processState(100)]));
    await expect(attempt()).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('none of the images that criu restore needs'),
      hint: expect.stringContaining('ckpt restore --at 1 --new'),
    });
  });

  it('lazy chains', async () => {
    await storeLevels(storeDirectory, TWO_LEVELS);
    await expect(attempt({ layout: 'chain', lazy: true })).rejects.toMatchObject({ code: 'usage' });
  });

  it('to go on when it is interrupted', async () => {
    await storeLevels(storeDirectory, TWO_LEVELS);
    const signal = AbortSignal.abort(new InterruptedError('SIGINT'));
    await expect(attempt({ signal })).rejects.toThrow(InterruptedError);
    expect(existsSync(outputDirectory)).toBe(false);
  });

  it('a damaged store', async () => {
    await storeLevels(storeDirectory, TWO_LEVELS);
    const pack = join(storeDirectory, 'packs', readdirSync(join(storeDirectory, 'packs'))[0]!);
    const bytes = readFileSync(pack);
    for (let at = 40; at < bytes.length; at += 97) bytes[at]! ^= 1;
    writeFileSync(pack, bytes);
    await expect(attempt()).rejects.toMatchObject({ code: 'integrity' });
    expect(existsSync(outputDirectory)).toBe(false);
  });

  it.each<[string, RegExp, Partial<ModelLevel>]>([
    [
      'a pagemap of pages that are not there',
      /pagemap-7.img of checkpoint 1 lacks the page at 0x63000/,
      {
        forged: (listing) => ({
          ...listing,
          memories: listing.memories.map((one) => ({
            ...one,
            runs: {
              startPages: Float64Array.of(16, 99),
              pageCounts: Float64Array.of(1, 1),
              flags: Uint8Array.of(4, 4),
            },
          })),
        }),
      },
    ],
    [
      'a pagemap with a path',
      /no name of a pagemap/,
      {
        forged: (listing) => ({
          ...listing,
          memories: listing.memories.map((one) => ({ ...one, name: '../pagemap-7.img' })),
        }),
      },
    ],
    [
      'a file that leads outside',
      /relative path/,
      { files: [{ name: '../outside', content: noise('x', 9) }] },
    ],
    [
      'a file behind a link',
      /cannot write/,
      {
        files: [INVENTORY, { name: 'link', target: '..' }, { name: 'link/outside', content: noise('x', 9) }],
      },
    ],
    [
      'a file beyond the content',
      /lies outside of what was kept/,
      {
        files: [INVENTORY],
        forged: (listing) => ({ ...listing, files: listing.files.map((file) => ({ ...file, bytes: 99 })) }),
      },
    ],
    [
      'two files in one place',
      /lies outside of what was kept/,
      {
        files: [INVENTORY, { name: 'second', content: noise('x', 9) }],
        forged: (listing) => ({ ...listing, files: listing.files.map((file) => ({ ...file, offset: 0 })) }),
      },
    ],
    ['two files of one name', /cannot write/, { files: [INVENTORY, INVENTORY] }],
  ])('%s', async (_, message, level) => {
    const memories = [memory(7, { 16: { value: 1, flags: 4 } })];
    await storeLevels(storeDirectory, [{ files: [INVENTORY], memories, ...level }]);
    await expect(attempt()).rejects.toThrow(message);
    expect(existsSync(outputDirectory)).toBe(false);
    expect(existsSync(join(work, 'outside'))).toBe(false);
  });
});
