import {
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { exportImages, importImages } from '../../../src/interop/index.ts';
import { unpackCriuImages } from '../../cases/criu/unpack.ts';
import { patternPage } from '../../checkpoint/memory-target.ts';
import { type DirectoryModel, type MemoryModel, writeImageDirectory } from './image-directory.ts';
import { readMemory, readPages } from './image-reader.ts';

const PARENT = 1;
const LAZY = 2;
const PRESENT = 4;

let work = '';
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-round-trip-'));
});
afterEach(() => rmSync(work, { recursive: true, force: true }));

const isPagemap = (name: string) => name.startsWith('pagemap-');
const isMemory = (name: string) => isPagemap(name) || name.startsWith('pages-');

/** What is in a directory beside memory: contents of files, texts of links. */
function otherFiles(directory: string): Map<string, string> {
  const names = readdirSync(directory).filter((name) => !isMemory(name) && name !== 'parent');
  return new Map(
    names.sort().map((name) => {
      const path = join(directory, name);
      const content = lstatSync(path).isSymbolicLink() ? readlinkSync(path) : readFileSync(path, 'base64');
      return [name, content];
    }),
  );
}

/** Flags of every page of a pagemap, however its entries are cut. */
function flagsOf(
  directory: string,
  name: string,
  generation: 'old' | 'new' = 'new',
): [page: number, flags: number][] {
  return readMemory(directory, name, generation).entries.flatMap(({ startPage, pageCount, flags }) =>
    Array.from({ length: pageCount }, (_, index): [number, number] => [startPage + index, flags]),
  );
}

/** The flags with which the content of every page was dumped, in the directory or one before it. */
function resolvedFlags(directory: string, name: string): Map<number, number> {
  const flags = flagsOf(directory, name);
  const before = flags.some(([, one]) => one === PARENT) && resolvedFlags(join(directory, 'parent'), name);
  return new Map(flags.map(([page, one]) => [page, one === PARENT && before ? before.get(page)! : one]));
}

/** Fails unless two directories are the same but for how pagemaps are cut and where their parents are. */
function expectSameDirectory(exported: string, original: string): void {
  expect(otherFiles(exported)).toEqual(otherFiles(original));
  const pagemaps = readdirSync(original).filter(isPagemap).sort();
  expect(readdirSync(exported).filter(isPagemap).sort()).toEqual(pagemaps);
  for (const name of pagemaps) {
    for (const generation of ['old', 'new'] as const) {
      expect(flagsOf(exported, name, generation)).toEqual(flagsOf(original, name));
    }
    const [read, expected] = [readMemory(exported, name, 'old'), readMemory(original, name, 'new')];
    expect(read.pagesId).toBe(expected.pagesId);
    expect(read.pages.equals(expected.pages)).toBe(true);
  }
}

/** Fails unless a directory without a parent has every page that another one has with its parents. */
function expectSameMemory(flat: string, original: string): void {
  expect(otherFiles(flat)).toEqual(otherFiles(original));
  expect(readdirSync(flat)).not.toContain('parent');
  for (const name of readdirSync(original).filter(isPagemap)) {
    const [read, expected] = [readPages(flat, name, 'old'), readPages(original, name, 'new')];
    expect([...read.keys()]).toEqual([...expected.keys()]);
    for (const [page, { flags, content }] of expected) {
      const own = read.get(page)!;
      expect(own.content.equals(content)).toBe(true);
      if (flags === PARENT) expect(own.flags & (PARENT | PRESENT)).toBe(PRESENT);
      else expect(own.flags).toBe(flags);
    }
  }
}

/** Fails unless a directory without a parent says of every page what was said of it where it was dumped. */
function expectSameFlags(flat: string, original: string): void {
  for (const pagemap of readdirSync(original).filter(isPagemap)) {
    expect(flagsOf(flat, pagemap)).toEqual([...resolvedFlags(original, pagemap)]);
  }
}

/** Runs of pages as a pagemap has them. */
function memoryOf(pages: ReadonlyMap<number, { value: number; flags: number }>): MemoryModel {
  const entries: { startPage: number; pageCount: number; flags: number }[] = [];
  for (const [page, { flags }] of [...pages].sort(([a], [b]) => a - b)) {
    const last = entries.at(-1);
    if (last !== undefined && last.flags === flags && last.startPage + last.pageCount === page)
      last.pageCount++;
    else entries.push({ startPage: page, pageCount: 1, flags });
  }
  return { entries, content: (page) => patternPage(pages.get(page)?.value ?? 0) };
}

type Pages = Map<number, { value: number; flags: number }>;

