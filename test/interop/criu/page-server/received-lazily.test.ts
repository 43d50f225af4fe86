import { once } from 'node:events';
import { createServer } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LazyPages } from '../../../../src/interop/criu/page-server/lazy-pages.ts';
import { answerLazily } from '../../../../src/interop/criu/page-server/lazy-session.ts';
import { PeerMessages } from '../../../../src/interop/criu/page-server/peer-messages.ts';
import { PeerStream } from '../../../../src/interop/criu/page-server/peer-stream.ts';
import { openStore, temporaryDirectory } from '../../../store/harness.ts';
import { LazyClient } from './lazy-client.ts';
import { play, RunningPageServer } from './running-page-server.ts';
import { type Contents, dumpSession, pageOfSeed } from './sessions.ts';
import { trees } from './trees.ts';
import { WIRE_LAYOUTS, type WireLayout } from './wire.ts';

const PATIENCE_MICROSECONDS = 10_000_000;

/** Lets a client fetch from a checkpoint that has pages alone, which the server itself would not open. */
async function withLazyClient(
  directory: string,
  checkpoint: number,
  layout: WireLayout,
  use: (client: LazyClient) => Promise<void>,
): Promise<void> {
  const store = await openStore(directory, { access: 'read' });
  const pages = new LazyPages(await store.openCheckpoint(checkpoint));
  let answered: Promise<void> | undefined;
  const server = createServer((socket) => {
    const messages = new PeerMessages(new PeerStream(socket, 'a client'), PATIENCE_MICROSECONDS);
    answered = answerLazily(messages, pages, { requests: 0, pages: 0 });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const client = await LazyClient.connect(
    address !== null && typeof address === 'object' ? address.port : 0,
    layout,
  );
  await use(client);
  expect(await client.close()).toBe(0);
  await answered;
  client.stream.vanish();
  server.close();
  await store.close();
}

/** Fetches everything, run by run. */
async function expectAll(client: LazyClient, pid: number, contents: Contents): Promise<void> {
  const pages = [...contents.keys()].sort((a, b) => a - b);
  for (let at = 0; at < pages.length; ) {
    let end = at + 1;
    while (pages[end] === pages[end - 1]! + 1) end++;
    const wanted = Buffer.concat(pages.slice(at, end).map((page) => pageOfSeed(contents.get(page) ?? 0)));
    expect(Buffer.compare(await client.getAll(pid, pages[at]!, end - at), wanted)).toBe(0);
    at = end;
  }
}

describe('what a page server has received', () => {
  it('is given to lazy restores page by page, at every point of a chain', async () => {
    const session = fc.record({
      tree: trees,
      kind: fc.constantFrom('dump' as const, 'pre-dump' as const),
      entryPages: fc.integer({ min: 1, max: 30 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...WIRE_LAYOUTS),
        fc.array(session, { minLength: 1, maxLength: 4 }),
        async (layout, sessions) => {
          using directory = temporaryDirectory();
          await using server = await RunningPageServer.start(directory.path, { chain: true });
          for (const [at, { tree, kind, entryPages }] of sessions.entries()) {
            const previous = sessions[at - 1]?.tree;
            const steps = dumpSession(tree, { layout, kind, previous, entryPages });
            expect(await play(await server.connect(), steps)).toBeUndefined();
            await server.event('received', at + 1);
          }
          for (const [at, { tree }] of sessions.entries()) {
            await withLazyClient(directory.path, at + 1, layout, async (client) => {
              for (const [pid, contents] of tree.tasks) await expectAll(client, pid, contents);
            });
          }
        },
      ),
      { numRuns: 10 },
    );
  });
});
