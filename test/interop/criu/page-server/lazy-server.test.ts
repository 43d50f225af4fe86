import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { dump, openStore, temporaryDirectory } from '../../../store/harness.ts';
import { LazyClient } from './lazy-client.ts';
import { serveLazily } from './running-lazy-server.ts';
import { type Contents, pageOfSeed, type Tree } from './sessions.ts';
import { storeTree } from './stored-tree.ts';
import { Disconnected, TestClient } from './test-client.ts';
import { COMMAND, encodeHeader, taskDestination, WIRE_LAYOUTS } from './wire.ts';

const range = (startPage: number, seeds: readonly number[]): Contents =>
  new Map(seeds.map((seed, at) => [startPage + at, seed]));

const HEAP = 0x7f0000000;
/** Some pages of zeros, and some twice. */
const HEAP_SEEDS = Array.from({ length: 1500 }, (_, at) => at % 701);

const TREE: Tree = {
  tasks: new Map([
    [1234, new Map([...range(0x400, [1, 0, 0, 2]), ...range(HEAP, HEAP_SEEDS)])],
    [1240, range(0x400, [9])],
  ]),
  objects: new Map(),
};

const contentOf = (seeds: readonly number[]) => Buffer.concat(seeds.map(pageOfSeed));

describe('a lazy page server', () => {
  it.each(WIRE_LAYOUTS)('answers requests of CRIU %s in their order', async (layout) => {
    using directory = temporaryDirectory();
    await storeTree(directory.path, TREE);
    await using server = await serveLazily(directory.path);
    const client = await LazyClient.connect(server.port, layout);
    await client.stream.send(
      client.request(1234, 0x400, 4),
      client.request(1240, 0x400, 1),
      client.request(1234, 0x401, 1),
    );
    expect(await client.answer()).toEqual({
      pid: 1234,
      startPage: 0x400,
      pageCount: 4,
      bytes: contentOf([1, 0, 0, 2]),
    });
    expect(await client.answer()).toEqual({
      pid: 1240,
      startPage: 0x400,
      pageCount: 1,
      bytes: contentOf([9]),
    });
    expect(await client.answer()).toEqual({
      pid: 1234,
      startPage: 0x401,
      pageCount: 1,
      bytes: contentOf([0]),
    });
    expect(await client.close()).toBe(0);
    await expect.poll(() => server.ended()).toMatchObject([{ requests: 3, pages: 6, failure: undefined }]);
  });

  it('gives a range that is longer than an answer in several ones', async () => {
    using directory = temporaryDirectory();
    await storeTree(directory.path, TREE);
    await using server = await serveLazily(directory.path);
    const client = await LazyClient.connect(server.port, '4.2');
    expect((await client.get(1234, HEAP, 100_000)).pageCount).toBe(1024);
    expect((await client.get(1234, HEAP + 1490, 1024)).pageCount).toBe(10);
    expect(Buffer.compare(await client.getAll(1234, HEAP, 1500), contentOf(HEAP_SEEDS))).toBe(0);
    expect(await client.close()).toBe(0);
  });

  it('serves several clients at once, any page as often as it is asked for, restore after restore', async () => {
    using directory = temporaryDirectory();
    await storeTree(directory.path, TREE);
    await using server = await serveLazily(directory.path);
    const restore = async (number: number) => {
      const client = await LazyClient.connect(server.port, WIRE_LAYOUTS[number % 2] ?? '3.17');
      for (let round = 0; round < 3; round++) {
        const pages = await client.getAll(1234, HEAP + 7 * number, 200);
        expect(Buffer.compare(pages, contentOf(HEAP_SEEDS.slice(7 * number, 7 * number + 200)))).toBe(0);
      }
      expect(await client.close()).toBe(0);
    };
    await Promise.all([0, 1, 2, 3].map(restore));
    await restore(4);
    await expect.poll(() => server.ended().length).toBe(5);
    expect(server.ended().every(({ failure, pages }) => failure === undefined && pages === 600)).toBe(true);
  });

  it.each([
    ['no pages', (client: LazyClient) => client.request(1234, 0x400, 0), 'no pages'],
    ['an impossible process', (client: LazyClient) => client.request(-1 >>> 0, 0x400, 1), '4294967295'],
    [
      'anything else',
      () => encodeHeader('3.17', { command: COMMAND.open2, destination: taskDestination(1234) }),
      'only gives pages',
    ],
  ])('closes the connection of a client that asks for %s', async (_, request, message) => {
    using directory = temporaryDirectory();
    await storeTree(directory.path, TREE);
    await using server = await serveLazily(directory.path);
    const client = await LazyClient.connect(server.port, '3.17');
    await client.stream.send(request(client));
    await expect(client.answer()).rejects.toThrow(Disconnected);
    await expect.poll(() => server.ended()[0]?.failure).toContain(message);
    const other = await LazyClient.connect(server.port, '3.17');
    expect((await other.get(1240, 0x400, 1)).bytes).toEqual(contentOf([9]));
    expect(await other.close()).toBe(0);
  });

  it.each([
    ['page', 1234, 0x404],
    ['process', 77, 0x400],
  ])('keeps a client waiting that asks for a %s that is not there', async (_, pid, page) => {
    using directory = temporaryDirectory();
    await storeTree(directory.path, TREE);
    await using server = await serveLazily(directory.path);
    const client = await LazyClient.connect(server.port, '3.17');
    await client.ask(pid, page, 1);
    await expect.poll(() => server.events.at(-1)?.kind).toBe('stuck');
    expect(client.stream.isOver).toBe(false);
    client.stream.vanish();
    const problem = `of process ${pid}, which the checkpoint does not have`;
    await expect.poll(() => server.ended()[0]?.failure).toContain(problem);
  });

  it('answers to the end a client that has said everything and closed its side', async () => {
    using directory = temporaryDirectory();
    await storeTree(directory.path, TREE);
    await using server = await serveLazily(directory.path);
    const client = await LazyClient.connect(server.port, '3.17');
    const close = encodeHeader('3.17', { command: COMMAND.close });
    await client.stream.send(client.request(1234, HEAP, 1024), client.request(1240, 0x400, 1), close);
    client.stream.end();
    expect((await client.answer()).pageCount).toBe(1024);
    expect((await client.answer()).bytes).toEqual(contentOf([9]));
    expect(await client.stream.receiveRest()).toEqual(Buffer.alloc(4));
  });

  it('answers a session that consists of its end', async () => {
    using directory = temporaryDirectory();
    await storeTree(directory.path, TREE);
    await using server = await serveLazily(directory.path);
    for (const layout of WIRE_LAYOUTS) {
      expect(await (await LazyClient.connect(server.port, layout)).close()).toBe(0);
    }
    await expect.poll(() => server.ended().map(({ failure }) => failure)).toEqual([undefined, undefined]);
  });

  it('says of clients that vanish what they did until then', async () => {
    using directory = temporaryDirectory();
    await storeTree(directory.path, TREE);
    await using server = await serveLazily(directory.path);
    const client = await LazyClient.connect(server.port, '3.17');
    await client.get(1234, HEAP, 10);
    client.stream.vanish();
    await expect.poll(() => server.ended()).toMatchObject([{ requests: 1, pages: 10 }]);
    expect(server.ended()[0]?.failure).toMatch(/lost|closed the connection/);
  });

  it('prepares no more than the client takes', async () => {
    using directory = temporaryDirectory();
    await storeTree(directory.path, TREE);
    await using server = await serveLazily(directory.path);
    const client = await LazyClient.connect(server.port, '3.17');
    await client.get(1234, HEAP, 1024);
    const before = process.memoryUsage().arrayBuffers;
    const requests = 400;
    await client.stream.send(...Array.from({ length: requests }, () => client.request(1234, HEAP, 1024)));
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 * 1024 * 1024);
    const answer = await client.answer();
    expect(Buffer.compare(answer.bytes, contentOf(HEAP_SEEDS.slice(0, 1024)))).toBe(0);
    client.stream.vanish();
    await expect.poll(() => server.ended().length).toBe(1);
    expect(server.ended()[0]?.requests).toBeLessThan(20);
  });

  it('keeps a client waiting rather than giving it a damaged page or letting go of it', async () => {
    using directory = temporaryDirectory();
    await storeTree(directory.path, TREE);
    const packs = join(directory.path, 'packs');
    const pack = join(packs, readdirSync(packs)[0]!);
    const bytes = readFileSync(pack);
    bytes[200]! ^= 1;
    writeFileSync(pack, bytes);
    await using server = await serveLazily(directory.path);
    const client = await LazyClient.connect(server.port, '3.17');
    await client.ask(1234, 0x400, 4);
    await expect.poll(() => server.events.at(-1)?.kind).toBe('stuck');
    await client.ask(1240, 0x400, 1);
    await client.stream.receive(24);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(client.stream.isOver).toBe(false);
    expect(client.stream.socket.readableLength).toBe(0);
    client.stream.vanish();
    await expect.poll(() => server.ended()[0]?.failure).toContain('pack 000001');
  });

  it('has patience with clients that ask for nothing or take nothing, and not for ever', async () => {
    using directory = temporaryDirectory();
    await storeTree(directory.path, TREE);
    await using server = await serveLazily(directory.path, { silenceMicroseconds: 200_000 });
    const idle = await LazyClient.connect(server.port, '3.17');
    const full = await LazyClient.connect(server.port, '3.17');
    await idle.get(1234, 0x400, 1);
    await full.stream.send(...Array.from({ length: 20 }, () => full.request(1234, HEAP, 1024)));
    await expect
      .poll(() => server.ended().map(({ failure }) => failure))
      .toEqual(['it has sent nothing for 0.2 s', expect.stringMatching(/^it has (taken|sent) no/)]);
    await expect(idle.answer()).rejects.toThrow(Disconnected);
    full.stream.vanish();
  });

  it('lets go of its clients when it is told to end', async () => {
    using directory = temporaryDirectory();
    await storeTree(directory.path, TREE);
    const stop = new AbortController();
    await using server = await serveLazily(directory.path, { signal: stop.signal });
    const client = await LazyClient.connect(server.port, '3.17');
    await client.get(1234, 0x400, 1);
    stop.abort(new Error('interrupted'));
    await expect(server.over).rejects.toThrow('interrupted');
    await expect(client.answer()).rejects.toThrow(Disconnected);
    expect(server.events.map(({ kind }) => kind)).toEqual(['listening', 'begun', 'failed']);
  });

  it('ends after one session if told to, whoever has looked at the port before', async () => {
    using directory = temporaryDirectory();
    await storeTree(directory.path, TREE);
    await using server = await serveLazily(directory.path, { once: true });
    const scanner = await TestClient.connect(server.port);
    scanner.end();
    await scanner.receiveRest();
    const client = await LazyClient.connect(server.port, '3.17');
    expect((await client.get(1234, 0x400, 1)).pageCount).toBe(1);
    expect(await client.close()).toBe(0);
    await server.over;
    expect(server.ended()).toHaveLength(1);
  });

  it('fails with its only session', async () => {
    using directory = temporaryDirectory();
    await storeTree(directory.path, TREE);
    await using server = await serveLazily(directory.path, { once: true });
    const client = await TestClient.connect(server.port);
    await client.send(Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'));
    await client.receiveRest().catch(() => undefined);
    await expect(server.over).rejects.toThrow('does not speak CRIU');
  });

  it('opens the checkpoint anew when nobody uses it, and says if it is gone', async () => {
    using directory = temporaryDirectory();
    await storeTree(directory.path, TREE);
    await using server = await serveLazily(directory.path, { checkpoint: 1 });
    const store = await openStore(directory.path, { access: 'write' });
    await store.prune({ checkpoints: [1], rewrites: [] });
    await store.close();
    const client = await LazyClient.connect(server.port, '3.17');
    await client.ask(1234, 0x400, 1);
    await expect.poll(() => server.events.at(-1)).toMatchObject({ kind: 'stuck' });
    expect(client.stream.isOver).toBe(false);
    client.stream.end();
    await expect.poll(() => server.ended()[0]?.failure).toContain('checkpoint 1');
  });

  it('refuses checkpoints that CRIU could not restore', async () => {
    using directory = temporaryDirectory();
    await expect(serveLazily(directory.path)).rejects.toThrow();
    const store = await openStore(directory.path);
    await dump(store, new Map([[7, new Map([[1, null]])]]));
    await store.close();
    await expect(serveLazily(directory.path)).rejects.toThrow('checkpoint 1 is not of CRIU');
    await expect(serveLazily(directory.path, { checkpoint: 5 })).rejects.toThrow('checkpoint 5');
  });
});
