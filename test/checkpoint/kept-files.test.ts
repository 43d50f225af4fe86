import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  executePrune,
  executeSquash,
  planPrune,
  planSquash,
  restoreToDirectory,
  rewriteCheckpoint,
  runFromCheckpoint,
  verifyStore,
} from '../../src/checkpoint/index.ts';
import { BLOCK_HEADER_BYTES } from '../../src/image/index.ts';
import type { FaultPoint, Store } from '../../src/store/index.ts';
import { IndependentReader, openZstd } from '../image/independent-reader.ts';
import { CODEC, openStore, temporaryDirectory } from '../store/harness.ts';
import {
  BARE_PROCESSES,
  everythingIn,
  FACTS,
  FIRST_PID,
  Model,
  newFilesOf,
  OBJECT_PAGES,
  openIncoming,
  PRIVATE_PAGES,
  PROCESSES,
  type Step,
  writeStep,
} from './kept-state.ts';

const pagesBelow = (count: number) =>
  fc.uniqueArray(fc.tuple(fc.nat(count - 1), fc.nat(4)), { selector: ([page]) => page });

const anyStep: fc.Arbitrary<Step> = fc.record({
  own: pagesBelow(PRIVATE_PAGES),
  shared: pagesBelow(OBJECT_PAGES),
  goneShared: fc.uniqueArray(fc.nat(OBJECT_PAGES - 1), { maxLength: 5 }),
  fileBytes: fc.oneof(fc.constantFrom(0, 1, 262_143, 262_144, 262_145), fc.nat(600_000)),
});

const STEP: Step = {
  own: [
    [1, 1],
    [2, 2],
  ],
  shared: [
    [0, 1],
    [5, 3],
    [6, 0],
    [31, 2],
  ],
  goneShared: [],
  fileBytes: 300_000,
};

async function findingsOf(store: Store): Promise<string[]> {
  const findings: string[] = [];
  for await (const { place, problem } of verifyStore(store, CODEC)) findings.push(`${place}: ${problem}`);
  return findings;
}

async function withIncoming<Result>(
  store: Store,
  use: (incoming: ReturnType<typeof openIncoming>) => Promise<Result>,
): Promise<Result> {
  const incoming = openIncoming(store);
  try {
    return await use(incoming);
  } finally {
    await incoming.abort();
    incoming.close();
  }
}

