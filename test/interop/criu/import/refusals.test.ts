import { execFileSync } from 'node:child_process';
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CkptError } from '../../../../src/core/index.ts';
import { newFilesOf } from '../../../../src/interop/criu/import-files.ts';
import { importCheckpoints, importImages } from '../../../../src/interop/index.ts';
import { unpackCriuImages } from '../../../cases/criu/unpack.ts';
import { patternPage } from '../../../checkpoint/memory-target.ts';
import { type DirectoryModel, writeImageDirectory } from '../image-directory.ts';
import { entry, image, mmImage, pagemapImage, VMA_STATUS, word } from '../image-encoder.ts';
import { nested, number } from '../protobuf.ts';
import { damageOf, withStore } from './stored-memory.ts';

let work = '';
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-refused-'));
});
afterEach(() => rmSync(work, { recursive: true, force: true }));

const at = (...names: string[]) => join(work, ...names);

/** A chain of three: a page of the first goes through all, one is new in each. */
async function writeChain(): Promise<void> {
  for (const level of [1, 2, 3]) {
    const older = level === 1 ? { flags: 6 } : { flags: 1 };
    const model: DirectoryModel = {
      preDump: level < 3,
      ...(level === 1 ? {} : { parent: `../${level - 1}` }),
      processes: [
        {
          pid: 1,
          entries: [
            { startPage: 0x400, pageCount: 1, ...older },
            { startPage: 0x401, pageCount: 2, flags: 6 },
          ],
          content: (page) => patternPage(page * 10 + level),
        },
      ],
    };
    await writeImageDirectory(at(String(level)), model);
  }
}

const importChain = (path = at('3')) =>
  importImages({ storeDirectory: at('store'), path, chain: true, workers: 0 });

/** Changes one directory, imports, and expects an error and a store that is as if nothing had been. */
async function expectRefused(code: string, text: RegExp, path?: string): Promise<void> {
  const error = await importChain(path).catch((thrown: unknown) => thrown);
  if (!(error instanceof CkptError)) throw new Error('nothing was refused', { cause: error });
  expect(error.code).toBe(code);
  expect(`${error.message}; ${error.hint ?? ''}`).toMatch(text);
  const left = await withStore(at('store'), async (store, codec) => [
    await store.numbers(),
    await store.packs(),
    await damageOf(store, codec),
  ]).catch(() => [[], [], []]);
  expect(left).toEqual([[], [], []]);
}

const inventory = (version: number, ...more: Buffer[]) =>
  Buffer.concat([word(0x58313116), entry(number(1, version), ...more)]);

