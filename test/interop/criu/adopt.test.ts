import { cpSync, readdirSync, readFileSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifyStore } from '../../../src/checkpoint/index.ts';
import { type AdoptRequest, adoptImages } from '../../../src/interop/criu/adopt.ts';
import { exportImages } from '../../../src/interop/criu/export.ts';
import { importImages } from '../../../src/interop/criu/import.ts';
import { decodeListing } from '../../../src/interop/criu/listing.ts';
import { unpackCriuImages } from '../../cases/criu/unpack.ts';
import { CODEC, openStore, temporaryDirectory } from '../../store/harness.ts';
import { RunningPageServer } from './page-server/running-page-server.ts';

/** Sessions of CRIU 3.17.1: three pre-dumps and a dump of two processes with shared memory. */
let images = '';
/** A store that has received them. */
let received = '';
beforeAll(async () => {
  const root = unpackCriuImages('session');
  images = join(root, 'session');
  received = join(root, 'store');
  await using server = await RunningPageServer.start(received, { chain: true });
  for (const session of [1, 2, 3, 4]) {
    const client = await server.connect();
    await client.send(readFileSync(join(images, 'said', `${session}.client`)));
    await client.receiveRest();
    await server.event('received', session);
  }
});
afterAll(() => rmSync(join(images, '..'), { recursive: true, force: true }));

/** Copies of both, that a test may change. */
function workspace() {
  const directory = temporaryDirectory();
  const [store, dumps] = [join(directory.path, 'store'), join(directory.path, 'images')];
  cpSync(received, store, { recursive: true });
  cpSync(images, dumps, { recursive: true, verbatimSymlinks: true });
  return { store, dumps, [Symbol.dispose]: () => directory[Symbol.dispose]() };
}

function adopt(store: string, path: string, options: Partial<AdoptRequest> = {}) {
  return adoptImages({ storeDirectory: store, path, checkpoint: 'latest', workers: 0, ...options });
}

/** Everything in a store, so that it can be compared. */
function filesOf(directory: string): Record<string, string> {
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8', withFileTypes: true });
  return Object.fromEntries(
    names
      .filter((entry) => entry.isFile())
      .map((entry) => {
        const path = join(entry.parentPath, entry.name);
        return [path, readFileSync(path).toString('base64')];
      }),
  );
}

