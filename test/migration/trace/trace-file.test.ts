import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  CkptError,
  IntegrityError,
  PageRangeList,
  Random,
  StoreVersionError,
} from '../../../src/core/index.ts';
import { TraceReader, type TraceStep, TraceWriter } from '../../../src/migration/index.ts';
import { emptyStep, type TraceEnd, type TraceHeader } from '../../../src/migration/trace/format.ts';

const HEADER: TraceHeader = {
  target: 'sim:kv-store.yaml',
  kind: 'simulated',
  tracker: 'soft-dirty',
  pageSize: 4096,
  intervalMicroseconds: 100_000,
  clock: 'virtual',
};

let directory = '';
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'ckpt-trace-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

async function encode(header: TraceHeader, steps: readonly TraceStep[], end: TraceEnd): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const writer = await TraceWriter.begin(header, (bytes) => {
    parts.push(bytes);
    return Promise.resolve();
  });
  for (const step of steps) await writer.step(step);
  await writer.seal(end);
  expect(writer.writtenBytes).toBe(Buffer.concat(parts).length);
  return Buffer.concat(parts);
}

async function decode(bytes: Uint8Array) {
  const path = join(directory, 'read.trace');
  writeFileSync(path, bytes);
  const reader = await TraceReader.open(path);
  const steps: TraceStep[] = [];
  for await (const step of reader.steps()) steps.push(step);
  return { header: reader.header, steps, seal: reader.seal };
}

/** Lists as arrays, for comparisons that ignore spare room. */
const plain = (steps: readonly TraceStep[]) =>
  steps.map((step) => ({
    ...step,
    processes: step.processes.map((process) => ({
      ...process,
      resident: [...process.resident],
      zero: [...process.zero],
      written: [...process.written],
      gone: [...process.gone],
    })),
  }));

const number = fc.oneof(fc.nat(300), fc.nat(2 ** 31 - 1));
const ranges = fc
  .array(fc.tuple(number, fc.integer({ min: 1, max: 3000 })), { maxLength: 30 })
  .map((gaps) => {
    const list = new PageRangeList();
    let at = 0;
    for (const [gap, pages] of gaps) {
      list.append(at + gap, at + gap + pages);
      at += gap + pages;
    }
    return list;
  });
const mapping = fc.record({
  startPage: number,
  endPage: fc.constant(0),
  read: fc.boolean(),
  write: fc.boolean(),
  execute: fc.boolean(),
  shared: fc.boolean(),
  offsetPages: number,
  deviceMajor: fc.nat(4095),
  deviceMinor: fc.nat(1048575),
  inode: number,
  pathname: fc.string({ unit: 'grapheme' }),
});
const sample = fc.record({
  page: fc.nat(100),
  compressedBytes: fc.nat(4096),
  differenceBytes: fc.option(fc.nat(8192), { nil: undefined }),
});
const processStep = fc.record({
  pid: fc.integer({ min: 1, max: 4_194_304 }),
  unmapped: fc.array(number, { maxLength: 4 }),
  mapped: fc.array(
    mapping.map((each) => ({ ...each, endPage: each.startPage + 7 })),
    { maxLength: 4 },
  ),
  resident: ranges,
  zero: ranges,
  written: ranges,
  gone: ranges,
  samples: fc
    .array(sample, { minLength: 1, maxLength: 8 })
    .map((samples) => samples.toSorted((left, right) => left.page - right.page)),
});
const steps = fc
  .array(
    fc.record({
      atMicroseconds: number,
      frozenMicroseconds: number,
      started: fc.array(fc.record({ pid: number, parentPid: number, name: fc.string() }), { maxLength: 2 }),
      ended: fc.array(number, { maxLength: 2 }),
      processes: fc.uniqueArray(processStep, { maxLength: 3, selector: ({ pid }) => pid }),
    }),
    { maxLength: 6 },
  )
  .map((list) => list.toSorted((left, right) => left.atMicroseconds - right.atMicroseconds));

describe('a trace file', () => {
  it('gives back what was written', async () => {
    const end = fc.constantFrom<TraceEnd>('duration', 'interrupted', 'target-ended');
    await fc.assert(
      fc.asyncProperty(steps, end, fc.boolean(), async (written, why, live) => {
        const header: TraceHeader = live ? { ...HEADER, kind: 'live', clock: 'monotonic' } : HEADER;
        const read = await decode(await encode(header, written, why));
        expect(read.header).toEqual(header);
        expect(read.seal).toEqual({ steps: written.length, end: why });
        expect(plain(read.steps)).toEqual(plain(written));
      }),
      { numRuns: 60 },
    );
  });

  it('is refused where it is cut off', async () => {
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(), async (written, cut) => {
        const bytes = await encode(HEADER, written, 'duration');
        await expect(decode(bytes.subarray(0, cut % bytes.length))).rejects.toThrow(IntegrityError);
      }),
      { numRuns: 60 },
    );
  });

  it('is refused with any bit flipped', async () => {
    const bytes = await encode(HEADER, fc.sample(steps, { seed: 7, numRuns: 1 })[0]!, 'duration');
    const random = new Random(11);
    for (let flip = 0; flip < 300; flip++) {
      const damaged = Uint8Array.from(bytes);
      // Every bit of magic number and version, and some of what follows.
      const bit = flip < 100 ? flip : random.nextBelow(bytes.length * 8);
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      const isVersion = bit >> 3 === 8 || bit >> 3 === 9;
      await expect(decode(damaged)).rejects.toThrow(isVersion ? StoreVersionError : IntegrityError);
    }
  });

  it('is refused with bytes behind its seal, and where there is none', async () => {
    const bytes = await encode(HEADER, [], 'duration');
    await expect(decode(Buffer.concat([bytes, Buffer.from([0])]))).rejects.toThrow(/behind its seal/);
    await expect(decode(Buffer.from('ckpttrac'))).rejects.toThrow(CkptError);
    await expect(TraceReader.open(join(directory, 'absent'))).rejects.toThrow(/cannot read the trace/);
  });

  it('cuts long lists into several records and blocks', async () => {
    const written = new PageRangeList();
    for (let page = 0; page < 400_000; page += 2) written.append(page, page + 1 + (page % 3 === 0 ? 1 : 0));
    const step: TraceStep = {
      atMicroseconds: 5,
      frozenMicroseconds: 1,
      started: [{ pid: 1, parentPid: 0, name: 'a' }],
      ended: [],
      processes: [{ ...emptyStep(1), written }],
    };
    const read = await decode(await encode(HEADER, [step, { ...step, atMicroseconds: 9 }], 'duration'));
    expect(plain(read.steps)).toEqual(plain([step, { ...step, atMicroseconds: 9 }]));
  });

  it('takes less than 17 KB for an interval in which 10,000 of a million pages were written at random', async () => {
    const random = new Random(3);
    const interval = (atMicroseconds: number): TraceStep => {
      const pages = new Set<number>();
      while (pages.size < 10_000) pages.add(random.nextBelow(1_000_000));
      const written = new PageRangeList();
      for (const page of [...pages].sort((left, right) => left - right)) written.append(page, page + 1);
      const process = { ...emptyStep(1), written };
      return { atMicroseconds, frozenMicroseconds: 0, started: [], ended: [], processes: [process] };
    };
    const list = Array.from({ length: 20 }, (_, index) => interval(index * 100_000));
    const bytes = await encode(HEADER, list, 'duration');
    // 6,000 of them are ten minutes: 100 MB.
    expect(bytes.length / 20).toBeLessThan(16_600);
  });
});