describe('checkpoints with files and shared memory objects', () => {
  it('come back after any chain, squash and prune, also to a reader that shares no code', async () => {
    const zstd = await openZstd();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(anyStep, fc.boolean()), { minLength: 1, maxLength: 5 }),
        fc.nat(4),
        fc.integer({ min: 1, max: 5 }),
        async (steps, squashed, keep) => {
          using directory = temporaryDirectory();
          const store = await openStore(directory.path);
          const model = new Model();
          const expected = new Map<number, object>();
          let incoming = openIncoming(store);
          for (const [step, anew] of steps) {
            if (anew && expected.size > 0) {
              incoming.close();
              incoming = openIncoming(store);
              await incoming.continueFrom(expected.size);
            }
            model.apply(step);
            const { number } = await writeStep(incoming, step);
            expected.set(number, { memory: model.fingerprint(), fileBytes: step.fileBytes });
          }
          incoming.close();
          const delta = Math.min(squashed + 1, steps.length);
          if (delta > 1) await executeSquash(store, await planSquash(store, { checkpoint: delta }));
          await executePrune(store, await planPrune(store, { keep }));
          expect(await findingsOf(store)).toEqual([]);
          const independent = new IndependentReader(directory.path, zstd);
          for (const number of await store.numbers()) {
            expect(await everythingIn(store, number)).toEqual(expected.get(number));
            expect(independent.read(number).pages).toEqual((await everythingIn(store, number)).memory);
          }
          await store.close();
        },
      ),
      { numRuns: 15 },
    );
  });

  it('share what is equal: an object that three mappings show is stored once', async () => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    const [first, second] = await withIncoming(store, async (incoming) => [
      await writeStep(incoming, STEP),
      await writeStep(incoming, { ...STEP, own: [], shared: [[5, 4]] }),
    ]);
    expect(first.pages).toMatchObject({ written: 5, present: 2 + 4 + 4 + 2, zero: 3 });
    expect(second.pages.written).toBe(1);
    const pack = store.blocks.pack(2);
    const kinds = Array.from(pack.table.blocks, (_, index) => pack.readIndex(index).header.kind);
    expect(kinds).toContain('page-deltas');
    expect(kinds).not.toContain('pages');
    await store.close();
  });

  it('restore to a directory with a folder for each object', async () => {
    using directory = temporaryDirectory();
    const storeDirectory = join(directory.path, 'store');
    const store = await openStore(storeDirectory);
    await withIncoming(store, (incoming) => writeStep(incoming, STEP));
    await store.close();
    const outputDirectory = join(directory.path, 'out');
    await restoreToDirectory({ storeDirectory, checkpoint: 1, outputDirectory, workers: 0 });
    const memory = (folder: string, name: string) => readFileSync(join(outputDirectory, folder, name));
    const object = memory('shared-memory-42', '00000000-00020000.mem');
    const shown = memory(String(FIRST_PID), '02328000-02338000.mem');
    expect(shown).toEqual(object.subarray(4 * 4096, 20 * 4096));
    expect(shown.some((byte) => byte !== 0)).toBe(true);
  });

  it('read any part of the files, and nothing beyond', async () => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    await withIncoming(store, (incoming) => writeStep(incoming, { ...STEP, fileBytes: 600_000 }));
    const files = (await (await store.openCheckpoint(1)).files()) ?? expect.fail();
    const part = async (offset: number, length: number) => {
      const pieces: Uint8Array[] = [];
      for await (const piece of files.read(offset, length)) pieces.push(piece);
      return Buffer.concat(pieces);
    };
    const whole = await part(0, 600_000);
    await fc.assert(
      fc.asyncProperty(fc.nat(600_000), fc.nat(600_000), async (a, b) => {
        const [from, to] = [Math.min(a, b), Math.max(a, b)];
        expect(Buffer.compare(await part(from, to - from), whole.subarray(from, to))).toBe(0);
      }),
      { numRuns: 20 },
    );
    await expect(part(599_999, 2)).rejects.toThrow(RangeError);
    await store.close();
  });

  it('are found damaged, whichever bit of the files flips', async () => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    const manifest = await withIncoming(store, (incoming) => writeStep(incoming, STEP));
    const { files } = manifest;
    const path = join(directory.path, 'packs', '000001.pack');
    const pack = store.blocks.pack(1);
    const whole = readFileSync(path);
    const blocks = [files!.listing, files!.content].flatMap(({ firstBlock, blockCount }) =>
      Array.from({ length: blockCount }, (_, index) => pack.indexOf(firstBlock + index)),
    );
    await store.close();
    expect(blocks).toHaveLength(3);
    for (const index of blocks) {
      const flipped = Buffer.from(whole);
      flipped[pack.table.offsetsBytes[index]! + BLOCK_HEADER_BYTES + 5]! ^= 4;
      writeFileSync(path, flipped);
      const damaged = await openStore(directory.path, { access: 'read' });
      const findings = await findingsOf(damaged);
      expect(findings).toContainEqual(expect.stringMatching(/^packs\/000001.pack: .*checksum/));
      expect(findings).toContainEqual(expect.stringMatching(/^checkpoint 1, kept files: /));
      await expect(everythingIn(damaged, 1)).rejects.toThrow(/is damaged/);
      await damaged.close();
    }
  });
});

