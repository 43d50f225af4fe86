import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CodecPool, compressZstdStream } from '../../../../src/codec/index.ts';
import { CkptError } from '../../../../src/core/index.ts';
import { type UnpackRequest, withUnpackedArchive } from '../../../../src/interop/criu/archive/unpack.ts';
import { collected, inPieces, paxMember, type RawMember, rawTar } from './tar-tools.ts';

let folder: string;
let scratchDirectory: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ckpt-unpack-'));
  scratchDirectory = mkdtempSync(join(folder, 'scratch-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const CHECKPOINT: readonly RawMember[] = [
  { name: './', type: '5', mode: 0o755 },
  { name: './checkpoint/', type: '5', mode: 0o711 },
  { name: './checkpoint/inventory.img', mode: 0o640, content: 'inventory' },
  { name: './checkpoint/pages-1.img', mode: 0o600, content: Buffer.alloc(9000, 3) },
  { name: './checkpoint/parent', type: '2', mode: 0o777, target: '../pre-checkpoint' },
  { name: './config.dump', mode: 0o4644, content: '{}' },
  { name: './volumes/data/sealed/', type: '5', mode: 0o500 },
];

function archive(bytes: Uint8Array, name = 'archive.tar.gz'): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

async function zstd(bytes: Uint8Array): Promise<Buffer> {
  const pool = new CodecPool({ workers: 0 });
  try {
    return await collected(compressZstdStream(inPieces(bytes, 50_000), pool, 3));
  } finally {
    await pool.close();
  }
}

/** What lies below a directory: kinds, modes and contents. */
function tree(root: string, below = ''): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of readdirSync(join(root, below)).sort()) {
    const path = join(below, name);
    const status = lstatSync(join(root, path));
    const mode = (status.mode & 0o7777).toString(8);
    if (status.isSymbolicLink()) found[path] = `-> ${readlinkSync(join(root, path))}`;
    else if (status.isDirectory()) Object.assign(found, { [`${path}/`]: mode }, tree(root, path));
    else found[path] = `${mode} ${readFileSync(join(root, path), 'latin1')}`;
  }
  return found;
}

function unpacked(bytes: Uint8Array, more: Partial<UnpackRequest> = {}) {
  const request = { archivePath: archive(bytes), scratchDirectory, ...more };
  return withUnpackedArchive(request, async ({ rootPath, imagesPath }) => {
    expect(rootPath.startsWith(scratchDirectory)).toBe(true);
    return { images: imagesPath.slice(rootPath.length + 1), files: tree(rootPath) };
  });
}

const EXPECTED = {
  'checkpoint/': '711',
  'checkpoint/inventory.img': '640 inventory',
  'checkpoint/pages-1.img': `600 ${'\u0003'.repeat(9000)}`,
  'checkpoint/parent': '-> ../pre-checkpoint',
  'config.dump': '4644 {}',
  'volumes/': '755',
  'volumes/data/': '755',
  'volumes/data/sealed/': '500',
};

describe('an archive', () => {
  it('lies unpacked with its modes and links, however it is compressed, and only while it is used', async () => {
    const tar = rawTar(CHECKPOINT);
    for (const bytes of [tar, gzipSync(tar), await zstd(tar)]) {
      expect(await unpacked(bytes)).toEqual({ images: 'checkpoint', files: EXPECTED });
      expect(readdirSync(scratchDirectory)).toEqual([]);
    }
    const failing = withUnpackedArchive({ archivePath: archive(tar), scratchDirectory }, () =>
      Promise.reject(new Error('the import failed')),
    );
    await expect(failing).rejects.toThrow('the import failed');
    expect(readdirSync(scratchDirectory)).toEqual([]);
  });

  it('of a pre-checkpoint joins the one that needs it', async () => {
    const previous = rawTar([
      { name: 'pre-checkpoint/inventory.img', content: 'earlier' },
      { name: 'config.dump', content: 'earlier' },
      { name: 'network.status', content: 'earlier' },
    ]);
    const previousPath = archive(previous, 'previous.tar');
    expect(await unpacked(rawTar(CHECKPOINT), { previousPath })).toEqual({
      images: 'checkpoint',
      files: {
        ...EXPECTED,
        'pre-checkpoint/': '755',
        'pre-checkpoint/inventory.img': '644 earlier',
        'network.status': '644 earlier',
      },
    });
    expect(await unpacked(previous)).toMatchObject({ images: 'pre-checkpoint' });
    await expect(unpacked(previous, { previousPath })).rejects.toThrow('has a pre-checkpoint of its own');
    const other = archive(rawTar([{ name: 'checkpoint/x' }]), 'other.tar');
    await expect(unpacked(rawTar(CHECKPOINT), { previousPath: other })).rejects.toThrow(
      `${other} holds no pre-checkpoint`,
    );
    expect(readdirSync(scratchDirectory)).toEqual([]);
  });

  it('is refused if it is nothing of the kind', async () => {
    for (const bytes of [Buffer.alloc(0), Buffer.from('PK\u0003\u0004'), Buffer.alloc(5000)]) {
      await expect(unpacked(bytes)).rejects.toThrow('is no container archive');
    }
    await expect(unpacked(rawTar([{ name: 'etc/passwd', content: 'x' }]))).rejects.toThrow(
      'holds no checkpoint/ directory',
    );
    await expect(unpacked(rawTar([{ name: 'pod.dump', content: '{}' }]))).rejects.toMatchObject({
      hint: 'it is the archive of a pod: import those of its containers',
    });
    const request = { archivePath: folder, scratchDirectory };
    await expect(withUnpackedArchive(request, async () => undefined)).rejects.toThrow('it is no file');
  });
});

