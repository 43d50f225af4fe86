import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ImageFile, importImages } from '../../../../src/interop/index.ts';
import { unpackCriuImages } from '../../../cases/criu/unpack.ts';
import { filesOf, withStore } from './stored-memory.ts';

let images = '';
let work = '';
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-zoo-'));
  images = join(unpackCriuImages('zoo'), 'zoo');
});
afterAll(() => {
  rmSync(work, { recursive: true });
  rmSync(join(images, '..'), { recursive: true });
});

describe('a dump of everything that CRIU has an image for', () => {
  it('is decoded to the last field and the last byte', async () => {
    const names = readdirSync(images).filter((name) => name.endsWith('.img') && !name.startsWith('pages-'));
    const kinds = new Set<string>();
    for (const name of names) {
      const image = await ImageFile.open(join(images, name));
      kinds.add(image.kind.name);
      for await (const { message } of image.entries())
        expect(JSON.stringify(message)).not.toContain('$unknown');
    }
    for (const kind of ['PIPES_DATA', 'FIFO_DATA', 'SK_QUEUES', 'TCP_STREAM', 'GHOST_FILE', 'FILE_LOCKS']) {
      expect(kinds).toContain(kind);
    }
    for (const kind of [
      'IPCNS_MSG',
      'IPCNS_SEM',
      'IPCNS_SHM',
      'TTY_INFO',
      'TTY_DATA',
      'MEMFD_INODE',
      'TIMENS',
    ]) {
      expect(kinds).toContain(kind);
    }
  });

  it('is imported without a remark, every file byte for byte', async () => {
    const storeDirectory = join(work, 'store');
    const { notes, checkpoints } = await importImages({ storeDirectory, path: images, workers: 0 });
    expect(notes).toEqual([]);
    expect(checkpoints).toMatchObject([{ processes: 2, notRestorable: null, preDump: false }]);
    await withStore(storeDirectory, async (store) => {
      const { contents } = await filesOf(store, 1);
      const kept = readdirSync(images).filter((name) => !/^pages-[1-9]|^pagemap-/.test(name));
      for (const name of kept) expect(contents.get(name)).toEqual(readFileSync(join(images, name)));
      expect(contents.size).toBe(kept.length);
    });
  });
});
