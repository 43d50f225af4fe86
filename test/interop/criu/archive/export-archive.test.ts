import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openArchive } from '../../../../src/interop/criu/archive/archive-stream.ts';
import { readTar } from '../../../../src/interop/criu/archive/tar-reader.ts';
import { exportArchive } from '../../../../src/interop/index.ts';
import { patternPage } from '../../../checkpoint/memory-target.ts';
import { readPages } from '../image-reader.ts';
import { type ModelLevel, type ModelMemory, noise, storeLevels } from '../stored-images.ts';
import { collected } from './tar-tools.ts';

let work: string;
let storeDirectory: string;
let outputPath: string;
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-archive-'));
  storeDirectory = join(work, 'store');
  outputPath = join(work, 'out.tar');
});
afterEach(() => rmSync(work, { recursive: true, force: true }));

const MEMORY: ModelMemory = {
  id: 7,
  pagesId: 3,
  pages: new Map([
    [16, { value: 1, flags: 6 }],
    [17, { value: 0, flags: 4 }],
    [40, { value: 2, flags: 4 }],
  ]),
};
const OBJECT: ModelMemory = { id: 'shmem-9', pagesId: 4, pages: new Map([[0, { value: 5, flags: 4 }]]) };

const CONTAINER: ModelLevel = {
  imagesPath: 'checkpoint',
  files: [
    { name: 'checkpoint', mode: 0o700 },
    { name: 'checkpoint/inventory.img', mode: 0o644, content: Buffer.from('inventory') },
    { name: 'checkpoint/parent', mode: 0o777, target: '../pre-checkpoint' },
    { name: 'config.dump', mode: 0o600, content: Buffer.from('{"name":"web"}') },
    { name: 'deleted.files', mode: 0o600, content: Buffer.alloc(0) },
    { name: 'links', mode: 0o777, target: 'volumes/größe' },
    { name: 'rootfs-diff.tar', mode: 0o4640, content: noise('rootfs', 700_000) },
    { name: 'spec.dump', mode: 0o600, content: Buffer.from('{}') },
    { name: 'volumes', mode: 0o1777 },
    { name: 'volumes/größe', mode: 0o600, content: noise('volume', 5) },
  ],
  memories: [MEMORY, OBJECT],
};

const request = () => ({ storeDirectory, outputPath, checkpoint: 'latest', workers: 0 }) as const;

/** Comparing the contents themselves would take seconds. */
const digest = (content: Uint8Array) => createHash('sha256').update(content).digest('hex');

async function members(path: string) {
  const found = new Map<string, { kind: string; mode: number; content: string }>();
  for await (const member of readTar((await openArchive(path)).tar(), path)) {
    const content = member.kind === 'file' ? digest(await collected(member.content())) : member.linkTarget;
    found.set(member.name, { kind: member.kind, mode: member.mode, content });
  }
  return found;
}