describe('adopting the images of a dump', () => {
  it('makes its checkpoint whole, and joins the pre-dumps too', async () => {
    using work = workspace();
    const result = await adopt(work.store, join(work.dumps, '4'));
    expect(result.target).toBe('braid');
    expect(
      result.checkpoints.map(({ checkpoint, preDump, processes, sharedMemoryObjects }) => [
        checkpoint,
        preDump,
        processes,
        sharedMemoryObjects,
      ]),
    ).toEqual([
      [1, true, 2, 0],
      [2, true, 2, 0],
      [3, true, 2, 0],
      [4, false, 2, 3],
    ]);
    const store = await openStore(work.store, { access: 'write' });
    const manifests = await store.manifests();
    expect(manifests.map(({ number, parent, notRestorable }) => [number, parent, notRestorable])).toEqual([
      [1, null, undefined],
      [2, 1, undefined],
      [3, 2, undefined],
      [4, 3, undefined],
    ]);
    expect(manifests.map(({ target }) => target.name)).toEqual(['braid', 'braid', 'braid', 'braid']);
    expect(manifests.at(-1)?.state?.format).toBe('ckpt-live-2');
    const [parent, child] = manifests.at(-1)?.processes ?? [];
    expect([parent?.parentPid, child?.parentPid]).toEqual([0, parent?.pid]);
    expect(parent?.vmas.some(({ pathname }) => pathname.endsWith('/braid'))).toBe(true);
    for await (const finding of verifyStore(store, CODEC)) throw new Error(finding.problem);
    await store.close();
  });

  it('keeps every file byte for byte, and what the pagemaps said', async () => {
    using work = workspace();
    await adopt(work.store, join(work.dumps, '4'));
    const store = await openStore(work.store, { access: 'read' });
    const kept = await (await store.openCheckpoint(4)).files();
    const listing = decodeListing(kept?.listing ?? new Uint8Array());
    const directory = join(work.dumps, '4');
    expect(listing.files.map(({ name }) => name)).toEqual(readdirSync(directory).sort());
    for (const { name, kind, bytes, offset } of listing.files) {
      if (kind !== 'file') continue;
      const pieces: Uint8Array[] = [];
      for await (const piece of kept?.read(offset, bytes) ?? []) pieces.push(piece.slice());
      expect(Buffer.concat(pieces).equals(readFileSync(join(directory, name)))).toBe(true);
    }
    const before = await openStore(received, { access: 'read' });
    const said = await (await before.openCheckpoint(4)).files();
    expect(listing.memories).toEqual(decodeListing(said?.listing ?? new Uint8Array()).memories);
    await before.close();
    await store.close();
  });

  it('gives images that hold what the dumper and the page server of CRIU had', async () => {
    using work = workspace();
    await adopt(work.store, join(work.dumps, '4'));
    const outputDirectory = join(work.dumps, 'exported');
    await exportImages({ storeDirectory: work.store, checkpoint: 4, outputDirectory, layout: 'chain' });
    const written = join(outputDirectory, '4');
    const names = readdirSync(join(work.dumps, '4-server')).filter((name) => name.startsWith('pages-'));
    expect(names).toHaveLength(5);
    for (const name of names) {
      expect(readFileSync(join(written, name)).equals(readFileSync(join(work.dumps, '4-server', name)))).toBe(
        true,
      );
    }
  });

  it('warns of pre-dumps whose pages CRIU may have overwritten, in their checkpoints and those above', async () => {
    using work = workspace();
    const path = join(work.dumps, '3', 'inventory.img');
    const inventory = readFileSync(path);
    const mode = inventory.lastIndexOf(Buffer.of(0x48, 1));
    inventory[mode + 1] = 2;
    writeFileSync(path, inventory);
    const { warnings } = await adopt(work.store, join(work.dumps, '4'));
    expect(warnings).toEqual([expect.stringContaining('a pre-dump of mode read came through a page server')]);
    const store = await openStore(work.store, { access: 'read' });
    const manifests = await store.manifests();
    await store.close();
    expect(manifests.map((manifest) => manifest.warnings.map(({ pid, reason }) => [pid, reason]))).toEqual([
      [],
      [],
      [[206, warnings[0]]],
      [[206, warnings[0]]],
    ]);
  });

  it('does without the parents, and without their links', async () => {
    using work = workspace();
    unlinkSync(join(work.dumps, '4', 'parent'));
    symlinkSync('../nowhere', join(work.dumps, '4', 'parent'));
    const { checkpoints, notes } = await adopt(work.store, join(work.dumps, '4'));
    expect(checkpoints.map(({ checkpoint }) => checkpoint)).toEqual([4]);
    expect(notes).toEqual([expect.stringContaining('checkpoint 3 stays as it is')]);
  });

  it('leads to a chain of directories that criu takes: pages without the rest are none', async () => {
    using work = workspace();
    const exported = (checkpoint: number) =>
      exportImages({
        storeDirectory: work.store,
        checkpoint,
        outputDirectory: join(work.store, '..', `out-${checkpoint}`),
        layout: 'chain',
        workers: 0,
      });
    await expect(exported(3)).rejects.toMatchObject({
      code: 'unsupported',
      hint: expect.stringMatching('adopt'),
    });
    for (const parent of [1, 2, 3]) rmSync(join(work.dumps, String(parent)), { recursive: true });
    await adopt(work.store, join(work.dumps, '4'));
    const { directories, warnings } = await exported(4);
    expect(directories.map(({ checkpoint, parent }) => [checkpoint, parent])).toEqual([[4, null]]);
    expect(warnings).toEqual([expect.stringContaining('it has all pages itself')]);
    const again = await importImages({
      storeDirectory: join(work.store, '..', 'again'),
      path: directories[0]!.directory,
      workers: 0,
    });
    expect(again.checkpoints.map(({ processes, notRestorable }) => [processes, notRestorable])).toEqual([
      [2, null],
    ]);
  });

  it('takes the pre-dumps first if told to, and then knows the dump that stands on them', async () => {
    using work = workspace();
    await adopt(work.store, join(work.dumps, '2'), { checkpoint: 2 });
    const { checkpoints } = await adopt(work.store, join(work.dumps, '4'));
    expect(checkpoints.map(({ checkpoint }) => checkpoint)).toEqual([3, 4]);
  });
});

