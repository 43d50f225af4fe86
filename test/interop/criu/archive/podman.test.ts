import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { listCheckpoints, verifyDirectory } from '../../../../src/checkpoint/index.ts';
import { CkptError } from '../../../../src/core/index.ts';
import { openArchive } from '../../../../src/interop/criu/archive/archive-stream.ts';
import { readTar } from '../../../../src/interop/criu/archive/tar-reader.ts';
import { writeTar } from '../../../../src/interop/criu/archive/tar-writer.ts';
import { exportArchive, importCheckpoints } from '../../../../src/interop/index.ts';
import { readPages } from '../image-reader.ts';
import { collected, inPieces } from './tar-tools.ts';

const CASES = resolve(import.meta.dirname, '../../../cases/podman');
const WHOLE = join(CASES, 'whole.tar.zst');
const PRE_CHECKPOINT = join(CASES, 'pre-checkpoint.tar.zst');
const CHECKPOINT = join(CASES, 'checkpoint.tar.gz');

let work: string;
let storeDirectory: string;
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-podman-'));
  storeDirectory = join(work, 'store');
});
afterEach(() => rmSync(work, { recursive: true, force: true }));

interface Member {
  readonly name: string;
  readonly kind: string;
  readonly mode: number;
  readonly target: string;
  readonly content: Buffer;
}

async function membersOf(path: string): Promise<Member[]> {
  const members: Member[] = [];
  for await (const { name, kind, mode, linkTarget, content } of readTar(
    (await openArchive(path)).tar(),
    path,
  )) {
    members.push({ name, kind, mode, target: linkTarget, content: await collected(content()) });
  }
  return members;
}

const isMemory = ({ name }: Member) => /^(pre-)?checkpoint\/page(map|s)-/.test(name);

/** Kind, mode, link and digest of everything but memory and the link to the parent, by name. */
const described = (members: readonly Member[]) =>
  members
    .filter((member) => !isMemory(member) && member.name !== 'checkpoint/parent')
    .map(({ content, ...rest }) => ({ ...rest, digest: createHash('sha256').update(content).digest('hex') }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));

/** Lays the images of an archive out, for an independent reader. */
function layOut(members: readonly Member[], directory: string): string {
  for (const { name, kind, content, target } of members.filter(({ name }) => name.includes('checkpoint/'))) {
    const path = join(directory, name);
    mkdirSync(kind === 'directory' ? path : dirname(path), { recursive: true });
    if (kind === 'file') writeFileSync(path, content);
    if (kind === 'symbolic link') symlinkSync(target, path);
  }
  return join(directory, 'checkpoint');
}

/** Contents of the pages of every pagemap, by name and page, parents' ones included. */
function memoryOf(images: string): Map<string, Buffer> {
  const contents = new Map<string, Buffer>();
  for (const name of readdirSync(images).filter((one) => one.startsWith('pagemap-'))) {
    for (const [page, { content }] of readPages(images, name, 'old'))
      contents.set(`${name} ${page}`, content);
  }
  return contents;
}

/** Packs members into one plain archive. @returns its path */
async function pack(members: readonly Member[], path: string): Promise<string> {
  const kinds = { file: 'file', directory: 'directory', 'symbolic link': 'link' } as const;
  const toWrite = members.map(({ name, kind, mode, target, content }) => ({
    name: name.replace(/\/$/, ''),
    kind: kinds[kind as keyof typeof kinds],
    mode,
    bytes: content.length,
    ...(kind === 'symbolic link' ? { target } : {}),
    content: () => inPieces(content),
  }));
  writeFileSync(path, await collected(writeTar(toWrite, new Date(0))));
  return path;
}

const importWhole = () => importCheckpoints({ storeDirectory, path: WHOLE, workers: 0 });