describe('an exported archive', () => {
  it('holds everything as it was kept, whatever its compression, and its memory flat', async () => {
    await storeLevels(storeDirectory, [CONTAINER]);
    for (const compression of ['none', 'gzip', 'zstd'] as const) {
      rmSync(outputPath, { force: true });
      const result = await exportArchive({ ...request(), compression });
      expect((await openArchive(outputPath)).compression).toBe(compression);
      expect(result).toMatchObject({
        checkpoint: 1,
        compression,
        pages: 4,
        archiveBytes: statSync(outputPath).size,
        warnings: [],
      });
      expect(statSync(outputPath).mode & 0o777).toBe(0o600);
      const found = await members(outputPath);
      expect(result.members).toBe(found.size);
      const kept = CONTAINER.files!.filter(({ name }) => name !== 'checkpoint/parent');
      for (const { name, mode, content, target } of kept) {
        const isDirectory = content === undefined && target === undefined;
        expect(found.get(isDirectory ? `${name}/` : name), name).toEqual({
          kind: isDirectory ? 'directory' : target === undefined ? 'file' : 'symbolic link',
          mode,
          content: target ?? (isDirectory ? '' : digest(content!)),
        });
      }
      expect([...found.keys()].filter((name) => name.includes('pa')).sort()).toEqual([
        'checkpoint/pagemap-7.img',
        'checkpoint/pagemap-shmem-9.img',
        'checkpoint/pages-3.img',
        'checkpoint/pages-4.img',
      ]);
    }
  });

  it('unpacks with GNU tar to images that CRIU reads', async () => {
    await storeLevels(storeDirectory, [CONTAINER]);
    await exportArchive({ ...request(), compression: 'gzip' });
    execFileSync('tar', ['-xzf', outputPath, '-C', work]);
    const images = join(work, 'checkpoint');
    expect(existsSync(join(images, 'parent'))).toBe(false);
    for (const generation of ['old', 'new'] as const) {
      const pages = [...readPages(images, 'pagemap-7.img', generation)];
      expect(pages.map(([page, { content }]) => [page, content])).toEqual(
        [
          [16, 1],
          [17, 0],
          [40, 2],
        ].map(([page, value]) => [page, Buffer.from(patternPage(value!))]),
      );
    }
  });

  it('has what its parents have', async () => {
    const before: ModelLevel = { ...CONTAINER, imagesPath: 'pre-checkpoint', preDump: true, files: [] };
    const pages = new Map([...MEMORY.pages, [16, { value: 1, flags: 1 }] as const]);
    await storeLevels(storeDirectory, [before, { ...CONTAINER, memories: [{ ...MEMORY, pages }] }]);
    await exportArchive({ ...request(), compression: 'gzip' });
    execFileSync('tar', ['-xzf', outputPath, '-C', work]);
    const [first] = [...readPages(join(work, 'checkpoint'), 'pagemap-7.img', 'old')];
    expect(first?.[1].content).toEqual(Buffer.from(patternPage(1)));
    await expect(
      exportArchive({ ...request(), outputPath: `${outputPath}.1`, checkpoint: 1 }),
    ).rejects.toThrow(/pre-dump/);
  });

  it('is refused for checkpoints that did not come from one', async () => {
    await storeLevels(storeDirectory, [
      { ...CONTAINER, imagesPath: '', files: [{ name: 'inventory.img', content: new Uint8Array(1) }] },
    ]);
    await expect(exportArchive(request())).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringMatching(/checkpoint 1 came from a directory of CRIU/),
      hint: "'ckpt export --format criu --at 1' writes the directory",
    });
    expect(readdirSync(work)).toEqual(['store']);
  });

  it('says what podman will miss', async () => {
    const files = CONTAINER.files!.filter(({ name }) => name !== 'config.dump');
    await storeLevels(storeDirectory, [{ ...CONTAINER, files }]);
    expect((await exportArchive(request())).warnings).toEqual([
      'the archive that was imported had no config.dump: podman will not restore this one',
    ]);
  });

  it('replaces nothing, and leaves nothing when the store is damaged or the user stops', async () => {
    await storeLevels(storeDirectory, [CONTAINER]);
    writeFileSync(outputPath, 'mine');
    await expect(exportArchive(request())).rejects.toThrow('exists already');
    expect(readFileSync(outputPath, 'utf8')).toBe('mine');
    rmSync(outputPath);
    const controller = new AbortController();
    controller.abort(new Error('enough'));
    for (const compression of ['none', 'gzip', 'zstd'] as const) {
      const stopped = exportArchive({ ...request(), compression, signal: controller.signal });
      await expect(stopped).rejects.toThrow('enough');
    }
    expect(readdirSync(work)).toEqual(['store']);
    const pack = join(storeDirectory, 'packs', readdirSync(join(storeDirectory, 'packs'))[0]!);
    const bytes = readFileSync(pack);
    for (let at = 1000; at < bytes.length - 1000; at += 997) bytes[at] = bytes[at]! ^ 1;
    chmodSync(pack, 0o600);
    writeFileSync(pack, bytes);
    await expect(exportArchive(request())).rejects.toMatchObject({ code: 'integrity' });
    expect(readdirSync(work)).toEqual(['store']);
  });
});