const inside: RawMember = { name: 'checkpoint/inventory.img', content: 'x' };

/** Name of what is wrong, the members that are, and what the error says. */
const HOSTILE: readonly [string, readonly RawMember[], RegExp][] = [
  [
    'an absolute path',
    [{ name: '/etc/cron.d/x', content: 'x' }],
    /"\/etc\/cron.d\/x" at offset 0 .* absolute/,
  ],
  ['a path upwards', [inside, { name: 'checkpoint/../../x' }], /offset 1024 .* leads upwards/],
  ['a path upwards in an extended header', [paxMember({ path: '../x' }), inside], /leads upwards/],
  ['a hard link', [{ name: 'checkpoint/x', type: '1', target: '/etc/shadow' }], /it is a hard link/],
  ['a character device', [{ name: 'checkpoint/x', type: '3' }], /it is a character device/],
  ['a block device', [{ name: 'checkpoint/x', type: '4' }], /it is a block device/],
  ['a FIFO', [{ name: 'checkpoint/x', type: '6' }], /it is a FIFO/],
  ['a sparse file', [{ name: 'checkpoint/pages-1.img', type: 'S' }], /it is a sparse file/],
  [
    'a sparse file in an extended header',
    [paxMember({ 'GNU.sparse.realsize': '999999999999999' }), { name: 'checkpoint/pages-1.img' }],
    /it is a sparse file/,
  ],
  [
    'an absolute link',
    [{ name: 'checkpoint/parent', type: '2', target: '/etc' }],
    /leads outside, to "\/etc"/,
  ],
  ['a link upwards', [{ name: 'checkpoint/parent', type: '2', target: '../..' }], /leads outside/],
  ['a link around a link', [{ name: 'checkpoint/parent', type: '2', target: 'a/../../x' }], /leads outside/],
  ['a link to nothing', [{ name: 'checkpoint/parent', type: '2' }], /a link to nothing/],
  [
    'a member under a link',
    [{ name: 'checkpoint', type: '2', target: 'volumes' }, inside],
    /checkpoint is a link, not a directory/,
  ],
  ['a member under a file', [{ name: 'checkpoint', content: 'x' }, inside], /checkpoint is a file, not/],
  ['a link over a directory', [inside, { name: 'checkpoint', type: '2', target: 'x' }], /it is there twice/],
  ['a member twice', [inside, { name: './checkpoint//inventory.img' }], /it is there twice/],
  [
    'a directory twice',
    [
      { name: 'a/', type: '5' },
      { name: 'a/', type: '5' },
    ],
    /it is there twice/,
  ],
  ['no name', [{ name: '', content: 'x' }], /it has no name/],
  ['a name too long', [paxMember({ path: 'x'.repeat(256) }), inside], /longer than/],
  [
    'a name that is not UTF-8',
    [{ name: 'x', edit: (header) => header.write('\xff', 0, 'latin1') }],
    /name is not UTF-8/,
  ],
  [
    'a directory with content',
    [paxMember({ size: '512' }), { name: 'a', type: '2', target: 'b' }],
    /with content/,
  ],
  ['a huge declared size', [{ ...inside, declaredBytes: 2 ** 40 }], /unpacks to 1.0 TiB, more than 2.0 KiB/],
  [
    'a huge declared size in an extended header',
    [paxMember({ size: String(2 ** 50) }), inside],
    /unpacks to 1.0 PiB/,
  ],
];

