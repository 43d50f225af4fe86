import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PAGE_SIZE } from '../../../../src/core/index.ts';
import { readMemoryImage } from '../../../../src/interop/criu/images/pagemap-file.ts';
import { adoptImages, exportImages, importImages } from '../../../../src/interop/index.ts';
import { unpackCriuImages } from '../../../cases/criu/unpack.ts';
import { temporaryDirectory } from '../../../store/harness.ts';
import { LazyClient } from './lazy-client.ts';
import { serveLazily } from './running-lazy-server.ts';
import { RunningPageServer } from './running-page-server.ts';
import { TestClient } from './test-client.ts';

let directory = '';
beforeAll(() => {
  directory = join(unpackCriuImages('lazy'), 'lazy');
});
afterAll(() => rmSync(join(directory, '..'), { recursive: true, force: true }));

describe('what criu lazy-pages 3.17.1 asked', () => {
  it('is answered with the bytes that CRIU’s own page server answered', async () => {
    using store = temporaryDirectory();
    await importImages({ storeDirectory: store.path, path: join(directory, 'images'), workers: 0 });
    await using server = await serveLazily(store.path);
    for (let restore = 0; restore < 2; restore++) {
      const client = await TestClient.connect(server.port);
      await client.send(readFileSync(join(directory, 'said', '1.client')));
      client.end();
      const wanted = readFileSync(join(directory, 'said', '1.server'));
      expect((await client.receiveRest()).equals(wanted)).toBe(true);
    }
    await expect.poll(() => server.ended().map(({ failure }) => failure)).toEqual([undefined, undefined]);
  });
});

/** The pages of a task in the images of a directory that have one of the flags `mask`, by page number. */
async function pagesIn(images: string, pid: number, mask: number): Promise<Map<number, Buffer | undefined>> {
  const { entries, pagesPath } = await readMemoryImage(images, `pagemap-${pid}.img`, { kind: 'task', pid });
  const pages = new Map<number, Buffer | undefined>();
  const content = readFileSync(pagesPath);
  for (const [entry, flags] of entries.flags.entries()) {
    for (let at = 0; (flags & mask) !== 0 && at < entries.pageCounts[entry]!; at++) {
      const from = (entries.dataPages[entry]! + at) * PAGE_SIZE;
      const isPresent = (flags & 4) !== 0;
      pages.set(
        entries.startPages[entry]! + at,
        isPresent ? content.subarray(from, from + PAGE_SIZE) : undefined,
      );
    }
  }
  return pages;
}

describe('a dump that came through the page server', () => {
  it('is given lazily when the rest has been adopted: what the lazy export leaves out is here', async () => {
    using work = temporaryDirectory();
    const root = unpackCriuImages('session');
    const at = (name: string) => join(work.path, name);
    const storeDirectory = at('store');
    await using receiver = await RunningPageServer.start(storeDirectory, { chain: true });
    for (const session of [1, 2, 3, 4]) {
      const client = await receiver.connect();
      await client.send(readFileSync(join(root, 'session', 'said', `${session}.client`)));
      await client.receiveRest();
      await receiver.event('received', session);
    }
    await expect(serveLazily(storeDirectory)).rejects.toThrow('has pages alone');
    const common = { storeDirectory, checkpoint: 4, workers: 0 };
    await adoptImages({ ...common, path: join(root, 'session', '4') });
    rmSync(root, { recursive: true });
    await exportImages({ ...common, layout: 'flat', outputDirectory: at('whole') });
    await exportImages({ ...common, layout: 'flat', lazy: true, outputDirectory: at('lazy') });
    await using server = await serveLazily(storeDirectory);
    const client = await LazyClient.connect(server.port, '3.17');
    let fetched = 0;
    for (const name of readdirSync(at('lazy'))) {
      const pid = Number(/^pagemap-(\d+)\.img$/.exec(name)?.[1] ?? 0);
      if (pid === 0) continue;
      const whole = await pagesIn(at('whole'), pid, 4);
      for (const [page, present] of await pagesIn(at('lazy'), pid, 2)) {
        if (present !== undefined) continue;
        expect((await client.get(pid, page, 1)).bytes.equals(whole.get(page)!)).toBe(true);
        fetched++;
      }
    }
    // As many as criu lazy-pages counts for two processes of this program.
    expect(fetched).toBe(46);
    expect(await client.close()).toBe(0);
  });
});
