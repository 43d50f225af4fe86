import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { digestPage } from '../../src/codec/index.ts';
import {
  CheckpointNotFoundError,
  StoreNotFoundError,
  StoreUnusableError,
  StoreVersionError,
  UsageError,
} from '../../src/core/index.ts';
import { dump, openStore, pageOf, type TargetMemory, temporaryDirectory } from './harness.ts';

const SMALL: TargetMemory = new Map([[1, new Map([[5, pageOf(1)]])]]);

describe('opening a store', () => {
  it('creates one for its owner only, with the directories above it', async () => {
    using directory = temporaryDirectory();
    const path = join(directory.path, 'deeper', 'still');
    const store = await openStore(path);
    await dump(store, SMALL);
    await store.close();
    expect(statSync(path).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(path, { recursive: true, encoding: 'utf8' })) {
      const status = statSync(join(path, name));
      expect(`${name} ${(status.mode & 0o777).toString(8)}`).toBe(
        `${name} ${status.isDirectory() ? 700 : 600}`,
      );
    }
  });

  it('takes away what others may do with an empty directory that becomes a store', async () => {
    using directory = temporaryDirectory();
    const path = join(directory.path, 'open');
    mkdirSync(path, { mode: 0o755 });
    await (await openStore(path)).close();
    expect(statSync(path).mode & 0o777).toBe(0o700);
  });

  it('says that there is none, and how to get one', async () => {
    using directory = temporaryDirectory();
    const opened = openStore(join(directory.path, 'none'), { access: 'read' });
    await expect(opened).rejects.toThrow(StoreNotFoundError);
    await expect(opened).rejects.toMatchObject({ hint: expect.stringContaining('ckpt dump') });
    await expect(openStore(join(directory.path, 'none'), { access: 'write' })).rejects.toThrow(
      StoreNotFoundError,
    );
  });

  it.runIf(existsSync('/proc/self'))('does not try for ever where no directory can be made', async () => {
    await expect(openStore('/proc/ckpt/store', { access: 'create' })).rejects.toThrow(StoreUnusableError);
  });

  it('refuses directories that hold something else, and files', async () => {
    using directory = temporaryDirectory();
    writeFileSync(join(directory.path, 'letter.txt'), 'dear');
    for (const access of ['read', 'write', 'create'] as const) {
      await expect(openStore(directory.path, { access })).rejects.toThrow(StoreNotFoundError);
      await expect(openStore(directory.path, { access })).rejects.toThrow('is not a store');
      await expect(openStore(join(directory.path, 'letter.txt'), { access })).rejects.toThrow();
    }
    expect(readdirSync(directory.path)).toEqual(['letter.txt']);
  });

  it.each(['ckpt-store.json', 'checkpoints/000001.json', 'packs/000001.pack'])(
    'refuses a newer version of %s',
    async (name) => {
      using directory = temporaryDirectory();
      const writer = await openStore(directory.path);
      await dump(writer, SMALL);
      await writer.close();
      makeNewer(join(directory.path, name));
      const read = async () => {
        const store = await openStore(directory.path, { access: 'read' });
        try {
          for await (const _ of (await store.openCheckpoint(1)).pages(1)) expect.fail('read a newer version');
        } finally {
          await store.close();
        }
      };
      await expect(read()).rejects.toThrow(StoreVersionError);
      await expect(read()).rejects.toThrow(/has format version 3, this ckpt knows [12]$/);
    },
  );

  it('goes on where a folder is missing, as some backups leave out empty ones', async () => {
    using directory = temporaryDirectory();
    await (await openStore(directory.path)).close();
    rmdirSync(join(directory.path, 'tmp'));
    const store = await openStore(directory.path);
    expect((await dump(store, SMALL)).number).toBe(1);
    await store.close();
  });
});

