import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { IncomingCheckpoints, verifyStore } from '../../src/checkpoint/index.ts';
import { CodecPool } from '../../src/codec/index.ts';
import { PAGE_SIZE, PageRangeList } from '../../src/core/index.ts';
import { Store } from '../../src/store/index.ts';
import { anonymousVma, patternPage } from './memory-target.ts';

const PID = 7;
const START = 8192 - 20;
const PAGES = 40;
const FACTS = {
  target: { kind: 'live', name: 'far', fingerprint: 'far' },
  tracker: 'elsewhere',
  createdAt: '2026-01-01T00:00:00.000Z',
  times: () => ({ freeze: 0, scan: 0, read: 0, total: 0 }),
} as const;

let pool: CodecPool;
let directory: string;
let store: Store;

beforeAll(() => {
  pool = new CodecPool({ workers: 0 });
});
afterAll(() => pool.close());
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ckpt-incoming-'));
  store = await openStore();
});
afterEach(async () => {
  await store.close();
  await rm(directory, { recursive: true, force: true });
});

function openStore(): Promise<Store> {
  return Store.open(join(directory, 'store'), { access: 'create', command: 'test', codec: pool });
}

const rangesOf = (pages: readonly number[]) => {
  const ranges = new PageRangeList();
  for (const page of pages) ranges.append(page, page + 1);
  return ranges;
};

const process = (fingerprint?: string) => ({
  pid: PID,
  parentPid: 0,
  name: 'far',
  vmas: [anonymousVma(START, START + PAGES)],
  ...(fingerprint === undefined ? {} : { fingerprint }),
});

/** Sends pages that each hold a pattern of their own, all in one go. */
async function add(
  incoming: IncomingCheckpoints,
  values: ReadonlyMap<number, number>,
  order = [...values.keys()].sort((a, b) => a - b),
): Promise<void> {
  await incoming.add(PID, rangesOf(order), (into) => {
    order.forEach((page, index) => {
      into.set(patternPage(values.get(page)!), index * PAGE_SIZE);
    });
    return Promise.resolve();
  });
}

async function memoryOf(checkpoint: number): Promise<Map<number, string>> {
  const reader = await store.openCheckpoint(checkpoint);
  const memory = new Map<number, string>();
  for await (const { startPage, pageCount, bytes } of reader.pages(PID)) {
    for (let index = 0; index < pageCount; index++) {
      const content = bytes?.subarray(index * PAGE_SIZE, (index + 1) * PAGE_SIZE) ?? patternPage(0);
      memory.set(startPage + index, Buffer.from(content).toString('base64'));
    }
  }
  return memory;
}

const contents = (values: ReadonlyMap<number, number>) =>
  new Map([...values].map(([page, value]) => [page, Buffer.from(patternPage(value)).toString('base64')]));

describe('checkpoints of pages that come in', () => {
  it('hold what came, what came before, and nothing that is gone', async () => {
    const round = fc.record({
      written: fc.uniqueArray(fc.tuple(fc.nat(PAGES - 1), fc.nat(6)), { selector: ([page]) => page }),
      late: fc.uniqueArray(fc.tuple(fc.nat(PAGES - 1), fc.nat(6)), { selector: ([page]) => page }),
      zeros: fc.uniqueArray(fc.nat(PAGES - 1)),
      gone: fc.uniqueArray(fc.nat(PAGES - 1)),
      anew: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(round, { minLength: 1, maxLength: 5 }), async (rounds) => {
        const incoming = new IncomingCheckpoints(store, pool, { name: 'zstd', level: 1 });
        const expected = new Map<number, number>();
        let program = 0;
        for (const { written, late, zeros, gone, anew } of rounds) {
          const checkpoint = await incoming.begin();
          if (anew) {
            program++;
            expected.clear();
          }
          incoming.drop(PID, rangesOf(gone.map((page) => START + page).sort((a, b) => a - b)));
          for (const page of gone) expected.delete(START + page);
          for (const some of [written, late]) {
            const values = new Map(some.map(([page, value]) => [START + page, value]));
            await add(incoming, values);
            for (const [page, value] of values) expected.set(page, value);
          }
          const zeroPages = zeros.map((page) => START + page).sort((a, b) => a - b);
          await incoming.addZeros(PID, rangesOf(zeroPages));
          for (const page of zeroPages) expected.set(page, 0);
          const digest = await incoming.seal([process(String(program))]);
          const manifest = await incoming.commit({ ...FACTS, preDump: true });
          expect(manifest).toMatchObject({ number: checkpoint, memoryDigest: digest, preDump: true });
          expect(await memoryOf(checkpoint)).toEqual(contents(expected));
        }
        incoming.close();
        for await (const finding of verifyStore(store, pool, {})) expect(finding).toBeUndefined();
      }),
      { numRuns: 12 },
    );
  });

  it('leave out pages that no mapping covers', async () => {
    const incoming = new IncomingCheckpoints(store, pool, { name: 'zstd', level: 1 });
    const checkpoint = await incoming.begin();
    await add(
      incoming,
      new Map([
        [START - 1, 3],
        [START, 4],
        [START + PAGES, 5],
      ]),
    );
    await incoming.seal([process()]);
    await incoming.commit({ ...FACTS, preDump: false });
    incoming.close();
    expect(await memoryOf(checkpoint)).toEqual(contents(new Map([[START, 4]])));
  });

  it('tell of contents that could not be had, and leave nothing when given up', async () => {
    const incoming = new IncomingCheckpoints(store, pool, { name: 'zstd', level: 1 });
    await incoming.begin();
    await incoming.add(PID, rangesOf([START]), () => Promise.reject(new Error('torn on the way')));
    await expect(incoming.seal([process()])).rejects.toThrow('torn on the way');
    await incoming.abort();
    incoming.close();
    expect(await store.numbers()).toEqual([]);
    expect(await store.packs()).toEqual([]);
  });
});