describe('what does not belong together', () => {
  /** @param spoil changes the copies, and says what to adopt */
  async function expectRefusal(
    message: string,
    spoil: (work: { store: string; dumps: string }) => Promise<[string, Partial<AdoptRequest>?]>,
  ): Promise<void> {
    using work = workspace();
    const [path, options] = await spoil(work);
    const before = filesOf(work.store);
    await expect(adopt(work.store, path, options)).rejects.toThrow(message);
    expect(filesOf(work.store)).toEqual(before);
  }

  it('is refused, and nothing changes: a dump and a pre-dump', async () => {
    await expectRefusal('checkpoint 4 is a dump, and', async ({ dumps }) => [join(dumps, '3')]);
    await expectRefusal('checkpoint 3 is a pre-dump, and', async ({ dumps }) => [
      join(dumps, '4'),
      { checkpoint: 3 },
    ]);
  });

  it('is refused: a pre-dump of another round', async () => {
    await expectRefusal('CRIU sent 38 pages, and 62 came', async ({ dumps }) => [
      join(dumps, '2'),
      { checkpoint: 1 },
    ]);
    await expectRefusal('it has no parent, but 24 pages were left out', async ({ dumps }) => [
      join(dumps, '1'),
      { checkpoint: 2 },
    ]);
  });

  it('is refused: other processes', async () => {
    await expectRefusal('whose pages did not come; pages came of tasks', async ({ dumps }) => {
      rmSync(join(dumps, '4'), { recursive: true });
      const other = unpackCriuImages('snaps');
      cpSync(join(other, 'snaps', '1'), join(dumps, '4'), { recursive: true, verbatimSymlinks: true });
      rmSync(other, { recursive: true });
      for (const name of readdirSync(join(dumps, '4'))) {
        if (/^page|^parent|^stats/.test(name)) unlinkSync(join(dumps, '4', name));
      }
      return [join(dumps, '4')];
    });
  });

  it('is refused: images with pages of their own', async () => {
    await expectRefusal('has pages of its own: pagemap-206.img', async ({ dumps }) => {
      for (const name of ['pagemap-206.img', 'pages-65537.img']) {
        cpSync(join(dumps, '1-server', name), join(dumps, '4', name));
      }
      return [join(dumps, '4')];
    });
  });

  it('is refused: images that are there already', async () => {
    await expectRefusal('checkpoint 4 has its images already', async ({ store, dumps }) => {
      await adopt(store, join(dumps, '4'));
      return [join(dumps, '4')];
    });
  });

  it('is refused: a parent that is younger, or another than what was adopted', async () => {
    await expectRefusal('was dumped when the machine had run for', async ({ dumps }) => {
      unlinkSync(join(dumps, '4', 'parent'));
      symlinkSync('../4', join(dumps, '4', 'parent'));
      return [join(dumps, '4')];
    });
    await expectRefusal(
      'is not what checkpoint 3 was made of: its inventory.img differs',
      async ({ store, dumps }) => {
        await adopt(store, join(dumps, '3'), { checkpoint: 3 });
        cpSync(join(dumps, '2', 'inventory.img'), join(dumps, '3', 'inventory.img'));
        return [join(dumps, '4')];
      },
    );
  });

  it('is refused: no images, and images that are damaged', async () => {
    await expectRefusal('is no directory of CRIU images', async ({ dumps }) => [join(dumps, 'said')]);
    await expectRefusal('mm-206.img', async ({ dumps }) => {
      writeFileSync(
        join(dumps, '4', 'mm-206.img'),
        readFileSync(join(dumps, '4', 'mm-206.img')).subarray(0, 99),
      );
      return [join(dumps, '4')];
    });
    await expectRefusal('core-206.img', async ({ dumps }) => {
      unlinkSync(join(dumps, '4', 'core-206.img'));
      return [join(dumps, '4')];
    });
  });
});