describe('an archive of podman', () => {
  it('comes back from the store with everything but memory byte for byte, and memory page for page', async () => {
    const imported = await importWhole();
    expect(imported).toMatchObject({ path: WHOLE, target: 'sh' });
    expect(imported.checkpoints).toMatchObject([
      { checkpoint: 1, path: join(WHOLE, 'checkpoint'), preDump: false, processes: 2 },
    ]);
    expect(imported.notes).toEqual([]);
    const [listed] = await listCheckpoints(storeDirectory);
    // When CRIU wrote the images, and how long it says that the processes stood still.
    expect(listed).toMatchObject({ createdAt: '2026-11-21T19:07:59.000Z' });
    expect(listed!.microseconds.freeze).toBeGreaterThan(10_000);
    const outputPath = join(work, 'out.tar.zst');
    await exportArchive({ storeDirectory, checkpoint: 1, outputPath, workers: 0 });
    const [before, after] = [await membersOf(WHOLE), await membersOf(outputPath)];
    expect(described(after)).toEqual(described(before));
    const [memoryBefore, memoryAfter] = [
      memoryOf(layOut(before, join(work, 'before'))),
      memoryOf(layOut(after, join(work, 'after'))),
    ];
    expect(memoryAfter.size).toBe(35);
    expect(memoryAfter).toEqual(memoryBefore);
    expect((await verifyDirectory({ storeDirectory })).findings).toEqual([]);
  });

  it('joins the archive of its pre-checkpoint, as one checkpoint or as two', async () => {
    const request = { storeDirectory, path: CHECKPOINT, previousPath: PRE_CHECKPOINT, workers: 0 };
    const { checkpoints } = await importCheckpoints({ ...request, chain: true });
    expect(checkpoints.map(({ path, preDump }) => [path, preDump])).toEqual([
      [join(CHECKPOINT, 'pre-checkpoint'), true],
      [join(CHECKPOINT, 'checkpoint'), false],
    ]);
    expect(checkpoints[1]!.pages.parent).toBeGreaterThan(0);
    await importCheckpoints(request);
    const [previous, newest] = [await membersOf(PRE_CHECKPOINT), await membersOf(CHECKPOINT)];
    const images = [...newest, ...previous.filter(({ name }) => name.startsWith('pre-checkpoint/'))];
    const expected = memoryOf(layOut(images, join(work, 'before')));
    for (const checkpoint of [2, 3]) {
      const outputPath = join(work, `${checkpoint}.tar`);
      await exportArchive({ storeDirectory, checkpoint, outputPath, compression: 'none', workers: 0 });
      const members = await membersOf(outputPath);
      // It is in the archive only by what lies in it.
      expect(described(members.filter(({ name }) => name !== 'volumes/'))).toEqual(described(newest));
      expect(memoryOf(layOut(members, join(work, String(checkpoint))))).toEqual(expected);
    }
  });

  it('may have its pre-checkpoint inside', async () => {
    const previous = await membersOf(PRE_CHECKPOINT);
    const inside = previous.filter(({ name }) => name.startsWith('pre-checkpoint/'));
    const path = await pack([...(await membersOf(CHECKPOINT)), ...inside], join(work, 'both.tar'));
    const { checkpoints } = await importCheckpoints({ storeDirectory, path, chain: true, workers: 0 });
    expect(checkpoints.map(({ preDump, pages }) => [preDump, pages.parent])).toEqual([
      [true, 0],
      [false, 10],
    ]);
    const twice = importCheckpoints({ storeDirectory, path, previousPath: PRE_CHECKPOINT, workers: 0 });
    await expect(twice).rejects.toThrow(`${path} has a pre-checkpoint of its own`);
  });

  it('without its pre-checkpoint, or with another, is refused and leaves no checkpoint', async () => {
    const refused = importCheckpoints({ storeDirectory, path: CHECKPOINT, workers: 0 });
    await expect(refused).rejects.toMatchObject({
      code: 'usage',
      message: `${CHECKPOINT} needs the archive of its pre-checkpoint`,
      hint: expect.stringContaining('--import-previous'),
    });
    const other = importCheckpoints({ storeDirectory, path: CHECKPOINT, previousPath: WHOLE, workers: 0 });
    await expect(other).rejects.toThrow(`${WHOLE} holds no pre-checkpoint`);
    expect(readdirSync(join(storeDirectory, 'checkpoints'))).toEqual([]);
    expect(readdirSync(join(storeDirectory, 'tmp'))).toEqual([]);
  });

  it('of a pre-checkpoint alone becomes a checkpoint that cannot be restored yet', async () => {
    const { checkpoints } = await importCheckpoints({ storeDirectory, path: PRE_CHECKPOINT, workers: 0 });
    expect(checkpoints).toMatchObject([{ preDump: true }]);
  });

  it('with a damaged image is refused by its place in the archive', async () => {
    const members = (await membersOf(WHOLE)).map((member) =>
      member.name === 'checkpoint/pagemap-1.img'
        ? { ...member, content: member.content.subarray(0, -1) }
        : member,
    );
    const path = await pack(members, join(work, 'damaged.tar'));
    await expect(importCheckpoints({ storeDirectory, path, workers: 0 })).rejects.toMatchObject({
      code: 'integrity',
      message: expect.stringContaining(join(path, 'checkpoint/pagemap-1.img')),
    });
    expect(readdirSync(join(storeDirectory, 'checkpoints'))).toEqual([]);
    expect(readdirSync(join(storeDirectory, 'tmp'))).toEqual([]);
  });

  it('with any bit of it changed is imported whole or refused whole', { timeout: 30_000 }, async () => {
    const tar = await collected((await openArchive(WHOLE)).tar());
    const path = join(work, 'mutated.tar');
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(fc.nat(tar.length - 1), fc.nat(7), fc.boolean(), async (at, bit, cut) => {
        const bytes = Buffer.from(cut ? tar.subarray(0, at) : tar);
        if (!cut) bytes[at] = bytes[at]! ^ (1 << bit);
        writeFileSync(path, bytes);
        rmSync(storeDirectory, { recursive: true, force: true });
        const outcome = await importCheckpoints({ storeDirectory, path, workers: 0 }).catch(
          (error: unknown) => error,
        );
        if (outcome instanceof Error) {
          expect(outcome).toBeInstanceOf(CkptError);
          refused++;
        }
        const left = existsSync(storeDirectory);
        const checkpoints = left ? readdirSync(join(storeDirectory, 'checkpoints')) : [];
        expect(checkpoints).toHaveLength(outcome instanceof Error ? 0 : 1);
        expect(left ? readdirSync(join(storeDirectory, 'tmp')) : []).toEqual([]);
      }),
      { numRuns: 30 },
    );
    expect(refused).toBeGreaterThan(0);
  });

  it('that is none leaves no store behind', async () => {
    const path = join(work, 'none.tar');
    writeFileSync(path, readFileSync(join(CASES, 'README.md')));
    await expect(importCheckpoints({ storeDirectory, path, workers: 0 })).rejects.toThrow(
      'is no container archive',
    );
    await expect(importCheckpoints({ storeDirectory, path: join(work, 'gone'), workers: 0 })).rejects.toThrow(
      'ENOENT',
    );
    await expect(
      importCheckpoints({ storeDirectory, path: work, previousPath: WHOLE, workers: 0 }),
    ).rejects.toThrow('is a directory');
    expect(existsSync(storeDirectory)).toBe(false);
  });
});
