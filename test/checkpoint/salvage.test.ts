import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { restoreToDirectory } from '../../src/checkpoint/index.ts';
import { IntegrityError } from '../../src/core/index.ts';
import { BLOCK_PAGES } from '../../src/image/index.ts';
import { dump, openStore, pageOf, temporaryDirectory } from '../store/harness.ts';

/** A store whose only checkpoint has 100 pages, of which a bit was flipped in one block. */
async function damagedStore(path: string, kind: 'pages' | 'index-root' | 'none'): Promise<void> {
  const store = await openStore(path);
  await dump(store, new Map([[7, new Map([...Array(100).keys()].map((page) => [page, pageOf(page)]))]]));
  const reader = store.blocks.pack(1);
  const index = [...reader.table.blocks.keys()].find((at) => reader.readIndex(at).header.kind === kind);
  const offset = index === undefined ? undefined : reader.table.offsetsBytes[index];
  await store.close();
  if (offset === undefined) return;
  const pack = join(path, 'packs', '000001.pack');
  const bytes = readFileSync(pack);
  bytes[offset + 30]! ^= 4;
  writeFileSync(pack, bytes);
}

describe('a restore with salvage', () => {
  it('brings back what can be proved, leaves holes, and lists them', async () => {
    using directory = temporaryDirectory();
    const store = join(directory.path, 'store');
    await damagedStore(store, 'pages');
    const request = { storeDirectory: store, checkpoint: 1, outputDirectory: join(directory.path, 'out') };
    await expect(restoreToDirectory(request)).rejects.toThrow(IntegrityError);
    expect(existsSync(request.outputDirectory)).toBe(false);
    const { lost, pages, files } = await restoreToDirectory({ ...request, salvage: true });
    expect(files).toBe(1);
    expect(lost).toEqual([expect.objectContaining({ pid: 7, startPage: 0, endPage: BLOCK_PAGES })]);
    expect(pages).toBe(100 - BLOCK_PAGES);
    const names = readdirSync(request.outputDirectory).sort();
    expect(names).toEqual([expect.stringMatching(/\.mem$/), 'lost', 'maps']);
    expect(readFileSync(join(request.outputDirectory, 'lost'), 'utf8')).toMatch(
      new RegExp(`^7 0x0000-0x${(BLOCK_PAGES * 4096).toString(16)} .*pack 000001`),
    );
    const memory = Buffer.alloc(100 * 4096);
    const file = openSync(join(request.outputDirectory, names[0]!), 'r');
    readSync(file, memory);
    closeSync(file);
    for (let page = 0; page < 100; page++) {
      const expected = page < BLOCK_PAGES ? new Uint8Array(4096) : pageOf(page);
      expect(memory.subarray(page * 4096, (page + 1) * 4096).equals(expected)).toBe(true);
    }
  });

  it('of a store that is whole is a restore', async () => {
    using directory = temporaryDirectory();
    const store = join(directory.path, 'store');
    await damagedStore(store, 'none');
    const outputDirectory = join(directory.path, 'out');
    const result = await restoreToDirectory({
      storeDirectory: store,
      checkpoint: 1,
      outputDirectory,
      salvage: true,
    });
    expect(result).toMatchObject({ pages: 100, lost: [] });
    expect(readdirSync(outputDirectory)).not.toContain('lost');
  });

  it('loses a process whose index cannot be found, and says so', async () => {
    using directory = temporaryDirectory();
    const store = join(directory.path, 'store');
    await damagedStore(store, 'index-root');
    const outputDirectory = join(directory.path, 'out');
    const result = await restoreToDirectory({
      storeDirectory: store,
      checkpoint: 1,
      outputDirectory,
      salvage: true,
    });
    expect(result.pages).toBe(0);
    expect(result.lost).toEqual([
      expect.objectContaining({ pid: 7, startPage: 0, why: expect.stringContaining('block') }),
    ]);
  });
});
