import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PAGE_SIZE } from '../../../../src/core/index.ts';
import { readMemoryImage } from '../../../../src/interop/criu/images/pagemap-file.ts';
import { decodeListing } from '../../../../src/interop/criu/listing.ts';
import type { PageObject } from '../../../../src/interop/criu/page-server/protocol.ts';
import { unpackCriuImages } from '../../../cases/criu/unpack.ts';
import { openStore, readBack, temporaryDirectory } from '../../../store/harness.ts';
import { RunningPageServer } from './running-page-server.ts';

const SESSIONS = [1, 2, 3, 4];

let directory = '';
beforeAll(() => {
  directory = join(unpackCriuImages('session'), 'session');
});
afterAll(() => rmSync(join(directory, '..'), { recursive: true, force: true }));

/** The pagemaps that CRIU's own page server wrote for a session, in the order in which it opened them. */
async function pagemapsOf(session: number) {
  const path = join(directory, `${session}-server`);
  const names = readdirSync(path).filter((name) => name.startsWith('pagemap-'));
  const images = await Promise.all(
    names.map((name) => {
      const id = /\d+/.exec(name)?.[0] ?? '';
      const isShared = name.includes('shmem');
      const object: PageObject = isShared ? { kind: 'shmem', id } : { kind: 'task', pid: Number(id) };
      return readMemoryImage(path, name, object);
    }),
  );
  return images.sort((a, b) => a.pagesId - b.pagesId);
}

describe('sessions of CRIU 3.17.1, three pre-dumps and a dump', () => {
  it('are answered as its own page server does, and stored as it does', async () => {
    using store = temporaryDirectory();
    await using server = await RunningPageServer.start(store.path, { chain: true });
    for (const session of SESSIONS) {
      const client = await server.connect();
      await client.send(readFileSync(join(directory, 'said', `${session}.client`)));
      const wanted = readFileSync(join(directory, 'said', `${session}.server`));
      expect(await client.receive(wanted.length)).toEqual(wanted);
      client.end();
      await server.event('received', session);
    }
    const opened = await openStore(store.path, { access: 'read' });
    for (const session of SESSIONS) {
      const reader = await opened.openCheckpoint(session);
      const { memories } = decodeListing((await reader.files())?.listing ?? new Uint8Array());
      const images = await pagemapsOf(session);
      expect(memories.map(({ name, pagesId }) => [name, pagesId])).toEqual(
        images.map(({ name, pagesId }) => [name, pagesId]),
      );
      const memory = await readBack(reader);
      for (const [at, { entries, pagesPath }] of images.entries()) {
        const { pid, runs } = memories[at]!;
        expect(runs.startPages).toEqual(entries.startPages);
        expect(runs.pageCounts).toEqual(entries.pageCounts);
        expect(runs.flags).toEqual(entries.flags);
        const stored = memory.get(pid) ?? new Map();
        expect(stored.size).toBe(entries.pageCounts.reduce((sum, count) => sum + count, 0));
        const pages = readFileSync(pagesPath);
        for (const [entry, flags] of entries.flags.entries()) {
          if ((flags & 4) === 0) continue;
          for (let page = 0; page < entries.pageCounts[entry]!; page++) {
            const from = (entries.dataPages[entry]! + page) * PAGE_SIZE;
            const found = stored.get(entries.startPages[entry]! + page) ?? new Uint8Array(PAGE_SIZE);
            expect(Buffer.compare(pages.subarray(from, from + PAGE_SIZE), found)).toBe(0);
          }
        }
      }
    }
    await opened.close();
  });
});