describe('an import refuses', () => {
  beforeEach(writeChain);

  const put = (name: string, content: Uint8Array) => () => writeFileSync(at(name), content);
  const lost = (name: string) => () => rmSync(at(name), { recursive: true });
  const cut = (name: string, bytes: number) => () => truncateSync(at(name), bytes);
  const page = (flags: number) => [{ startPage: 0x400, pageCount: 1, flags }];
  it.each<[string, () => void, string, RegExp]>([
    [
      'a page that the parent lacks',
      put('1/pagemap-1.img', pagemapImage('both', 1, [{ startPage: 0x401, pageCount: 3, flags: 6 }])),
      'integrity',
      /1\/pagemap-1\.img lacks the page 0x400000, which its child/,
    ],
    [
      'a parent without the pagemap',
      () => renameSync(at('1/pagemap-1.img'), at('1/pagemap-2.img')),
      'integrity',
      /2\/pagemap-1\.img has the page 0x400000 from its parent, but \.\.\/1 has no pagemap-1\.img/,
    ],
    [
      'pages of a parent that is none',
      lost('3/parent'),
      'integrity',
      /3\/pagemap-1\.img has the page 0x400000 from its parent, but there is no parent/,
    ],
    ['a parent that is not there', lost('1'), 'integrity', /2\/parent says \.\.\/1: there is nothing/],
    [
      'a short pages file',
      cut('2/pages-1.img', 8191),
      'integrity',
      /2\/pages-1\.img is damaged at byte 8191/,
    ],
    [
      'a missing pages file',
      lost('2/pages-1.img'),
      'integrity',
      /2\/pages-1\.img is missing: pagemap-1\.img has 2 pages in it/,
    ],
    [
      'a pagemap that is cut off',
      cut('2/pagemap-1.img', 20),
      'integrity',
      /2\/pagemap-1\.img is damaged at byte 18: cut off/,
    ],
    [
      'an image that is cut off',
      cut('3/core-1.img', 100),
      'integrity',
      /3\/core-1\.img is damaged at byte 12: cut off/,
    ],
    [
      'an image of another kind',
      () => cpSync(at('3/core-1.img'), at('3/fs-1.img')),
      'integrity',
      /3\/fs-1\.img is damaged at byte 4: it is an image CORE and no FS/,
    ],
    [
      'garbage for an image',
      put('3/fdinfo-1.img', Buffer.alloc(50)),
      'integrity',
      /3\/fdinfo-1\.img is no image of CRIU/,
    ],
    ['a missing image of a process', lost('3/mm-1.img'), 'integrity', /mm-1\.img/],
    [
      'a missing image of a thread',
      put(
        '3/pstree.img',
        image(
          0x50273030,
          entry(number(1, 1), number(2, 0), number(3, 1), number(4, 1), number(5, 1), number(5, 9)),
        ),
      ),
      'integrity',
      /core-9\.img/,
    ],
    [
      'a missing process tree',
      lost('3/pstree.img'),
      'integrity',
      /3\/pstree\.img is missing: the inventory is that of a dump/,
    ],
    [
      'a process before its parent',
      put(
        '3/pstree.img',
        image(0x50273030, entry(number(1, 1), number(2, 5), number(3, 1), number(4, 1), number(5, 1))),
      ),
      'integrity',
      /byte 8: process 1 with the parent 5 is out of place in the tree/,
    ],
    [
      'a tree of nothing',
      put('3/pstree.img', image(0x50273030)),
      'integrity',
      /3\/pstree\.img is damaged at byte 8: it has no process/,
    ],
    [
      'a memory without a process',
      () => cpSync(at('1/pagemap-1.img'), at('3/pagemap-7.img')),
      'integrity',
      /pagemap-7\.img/,
    ],
    [
      'pages in no mapping',
      put(
        '3/mm-1.img',
        mmImage([
          { startPage: 0x401, endPage: 0x403, status: VMA_STATUS.regular | VMA_STATUS.anonymousPrivate },
        ]),
      ),
      'integrity',
      /3\/pagemap-1\.img has the page 0x400000, which no mapping/,
    ],
    [
      'two memories in one pages file',
      () => cpSync(at('1/pagemap-1.img'), at('1/pagemap-2.img')),
      'integrity',
      /pagemap-2\.img is damaged at byte 8: its pages_id 1 is that of pagemap-1\.img/,
    ],
    [
      'two memories in one pages file, though none is there: an export of all pages would write it twice',
      () => {
        lost('2/pages-1.img')();
        put('2/pagemap-1.img', pagemapImage('both', 1, page(1)))();
        put('2/pagemap-2.img', pagemapImage('both', 1, []))();
      },
      'integrity',
      /pagemap-2\.img is damaged at byte 8: its pages_id 1 is that of pagemap-1\.img/,
    ],
    [
      'a process whose number stands for shared memory in a store',
      put('1/pagemap-4194304.img', pagemapImage('both', 9, [])),
      'integrity',
      /1\/pagemap-4194304\.img is damaged at byte 0: no process can have the PID 4194304/,
    ],
    [
      'a process of such a number in the tree',
      put(
        '3/pstree.img',
        image(0x50273030, entry(number(1, 4194304), number(2, 0), number(3, 1), number(4, 1), number(5, 1))),
      ),
      'integrity',
      /pstree\.img is damaged at byte 8: no process can have the PID 4194304/,
    ],
    [
      'a parent that is no directory of images',
      lost('1/inventory.img'),
      'integrity',
      /2\/parent says \.\.\/1: .*\/1 is no directory of CRIU images: it has no inventory\.img/,
    ],
    [
      'images that are links',
      () => {
        unlinkSync(at('2/pages-1.img'));
        symlinkSync('/etc/passwd', at('2/pages-1.img'));
      },
      'integrity',
      /2\/pages-1\.img is no file: images are neither links/,
    ],
    [
      'a chain that bites its tail',
      () => symlinkSync('../3', at('1/parent')),
      'integrity',
      /1\/parent says \.\.\/3: it leads back to/,
    ],
    [
      'a directory that has been left on a page server',
      put(
        '1/pagemap-1.img',
        pagemapImage('both', 1, [...page(2), { startPage: 0x401, pageCount: 2, flags: 6 }]),
      ),
      'integrity',
      /pages-1\.img is damaged at byte 8192/,
    ],
    [
      'pages compressed with LZ4',
      put('2/inventory.img', inventory(3, number(20, 1))),
      'unsupported',
      /compressed with LZ4 \(img_version 3\)/,
    ],
    [
      'images of a later layout',
      put('2/inventory.img', inventory(7)),
      'unsupported',
      /images of version 7 are not known/,
    ],
    [
      'an inventory of nothing',
      put('2/inventory.img', word(0x58313116)),
      'integrity',
      /2\/inventory\.img is damaged at byte 4: it is empty/,
    ],
    ['a directory without an inventory', lost('3/inventory.img'), 'usage', /has no inventory\.img/],
    [
      'blocks of LZ4',
      put(
        '2/pagemap-1.img',
        image(
          0x56084025,
          entry(number(1, 1)),
          entry(number(1, 0x400000), number(2, 0), number(4, 4), number(5, 64), nested(6, number(2, 10))),
        ),
      ),
      'unsupported',
      /compressed with LZ4/,
    ],
  ])('%s', async (_name, change, code, message) => {
    change();
    await expectRefused(code, message);
  });

  it('pages that are on a page server alone', async () => {
    truncateSync(at('1/pages-1.img'), 8192);
    put(
      '1/pagemap-1.img',
      pagemapImage('both', 1, [...page(2), { startPage: 0x401, pageCount: 2, flags: 6 }]),
    )();
    await expectRefused('unsupported', /has no content for 0x400000: criu dump --lazy-pages/);
  });

  it('the pages of a page server without the rest, and says where that belongs', async () => {
    const images = unpackCriuImages('session');
    try {
      const pages = join(images, 'session', '4-server');
      await expectRefused('usage', /put the images of the dump beside the pages/, pages);
      await expectRefused('integrity', /'ckpt adopt' joins the rest/, join(images, 'session', '4'));
      for (const number of [1, 2, 3, 4]) {
        const server = join(images, 'session', `${number}-server`);
        rmSync(join(server, 'parent'), { force: true });
        cpSync(server, join(images, 'session', String(number)), { recursive: true });
      }
      const { checkpoints } = await importChain(join(images, 'session', '4'));
      expect(checkpoints).toHaveLength(4);
    } finally {
      rmSync(images, { recursive: true });
    }
  });

  it('links that would not come back byte for byte', async () => {
    symlinkSync(Buffer.from('../caf\xe9', 'latin1'), at('3/link'));
    await expectRefused('usage', /3\/link: a link to a name that is not UTF-8/);
  });

  it('to go on reading files when it is interrupted', async () => {
    writeFileSync(at('tmpfs-1.tar.gz.img'), Buffer.alloc(10));
    const file = { name: 'x', kind: 'file', mode: 0o600, bytes: 10, path: at('tmpfs-1.tar.gz.img') } as const;
    const { newFiles } = newFilesOf([file], '', [], AbortSignal.abort(new Error('enough')));
    await expect(newFiles.content[Symbol.asyncIterator]().next()).rejects.toThrow('enough');
  });

  it('what is no directory', async () => {
    await expectRefused('usage', /it is no directory/, at('1/inventory.img'));
    await expectRefused('usage', /ENOENT/, at('nowhere'));
  });

  it('parents outside of an archive, and says where other ones are', async () => {
    cpSync(at('1'), at('elsewhere', '1'), { recursive: true });
    rmSync(at('2/parent'));
    symlinkSync('../elsewhere/1', at('2/parent'));
    const request = { storeDirectory: at('store'), path: at('archive/3'), workers: 0 } as const;
    cpSync(at('2'), at('archive/2'), { recursive: true, verbatimSymlinks: true });
    cpSync(at('3'), at('archive/3'), { recursive: true, verbatimSymlinks: true });
    rmSync(at('archive/2/parent'));
    symlinkSync('../../elsewhere/1', at('archive/2/parent'));
    await expect(importImages({ ...request, archiveRoot: at('archive') })).rejects.toMatchObject({
      code: 'integrity',
      message: expect.stringMatching('leads out of the archive'),
    });
    const { notes } = await importImages(request);
    expect(notes).toEqual([`the parent of ${at('archive/2')} is elsewhere: ${at('elsewhere/1')}`]);
  });

  it('to go on when it is interrupted, and leaves nothing of what it has stored', async () => {
    const before = await importImages({ storeDirectory: at('store'), path: at('1'), workers: 0 });
    const control = new AbortController();
    let calls = 0;
    const interrupted = importImages({
      storeDirectory: at('store'),
      path: at('3'),
      chain: true,
      workers: 0,
      signal: control.signal,
      onProgress: () => {
        if (++calls === 2) control.abort(new Error('enough'));
      },
    });
    // Two of three checkpoints have been written, and nobody may see them.
    await expect(interrupted).rejects.toThrow('enough');
    await withStore(at('store'), async (store, codec) => {
      expect(await store.numbers()).toEqual([1]);
      expect(await store.packs()).toEqual([1]);
      expect((await store.openCheckpoint(1)).manifest.memoryDigest).toBe(before.checkpoints[0]!.memoryDigest);
      expect(await damageOf(store, codec)).toEqual([]);
    });
  });
});