describe('an open store', () => {
  it('does not write if it was opened for reading', async () => {
    using directory = temporaryDirectory();
    await (await openStore(directory.path)).close();
    const store = await openStore(directory.path, { access: 'read' });
    await expect(dump(store, SMALL)).rejects.toThrow(UsageError);
    await expect(store.prune({ checkpoints: [], rewrites: [] })).rejects.toThrow(UsageError);
    await store.close();
  });

  it('says which checkpoints there are if one is asked for that is not', async () => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    await expect(store.manifest(1)).rejects.toMatchObject({ hint: expect.stringContaining('it is empty') });
    expect(await store.newest()).toBeUndefined();
    await dump(store, SMALL);
    await expect(store.openCheckpoint(9)).rejects.toThrow(CheckpointNotFoundError);
    await expect(store.openCheckpoint(9)).rejects.toMatchObject({
      hint: expect.stringContaining('newest is 1'),
    });
    await expect((await store.openCheckpoint(1)).index(77)).rejects.toThrow(
      'checkpoint 000001 has no process 77',
    );
    await store.close();
  });

  it('leaves nothing of a checkpoint that is given up, and counts on', async () => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    await dump(store, SMALL);
    const writer = await store.beginCheckpoint({ parent: null, compression: { name: 'none', level: 0 } });
    expect(writer.number).toBe(2);
    writer.encodeBlock(writer.reserveBlock(), 'pages', digestPage(pageOf(9)), pageOf(9));
    await writer.abort();
    expect(readdirSync(join(directory.path, 'tmp'))).toEqual([]);
    expect(await store.packs()).toEqual([1]);
    expect((await dump(store, SMALL)).number).toBe(2);
    await store.close();
  });

  it('stores equal pages once, whatever process, and zero pages not at all', async () => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    const memory = new Map(
      [...Array(200).keys()].map((page) => [page, page < 100 ? pageOf(5) : null] as const),
    );
    const manifest = await dump(
      store,
      new Map([
        [1, new Map(memory)],
        [2, new Map(memory)],
      ]),
    );
    expect(manifest.pages).toMatchObject({ present: 400, zero: 200 });
    let pageBlocks = 0;
    const reader = store.blocks.pack(1);
    for (let index = 0; index < reader.table.blocks.length; index++) {
      const { header } = reader.readIndex(index);
      if (header.kind === 'pages') pageBlocks += header.itemCount;
    }
    expect(pageBlocks).toBe(1);
    await store.close();
  });

  it('passes on what an encoder threw, when it commits', async () => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    const writer = await store.beginCheckpoint({ parent: null, compression: { name: 'zstd', level: 1 } });
    const failing = Promise.reject(new Error('a codec worker failed'));
    writer.writeBlock(writer.reserveBlock(), 'pages', digestPage(pageOf(9)), failing);
    await expect(writer.commit(FACTS)).rejects.toThrow('a codec worker failed');
    await writer.abort();
    expect(await store.numbers()).toEqual([]);
    await store.close();
  });

  it('refuses to commit a checkpoint with a block that was reserved and never written', async () => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    const writer = await store.beginCheckpoint({ parent: null, compression: { name: 'zstd', level: 1 } });
    writer.reserveBlock();
    await expect(writer.commit(FACTS)).rejects.toThrow('blocks 0 were reserved and never written');
    await writer.abort();
    await store.close();
  });
});

const FACTS = {
  preDump: false,
  target: { kind: 'simulated', name: 'sim:x', fingerprint: 'f' },
  tracker: 'compare',
  pages: { scanned: 0, dirty: 0, shared: 0, written: 0 },
  warnings: [],
  times: () => ({ freeze: 0, scan: 0, read: 0, total: 0 }),
} as const;

function makeNewer(path: string): void {
  const bytes = readFileSync(path);
  if (path.endsWith('.json')) {
    writeFileSync(path, bytes.toString('utf8').replace('"version": 1', '"version": 3'));
    return;
  }
  bytes.writeUInt16LE(3, 8);
  bytes.writeUInt32LE(crc32Of(bytes.subarray(0, 20)), 20);
  writeFileSync(path, bytes);
}

/** CRC-32 bit by bit, so that the test does not rest on the code that it tests. */
function crc32Of(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}
