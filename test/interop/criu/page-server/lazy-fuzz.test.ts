import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PAGE_SIZE } from '../../../../src/core/index.ts';
import { temporaryDirectory } from '../../../store/harness.ts';
import { mutated, mutations } from './mutations.ts';
import { serveLazily } from './running-lazy-server.ts';
import { pageOfSeed, type Tree } from './sessions.ts';
import { storeTree } from './stored-tree.ts';
import { TestClient } from './test-client.ts';
import { COMMAND, decodeHeader, encodeHeader, headerBytesOf, WIRE_LAYOUTS, type WireLayout } from './wire.ts';

const SEEDS = Array.from({ length: 100 }, (_, at) => at % 30);
const TREE: Tree = {
  tasks: new Map([
    [7, new Map(SEEDS.map((seed, at) => [0x1000 + at, seed]))],
    [300, new Map([[0x1000, 5]])],
  ]),
  objects: new Map(),
};

const question = fc.record({
  pid: fc.constantFrom(7, 7, 7, 300),
  page: fc.integer({ min: 0x1000, max: 0x1063 }),
  pageCount: fc.integer({ min: 1, max: 20 }),
});

function sessionOf(
  layout: WireLayout,
  questions: readonly { pid: number; page: number; pageCount: number }[],
) {
  const gets = questions.map(({ pid, page, pageCount }) =>
    encodeHeader(layout, {
      command: COMMAND.get,
      pageCount,
      address: BigInt(page) * BigInt(PAGE_SIZE),
      destination: BigInt(pid),
    }),
  );
  return Buffer.concat([...gets, encodeHeader(layout, { command: COMMAND.close })]);
}

/** Checks every answer of a session, the last of which may be cut off; a status is all that may follow. */
function expectTrueAnswers(said: Buffer): void {
  // A mutated first header may be one of the other layout: the server leaves its padding empty.
  const layout = said.length >= 8 && said.readUInt32LE(4) === 0 ? '4.2' : '3.17';
  let at = 0;
  while (said.length - at >= headerBytesOf(layout)) {
    const { command, flags, pageCount, address, destination } = decodeHeader(layout, said.subarray(at));
    expect([command, flags]).toEqual([COMMAND.addFlags, 4]);
    at += headerBytesOf(layout);
    for (let index = 0; index < pageCount && said.length - at >= PAGE_SIZE; index++) {
      const page = Number(address) / PAGE_SIZE + index;
      const seed = TREE.tasks.get(Number(destination))?.get(page);
      expect(seed).toBeDefined();
      expect(said.compare(pageOfSeed(seed ?? 0), 0, PAGE_SIZE, at, at + PAGE_SIZE)).toBe(0);
      at += PAGE_SIZE;
    }
  }
}

describe('mutated sessions of lazy restores', () => {
  it('end, and get true pages alone', async () => {
    using directory = temporaryDirectory();
    await storeTree(directory.path, TREE);
    await using server = await serveLazily(directory.path);
    let sessions = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...WIRE_LAYOUTS),
        fc.array(question, { minLength: 1, maxLength: 12 }),
        mutations,
        async (layout, questions, changes) => {
          const client = await TestClient.connect(server.port);
          const bytes = mutated(sessionOf(layout, questions), changes);
          await client.send(bytes).catch(() => undefined);
          client.end();
          const said = await client.receiveRest();
          expectTrueAnswers(said);
          if (bytes.length > 0) sessions++;
        },
      ),
      { numRuns: 200 },
    );
    await expect.poll(() => server.ended().length).toBe(sessions);
    expect(server.ended().reduce((sum, { pages }) => sum + pages, 0)).toBeGreaterThan(1000);
  });
});