describe('an import of what real CRIU deduplicated', () => {
  it.each([
    ['a chain', '3', true, ['deduplicated', 'deduplicated', null]],
    ['an ancestor alone', '2', false, ['deduplicated']],
    ['the newest alone', '3', false, [null]],
  ])('knows what was punched: %s', async (_name, directory, chain, expected) => {
    const images = unpackCriuImages('dedup');
    try {
      const { checkpoints } = await importImages({
        storeDirectory: at('store'),
        path: join(images, 'dedup', directory),
        chain,
        workers: 0,
      });
      expect(checkpoints.map(({ notRestorable }) => notRestorable)).toEqual(expected);
    } finally {
      rmSync(images, { recursive: true });
    }
  });

  it('knows it of a copy whose holes were filled, also of an ancestor alone', async () => {
    const images = unpackCriuImages('dedup');
    try {
      execFileSync('cp', ['-a', '--sparse=never', join(images, 'dedup'), join(images, 'copy')]);
      const path = join(images, 'copy', '2');
      const { checkpoints, notes } = await importImages({ storeDirectory: at('store'), path, workers: 0 });
      expect(checkpoints.map(({ notRestorable }) => notRestorable)).toEqual(['deduplicated']);
      expect(notes).toEqual([
        `${path}: CRIU has punched pages out of it (--auto-dedup); it cannot be restored`,
      ]);
    } finally {
      rmSync(images, { recursive: true });
    }
  });

  it('does not take a copy for it that has zeros as holes', async () => {
    const images = unpackCriuImages('snaps');
    try {
      execFileSync('cp', ['-a', '--sparse=always', join(images, 'snaps'), join(images, 'copy')]);
      const { checkpoints } = await importImages({
        storeDirectory: at('store'),
        path: join(images, 'copy', '3'),
        chain: true,
        workers: 0,
      });
      expect(checkpoints.map(({ notRestorable }) => notRestorable)).toEqual([null, null, null]);
    } finally {
      rmSync(images, { recursive: true });
    }
  });
});