describe('a checkpoint of pages alone', () => {
  it('is written anew in its place with the rest, and what lies on it stays', async () => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    const model = new Model();
    const second = { ...STEP, own: [[3, 2]] as const, shared: [[7, 1]] as const };
    const bare = await withIncoming(store, async (incoming) => {
      await writeStep(incoming, STEP, BARE_PROCESSES, 'pages-only');
      const adopted = await writeStep(incoming, second, BARE_PROCESSES, 'pages-only');
      await writeStep(incoming, { ...second, own: [[4, 4]] }, BARE_PROCESSES, 'pages-only');
      return adopted;
    });
    model.apply(STEP);
    model.apply(second);
    const third = await everythingIn(store, 3);
    const rewritten = await rewriteCheckpoint(store, adoption(2));
    expect(rewritten).toEqual((await store.openCheckpoint(2)).manifest);
    expect(rewritten).toMatchObject({ number: 2, parent: 1, kind: 'delta', pack: 2, packs: [1, 2, 4] });
    expect(rewritten.createdAt).toBe(bare.createdAt);
    expect(rewritten.notRestorable).toBeUndefined();
    expect(await everythingIn(store, 2)).toEqual({ memory: model.fingerprint(), fileBytes: 1000 });
    expect(await everythingIn(store, 3)).toEqual(third);
    expect(await findingsOf(store)).toEqual([]);
    await store.close();
  });

  it('stays as it was if that is killed anywhere', async () => {
    using directory = temporaryDirectory();
    const template = join(directory.path, 'template');
    const store = await openStore(template);
    await withIncoming(store, (incoming) => writeStep(incoming, STEP, BARE_PROCESSES, 'pages-only'));
    const before = await everythingIn(store, 1);
    await store.close();
    const model = new Model();
    model.apply(STEP);
    const after = { memory: model.fingerprint(), fileBytes: 1000 };
    const seen = new Set<boolean>();
    for (let survive = 0, done = false; !done; survive++) {
      const path = join(directory.path, String(survive));
      cpSync(template, path, { recursive: true });
      done = await adoptUntil(path, survive);
      const reopened = await openStore(path, { access: 'write', lockHost: hostOf(2) });
      const found = await everythingIn(reopened, 1);
      expect([before, after]).toContainEqual(found);
      seen.add(found.fileBytes !== undefined);
      expect(await findingsOf(reopened)).toEqual([]);
      expect(await reopened.numbers()).toEqual([1]);
      await reopened.close();
    }
    expect(seen).toEqual(new Set([false, true]));
  });

  it('is not restored, and says what to do', async () => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    await withIncoming(store, (incoming) => writeStep(incoming, STEP, BARE_PROCESSES, 'pages-only'));
    await store.close();
    const request = {
      storeDirectory: directory.path,
      checkpoint: 1,
      outputDirectory: join(directory.path, 'x'),
    };
    await expect(restoreToDirectory(request)).rejects.toMatchObject({
      message: expect.stringContaining('checkpoint 1 has pages alone'),
      hint: expect.stringContaining('ckpt adopt'),
    });
    expect(existsSync(request.outputDirectory)).toBe(false);
  });
});

describe('a checkpoint of CRIU', () => {
  it('is left to criu to run', async () => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    await withIncoming(store, (incoming) => writeStep(incoming, STEP));
    await store.close();
    const request = { storeDirectory: directory.path, checkpoint: 1, runMicroseconds: 1 };
    await expect(runFromCheckpoint(request)).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('redis-server as CRIU dumped it'),
      hint: expect.stringContaining('ckpt export --format criu --at 1'),
    });
  });

  it('leaves nothing in the store if its files cannot be read to their end', async () => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    async function* torn() {
      yield new Uint8Array(700_000);
      throw new Error('torn on the way');
    }
    await withIncoming(store, async (incoming) => {
      await incoming.begin();
      await incoming.seal(PROCESSES);
      const files = { format: 'test-1', listing: new Uint8Array(3), content: torn() };
      await expect(incoming.commit(FACTS, undefined, files)).rejects.toThrow('torn on the way');
    });
    expect(await store.numbers()).toEqual([]);
    expect(await store.packs()).toEqual([]);
    expect(await findingsOf(store)).toEqual([]);
    await store.close();
  });

  it('refuses a process that maps an object which is not there', async () => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    await withIncoming(store, async (incoming) => {
      await incoming.begin();
      await expect(incoming.seal(PROCESSES.slice(0, 2))).rejects.toThrow('process 7 maps object 4194304');
    });
    await store.close();
  });
});

/** What joins the rest to a checkpoint of pages alone. */
function adoption(checkpoint: number) {
  const { preDump, target } = FACTS;
  return { checkpoint, preDump, target, warnings: [], processes: PROCESSES, files: newFilesOf(1000) };
}

/** @returns whether it was done before the end came */
async function adoptUntil(path: string, survive: number): Promise<boolean> {
  let passed = 0;
  const faults = {
    reached(point: FaultPoint) {
      if (passed++ >= survive) throw new Error(`killed before ${point}`);
    },
  };
  let store: Store | undefined;
  try {
    store = await openStore(path, { access: 'write', faults, lockHost: hostOf(1) });
    await rewriteCheckpoint(store, adoption(1));
    await store.close();
    return true;
  } catch {
    store?.blocks.close();
    return false;
  }
}

/** The machine as the process with this PID sees it: every other one is dead. */
function hostOf(pid: number) {
  const self = { pid, host: 'h', bootId: 'b', pidNamespace: 'n', startTicks: '1' };
  return { self: () => self, isAlive: (owner: { readonly pid: number }) => owner.pid === pid };
}