/** Chains of up to four directories: of a process, a child that comes and goes, and an object of shared memory. */
const arbitraryChain = fc
  .array(
    fc.record({
      preDump: fc.boolean(),
      version: fc.constantFrom('3.17' as const, '4.2' as const),
      written: fc.array(
        fc.record({
          id: fc.constantFrom('7', '8', 'shmem'),
          page: fc.integer({ min: 16, max: 40 }),
          value: fc.integer({ min: 0, max: 4 }),
          flags: fc.constantFrom(PARENT, PARENT, PRESENT, PRESENT | LAZY),
        }),
        { minLength: 1, maxLength: 80 },
      ),
    }),
    { minLength: 1, maxLength: 4 },
  )
  .map((levels) => {
    let before = new Map<string, Pages>();
    return levels.map(({ preDump, version, written }, index): DirectoryModel => {
      const now = new Map<string, Pages>([['7', new Map()]]);
      for (const { id, page, value, flags } of written) {
        const pages: Pages = now.get(id) ?? new Map();
        now.set(id, pages);
        const inherited = before.get(id)?.get(page);
        if (flags !== PARENT) pages.set(page, { value, flags });
        else if (inherited !== undefined) pages.set(page, { value: inherited.value, flags });
      }
      before = now;
      const [child, object] = [now.get('8'), now.get('shmem')];
      return {
        version,
        preDump: preDump && index < levels.length - 1,
        ...(index === 0 ? {} : { parent: `../${index}` }),
        processes: [
          { pid: 7, ...memoryOf(now.get('7')!) },
          ...(child === undefined ? [] : [{ pid: 8, parentPid: 7, ...memoryOf(child) }]),
        ],
        shared: object === undefined ? [] : [{ id: '4711', ...memoryOf(object) }],
        files: { [`extra-${index}.img`]: Buffer.alloc(index * 1000, index), 'netns-ct-9.img': '' },
      };
    });
  });

/** Imports a chain of directories whose names count from 1, and takes it away. @returns where it is kept for comparison */
async function importChain(
  images: string,
  newest: number,
): Promise<{ originals: string; storeDirectory: string }> {
  const originals = join(work, 'originals');
  cpSync(images, originals, { recursive: true, verbatimSymlinks: true });
  const storeDirectory = join(work, 'store');
  await importImages({ storeDirectory, path: join(images, String(newest)), chain: true, workers: 0 });
  rmSync(images, { recursive: true });
  return { originals, storeDirectory };
}

/** Exports a chain as it was, and flat at each of its restorable points. */
async function checkExports(
  originals: string,
  storeDirectory: string,
  restorable: readonly number[],
): Promise<void> {
  const numbers = readdirSync(originals)
    .map(Number)
    .sort((a, b) => a - b);
  const chain = join(work, 'chain');
  const request = { storeDirectory, workers: 0 } as const;
  await exportImages({ ...request, checkpoint: numbers.at(-1)!, outputDirectory: chain, layout: 'chain' });
  for (const number of numbers) {
    expectSameDirectory(join(chain, String(number)), join(originals, String(number)));
    if (number > 1) expect(readlinkSync(join(chain, String(number), 'parent'))).toBe(`../${number - 1}`);
  }
  for (const number of restorable) {
    const flat = join(work, `flat-${number}`);
    await exportImages({ ...request, checkpoint: number, outputDirectory: flat, layout: 'flat' });
    expectSameMemory(flat, join(originals, String(number)));
  }
}

describe('a directory that is imported alone', () => {
  it('is exported with all pages of its parents', async () => {
    const unpacked = unpackCriuImages('braid');
    const original = join(unpacked, 'braid', '4');
    const request = { storeDirectory: join(work, 'store'), workers: 0 };
    await importImages({ ...request, path: original });
    for (const layout of ['flat', 'chain'] as const) {
      const outputDirectory = join(work, layout);
      await exportImages({ ...request, checkpoint: 1, outputDirectory, layout });
      const images = layout === 'flat' ? outputDirectory : join(outputDirectory, '1');
      expectSameMemory(images, original);
      expectSameFlags(images, original);
    }
    rmSync(unpacked, { recursive: true });
  });
});

describe('a chain that is imported and exported', () => {
  it('is the same again, and flat at each point that can be restored', async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryChain, async (levels) => {
        rmSync(work, { recursive: true, force: true });
        const images = join(work, 'images');
        mkdirSync(images, { recursive: true });
        for (const [index, level] of levels.entries()) {
          await writeImageDirectory(join(images, String(index + 1)), level);
        }
        const { originals, storeDirectory } = await importChain(images, levels.length);
        const restorable = levels.flatMap(({ preDump }, index) => (preDump === true ? [] : [index + 1]));
        await checkExports(originals, storeDirectory, restorable);
      }),
      { numRuns: 8 },
    );
  });

  it.each([
    ['braid', [4]],
    ['snaps', [1, 2, 3]],
    ['dedup', [3]],
  ] as const)('is the same again (%s of the real criu)', async (name, restorable) => {
    const unpacked = unpackCriuImages(name);
    const images = join(unpacked, name);
    const { originals, storeDirectory } = await importChain(images, name === 'braid' ? 4 : 3);
    rmSync(unpacked, { recursive: true });
    await checkExports(originals, storeDirectory, restorable);
    for (const number of restorable) {
      expectSameFlags(join(work, `flat-${number}`), join(originals, String(number)));
    }
  });
});