it('an import does not wait for somebody to write to a FIFO', async () => {
  execFileSync('mkfifo', [at('fifo')]);
  await expect(
    importCheckpoints({ storeDirectory: at('store'), path: at('fifo'), workers: 0 }),
  ).rejects.toMatchObject({ code: 'usage', message: expect.stringMatching(/fifo: it is no file$/) });
});

it('an import refuses a pre-dump whose pages went to a page server', async () => {
  await writeImageDirectory(at('sent'), { preDump: true, processes: [] });
  await expect(
    importCheckpoints({ storeDirectory: at('store'), path: at('sent'), workers: 0 }),
  ).rejects.toMatchObject({
    code: 'integrity',
    message: expect.stringMatching('without pages: it has no pagemap'),
    hint: expect.stringContaining("'ckpt adopt' joins the rest"),
  });
});

describe('an import of what a real CRIU dumped, a file of which was lost', () => {
  let images = '';
  let pids: string[] = [];
  beforeEach(() => {
    images = unpackCriuImages('braid');
    pids = readdirSync(join(images, 'braid', '4')).flatMap((name) => /^mm-(\d+)\.img$/.exec(name)?.[1] ?? []);
  });
  afterEach(() => rmSync(images, { recursive: true }));

  const importBraid = () =>
    importImages({ storeDirectory: at('store'), path: join(images, 'braid', '4'), workers: 0 });

  it.each<[string, () => string, RegExp]>([
    ['a core', () => `core-${pids[1]}.img`, /is missing: process \d+ of pstree\.img needs it/],
    ['where it was', () => `fs-${pids[0]}.img`, /is missing: process \d+ of pstree\.img needs it/],
    ['what it was part of', () => `ids-${pids[0]}.img`, /is missing: process \d+ of pstree\.img needs it/],
    ['shared memory', () => 'pagemap-shmem-0.img', /is missing: process \d+ shares that memory at 0x/],
  ])('is refused, as criu would not restore it: %s', async (_what, name, text) => {
    unlinkSync(join(images, 'braid', '4', name()));
    await expect(importBraid()).rejects.toMatchObject({
      code: 'integrity',
      message: expect.stringMatching(text),
      hint: expect.stringContaining('copy the directory again'),
    });
  });

  it('says so if criu would restore it without its open files', async () => {
    unlinkSync(join(images, 'braid', '4', 'fdinfo-2.img'));
    const { notes } = await importBraid();
    expect(notes).toEqual([
      expect.stringMatching(/fdinfo-2\.img is not there: criu will restore process \d+ without open files$/),
    ]);
  });
});
