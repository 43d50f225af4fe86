import { describe, expect, it } from 'vitest';
import { decodeListing, LISTING_FORMAT } from '../../../../src/interop/criu/listing.ts';
import { openStore, temporaryDirectory } from '../../../store/harness.ts';
import { expectedOf, play, RunningPageServer, storedIn } from './running-page-server.ts';
import { type Contents, dumpSession, int32, pageOfSeed, type Tree } from './sessions.ts';
import { COMMAND, encodeHeader, FLAG, sharedDestination, WIRE_LAYOUTS, type WireHeader } from './wire.ts';

/** `count` pages from `start` on; content by `seed`, some of them zeros, some equal to others. */
function contents(start: number, count: number, seed: number): Map<number, number> {
  return new Map(Array.from({ length: count }, (_, at) => [start + at, at % 7 === 3 ? 0 : seed + (at % 90)]));
}

const FIRST: Tree = {
  tasks: new Map<number, Contents>([
    [1234, new Map([...contents(0x400, 300, 1000), ...contents(0x7fff0000, 700, 5000)])],
    [1300, new Map([0x10, 0x12, 0x14, 0x16, 0x18].map((page) => [page, page]))],
  ]),
  objects: new Map<number, Contents>([
    [77, contents(0, 20, 9000)],
    [4_294_967_295, contents(3, 5, 9100)],
  ]),
};

/** FIRST a while later: pages changed, appeared and went away; a process more, another gone. */
const SECOND: Tree = {
  tasks: new Map<number, Contents>([
    [1234, new Map([...contents(0x400, 250, 1000), ...contents(0x410, 9, 300), ...contents(0x9000, 30, 70)])],
    [1400, contents(0x20, 40, 20_000)],
  ]),
  objects: new Map<number, Contents>([[77, contents(0, 20, 9001)]]),
};

describe.each(WIRE_LAYOUTS)('a page server for CRIU %s', (layout) => {
  it('stores a dump, and answers 0 when it is there', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path);
    const client = await server.connect();
    expect(await play(client, dumpSession(FIRST, { layout, kind: 'dump' }))).toBeUndefined();
    expect(await storedIn(directory.path, 1)).toEqual(expectedOf(FIRST));
    const { session } = await server.event('received');
    expect(session).toMatchObject({
      layout: layout === '3.17' ? 'old' : 'new',
      checkpoint: 1,
      parent: null,
      preDump: false,
      tasks: [1234, 1300],
      sharedMemory: ['77', '4294967295'],
      pages: { received: 1030, parent: 0 },
      acknowledged: true,
    });
  });

  it('makes a chain of pre-dumps and a dump', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path, { chain: true });
    const third = { ...FIRST, objects: SECOND.objects };
    const steps = [
      dumpSession(FIRST, { layout, kind: 'pre-dump' }),
      dumpSession(SECOND, { layout, kind: 'pre-dump', previous: FIRST, entryPages: 500 }),
      dumpSession(third, { layout, kind: 'dump', previous: SECOND, entryPages: 1 }),
    ];
    for (const [at, session] of steps.entries()) {
      expect(await play(await server.connect(), session)).toBeUndefined();
      await server.event('received', at + 1);
    }
    const trees = [FIRST, SECOND, third];
    for (const [at, tree] of trees.entries()) {
      expect(await storedIn(directory.path, at + 1)).toEqual(expectedOf(tree));
    }
    const store = await openStore(directory.path, { access: 'read' });
    const manifests = await store.manifests();
    await store.close();
    expect(manifests.map(({ parent, preDump, notRestorable }) => [parent, preDump, notRestorable])).toEqual([
      [null, true, undefined],
      [1, true, undefined],
      [2, false, 'pages-only'],
    ]);
    expect(new Set(manifests.map(({ target }) => target.fingerprint)).size).toBe(1);
    expect(server.all('received').map(({ session }) => session.pages.parent)).toEqual([0, 241, 241]);
    expect(server.all('receiving').map(({ parent }) => parent)).toEqual([null, 1, 2]);
  });

  it('keeps what the pagemaps said', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path, { chain: true });
    await play(await server.connect(), dumpSession(FIRST, { layout, kind: 'dump' }));
    await server.event('received');
    await play(await server.connect(), dumpSession(SECOND, { layout, kind: 'dump', previous: FIRST }));
    await server.event('received', 2);
    const store = await openStore(directory.path, { access: 'read' });
    const files = await (await store.openCheckpoint(2)).files();
    await store.close();
    expect(files?.format).toBe(LISTING_FORMAT);
    const { memories } = decodeListing(files?.listing ?? new Uint8Array());
    expect(memories.map(({ name, pagesId, sharedMemory }) => [name, pagesId, sharedMemory])).toEqual([
      ['pagemap-1234.img', 0x10001, null],
      ['pagemap-1400.img', 0x10002, null],
      ['pagemap-shmem-77.img', 0x10003, '77'],
    ]);
    const [first, second] = memories;
    expect([...(second?.runs.startPages ?? [])]).toEqual([0x20]);
    expect([...(second?.runs.pageCounts ?? [])]).toEqual([40]);
    expect([...(second?.runs.flags ?? [])]).toEqual([6]);
    // As before but for nine pages, and those at 0x9000.
    expect([...(first?.runs.flags ?? [])]).toEqual([1, 6, 1, 6]);
  });

  it('takes shared memory of which CRIU left out what it had sent, and keeps its number', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path, { chain: true });
    await play(await server.connect(), dumpSession(FIRST, { layout, kind: 'pre-dump' }));
    await server.event('received');
    const about = (fields: Partial<WireHeader>) =>
      encodeHeader(layout, { destination: sharedDestination(4_294_967_295), ...fields });
    const pages = (flags: number, page: number, pageCount: number) =>
      about({ command: COMMAND.addFlags, flags, pageCount, address: BigInt(page) * 4096n });
    const session = [
      { bytes: about({ command: COMMAND.open2 }), answer: Buffer.of(1) },
      {
        bytes: Buffer.concat([
          pages(FLAG.present, 0, 1),
          pageOfSeed(5),
          pages(FLAG.parent, 4, 3),
          encodeHeader(layout, { command: COMMAND.close }),
        ]),
        answer: int32(0),
      },
    ];
    expect(await play(await server.connect(), session)).toBeUndefined();
    await server.event('received', 2);
    const before = FIRST.objects.get(4_294_967_295)!;
    const now = new Map([[0, 5], ...[4, 5, 6].map((page) => [page, before.get(page)!] as const)]);
    expect(await storedIn(directory.path, 2)).toEqual(
      expectedOf({ tasks: new Map(), objects: new Map([[4_294_967_295, now]]) }),
    );
    const store = await openStore(directory.path, { access: 'read' });
    const [first, second] = (await store.manifests()).map(({ processes }) =>
      processes.find(({ sharedMemory }) => sharedMemory === '4294967295'),
    );
    await store.close();
    expect(second?.pid).toBe(first?.pid);
    expect(first?.pid).toBeGreaterThanOrEqual(4_194_304);
  });
});
