import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { verifyDirectory } from '../../../../src/checkpoint/index.ts';
import { temporaryDirectory } from '../../../store/harness.ts';
import { mutated, mutations } from './mutations.ts';
import { expectedOf, play, RunningPageServer, storedIn } from './running-page-server.ts';
import { dumpSession, int32, pageOfSeed, type Step, type Tree } from './sessions.ts';
import { TestClient } from './test-client.ts';
import { contents, trees } from './trees.ts';
import { COMMAND, encodeHeader, FLAG, taskDestination, WIRE_LAYOUTS } from './wire.ts';

const countOf = (directory: string, folder: string) => readdirSync(join(directory, folder)).length;

/** Events with which a session ends. */
const endsOf = (server: RunningPageServer) =>
  server.events.filter(({ kind }) => kind === 'received' || kind === 'failed' || kind === 'left');

/** Sends everything, closes this side, and waits for the other end to do so too. */
async function sendBlindly(server: RunningPageServer, bytes: Buffer): Promise<Buffer> {
  const before = endsOf(server).length;
  const client = await TestClient.connect(server.port);
  await client.send(bytes).catch(() => undefined);
  client.end();
  const said = await client.receiveRest();
  await expect.poll(() => endsOf(server).length, { interval: 2, timeout: 10_000 }).toBe(before + 1);
  return said;
}

const bytesOf = (steps: readonly Step[]) => Buffer.concat(steps.map(({ bytes }) => bytes));

/** A store has a checkpoint for each session that was received, and nothing of the others. */
function expectNothingHalfWritten(directory: string, server: RunningPageServer): void {
  const received = server.all('received').length;
  expect(countOf(directory, 'checkpoints')).toBe(received);
  expect(countOf(directory, 'packs')).toBe(received);
  expect(countOf(directory, 'tmp')).toBe(0);
}

async function expectWholeStore(directory: string): Promise<void> {
  expect((await verifyDirectory({ storeDirectory: directory })).findings).toEqual([]);
}

const TREE: Tree = {
  tasks: new Map([[9, new Map([[5, 1]])]]),
  objects: new Map(),
};

describe('mutated sessions of dumps', () => {
  it('leave a checkpoint that was acknowledged, or nothing', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path);
    const kinds = fc.constantFrom('dump' as const, 'pre-dump' as const);
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...WIRE_LAYOUTS),
        kinds,
        trees,
        mutations,
        async (layout, kind, tree, changes) => {
          await sendBlindly(server, mutated(bytesOf(dumpSession(tree, { layout, kind })), changes));
          expectNothingHalfWritten(directory.path, server);
        },
      ),
      { numRuns: 40 },
    );
    expect(server.all('failed').length).toBeGreaterThan(10);
    await expectWholeStore(directory.path);
    // And what comes then is received as ever.
    await play(await server.connect(), dumpSession(TREE, { layout: '3.17', kind: 'dump' }));
    const { checkpoint } = (await server.event('received', server.all('received').length + 1)).session;
    expect(await storedIn(directory.path, checkpoint)).toEqual(expectedOf(TREE));
  });

  it('that continue a chain are told the truth about what became of them', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path, { chain: true });
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...WIRE_LAYOUTS),
        contents,
        contents,
        mutations,
        async (layout, before, now, changes) => {
          // One task that the parent has: so few bytes of answers cannot look like a status.
          const [previous, tree] = [before, now].map((all) => ({
            tasks: new Map([[7, all]]),
            objects: new Map(),
          }));
          await sendBlindly(server, bytesOf(dumpSession(previous!, { layout, kind: 'dump' })));
          const received = server.all('received').length;
          const session = dumpSession(tree!, { layout, kind: 'dump', previous });
          const said = await sendBlindly(server, mutated(bytesOf(session), changes));
          const isThere = server.all('received').length > received;
          expect(said.subarray(-4).equals(int32(0))).toBe(isThere);
          expectNothingHalfWritten(directory.path, server);
        },
      ),
      { numRuns: 25 },
    );
    await expectWholeStore(directory.path);
  });

  it('of which nothing has come end too', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path);
    expect(await sendBlindly(server, Buffer.alloc(0))).toEqual(Buffer.alloc(0));
    expect(server.events.at(-1)?.kind).toBe('left');
  });

  it('take no room for what they only announce', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path);
    await sendBlindly(server, bytesOf(dumpSession(TREE, { layout: '4.2', kind: 'dump' })));
    const bytesBefore = process.memoryUsage().arrayBuffers;
    const client = await server.connect();
    const destination = taskDestination(9);
    const pages = { command: COMMAND.addFlags, flags: FLAG.present, pageCount: 2 ** 51, address: 4096n };
    await client.send(
      encodeHeader('4.2', { command: COMMAND.open2, destination }),
      encodeHeader('4.2', { ...pages, destination }),
      pageOfSeed(1),
    );
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(process.memoryUsage().arrayBuffers - bytesBefore).toBeLessThan(16 * 1024 * 1024);
    client.vanish();
    expect((await server.event('failed')).error.message).toMatch(/lost|in the middle of a message/);
    expectNothingHalfWritten(directory.path, server);
  });
});