describe('a hostile archive', () => {
  it.each(HOSTILE)('with %s is refused by name, and nothing of it is left', async (_, members, message) => {
    await expect(unpacked(rawTar(members))).rejects.toThrow(message);
    await expect(unpacked(rawTar(members))).rejects.toMatchObject({ code: 'integrity' });
    expect(readdirSync(scratchDirectory)).toEqual([]);
    expect(readdirSync(folder).sort()).toHaveLength(2);
  });

  it('without compression says that it may have been cut off', async () => {
    await expect(unpacked(rawTar([{ ...inside, declaredBytes: 2 ** 30 }]))).rejects.toMatchObject({
      hint: 'it is not compressed: more cannot be in it, and it may have been cut off',
    });
  });

  it('with a sparse file says what to do', async () => {
    await expect(unpacked(rawTar([{ name: 'checkpoint/pages-1.img', type: 'S' }]))).rejects.toMatchObject({
      hint: 'pack the archive again without --sparse',
    });
  });

  it('that unpacks to far more than it is stops at its limit', async () => {
    const bomb = rawTar([{ name: 'checkpoint/pages-1.img', content: Buffer.alloc(4 * 2 ** 20) }]);
    for (const bytes of [gzipSync(bomb), await zstd(bomb)]) {
      expect(bytes.length).toBeLessThan(10_000);
      await expect(unpacked(bytes, { maxUnpackedBytes: 2 ** 20 })).rejects.toMatchObject({
        message: expect.stringMatching(/unpacks to 4.0 MiB, more than 1.0 MiB/),
        hint: 'if you trust the archive, allow more with --max-unpacked',
      });
      expect((await unpacked(bytes, { maxUnpackedBytes: 2 ** 23 })).images).toBe('checkpoint');
    }
    // Two small members that declare nothing unusual, but together pass the limit.
    const two = rawTar(
      [1, 2].map((id) => ({ name: `checkpoint/pages-${id}.img`, content: 'x'.repeat(600) })),
    );
    await expect(unpacked(gzipSync(two), { maxUnpackedBytes: 1000 })).rejects.toThrow(
      '"checkpoint/pages-2.img"',
    );
  });

  it('that declares more than the file system has is refused before a byte is written', async () => {
    const tar = rawTar([{ name: 'checkpoint/pages-1.img', declaredBytes: 2 ** 50 }]);
    await expect(unpacked(gzipSync(tar), { maxUnpackedBytes: 2 ** 51 })).rejects.toMatchObject({
      code: 'store-full',
      message: expect.stringMatching(/checkpoint\/pages-1.img has 1.0 PiB/),
    });
  });

  it('cut or changed anywhere ends in an error or in what was packed, never by half', async () => {
    const tar = rawTar(CHECKPOINT);
    const whole = JSON.stringify(await unpacked(tar));
    const streams = [tar, gzipSync(tar), await zstd(tar)];
    await fc.assert(
      fc.asyncProperty(
        fc.nat(2),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.nat(7),
        fc.boolean(),
        async (kind, share, bit, cut) => {
          const bytes = Buffer.from(streams[kind]!);
          const at = Math.min(bytes.length - 1, Math.floor(share * bytes.length));
          if (!cut) bytes[at] = bytes[at]! ^ (1 << bit);
          const outcome = await unpacked(cut ? bytes.subarray(0, at) : bytes).catch(
            (error: unknown) => error,
          );
          expect(readdirSync(scratchDirectory)).toEqual([]);
          if (outcome instanceof Error) expect(outcome).toBeInstanceOf(CkptError);
          // Contents of a plain tar, and of a zstd stream without checksums, are proved by nothing but their images.
          else if (cut || kind === 1) expect(JSON.stringify(outcome)).toBe(whole);
        },
      ),
      { numRuns: 80 },
    );
  });

  it('tells how far it is', async () => {
    const bytes: number[] = [];
    await unpacked(rawTar(CHECKPOINT), { onProgress: ({ doneBytes }) => bytes.push(doneBytes) });
    expect(bytes.at(-1)).toBe('inventory{}'.length + 9000);
    expect(bytes).toEqual(bytes.toSorted((a, b) => a - b));
  });

  it('stops when it is asked to', async () => {
    const controller = new AbortController();
    controller.abort(new Error('enough'));
    await expect(unpacked(rawTar(CHECKPOINT), { signal: controller.signal })).rejects.toThrow('enough');
    expect(existsSync(scratchDirectory)).toBe(true);
    expect(readdirSync(scratchDirectory)).toEqual([]);
  });
});

describe('what programs write', () => {
  it('unpacks as it was packed', async () => {
    const tar = rawTar(CHECKPOINT.slice(0, -1));
    const source = mkdtempSync(join(folder, 'source-'));
    execFileSync('tar', ['-xpf', '-', '-C', source], { input: tar });
    const packed = tree(source);
    const withZstd = spawnSync('zstd', ['--version']).status === 0 ? ['--zstd'] : [];
    for (const option of ['-z', '--format=posix', ...withZstd]) {
      const bytes = execFileSync('tar', [option, '-C', source, '-cf', '-', '.'], { maxBuffer: 2 ** 24 });
      expect((await unpacked(bytes)).files).toEqual(packed);
    }
  });
});
