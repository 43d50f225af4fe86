import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type MigratingMemory, openRecordedMemory, PageBitmap } from '../../../src/migration/index.ts';
import { RecordingBuilder } from '../../../src/migration/recording/builder.ts';
import { HEADER, madeUpRecording, madeUpSteps, PID, poissonIntervals } from './recordings.ts';

function pagesIn(set: PageBitmap): number[] {
  const pages: number[] = [];
  for (let page = set.next(0); page >= 0; page = set.next(page + 1)) pages.push(page);
  return pages;
}

/** Mean of the distinct pages written in windows of a length. */
function uniquePages(memory: MigratingMemory, windowMicroseconds: number, windows: number): number {
  let sum = 0;
  for (let window = 0; window < windows; window++) {
    memory.run(windowMicroseconds);
    sum += memory.dirty.count;
    memory.dirty.clear();
  }
  return sum / windows;
}

const sorted = (numbers: Iterable<number>) => [...new Set(numbers)].sort((left, right) => left - right);
const interval = fc.record({
  written: fc.array(fc.nat(299), { maxLength: 40 }),
  microseconds: fc.integer({ min: 1, max: 5000 }),
});

describe('recorded memory', () => {
  it('writes in each interval exactly what was written in it, however it is run', () => {
    fc.assert(
      fc.property(
        fc.array(interval, { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 9 }),
        fc.nat(),
        (intervals, parts, seed) => {
          const memory = openRecordedMemory(madeUpRecording(300, intervals), { seed });
          for (const { written, microseconds } of intervals) {
            for (let part = 0; part < parts; part++) memory.run(microseconds / parts);
            // Parts of an interval may add up to a little less than it.
            memory.run(1e-7);
            const found = pagesIn(memory.dirty);
            memory.dirty.clear();
            expect(found).toEqual(sorted(written));
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it('begins with the pages and zeros of the offset, and is the same for the same seed', () => {
    const intervals = [{ written: [1, 500] }, { gone: [2] }, { written: [2, 600] }, {}];
    const recording = madeUpRecording(512, intervals, 4);
    const at = (offsetMicroseconds: number) => openRecordedMemory(recording, { offsetMicroseconds });
    expect(at(0).resident.count).toBe(512);
    expect([0, 1, 2, 3, 4].map((page) => at(0).isZero(page))).toEqual([true, true, true, true, false]);
    expect(at(90_000).isZero(1)).toBe(false);
    expect(at(200_000).resident.has(2)).toBe(false);
    expect(at(310_000).resident.has(600)).toBe(true);
    expect(at(310_000).isZero(2)).toBe(false);
    const run = (seed: number) => {
      const memory = openRecordedMemory(madeUpRecording(512, poissonIntervals(new Array(512).fill(0.2), 5)), {
        seed,
      });
      memory.run(130_000);
      return pagesIn(memory.dirty);
    };
    expect(run(3)).toEqual(run(3));
    expect(run(3)).not.toEqual(run(4));
  });

  it('spreads what was written once over the interval', () => {
    const intervals = Array.from({ length: 50 }, (_, index) => ({
      written: Array.from({ length: 40 }, (_, page) => index * 40 + page),
    }));
    for (const [share, expected] of [
      [0.1, 4],
      [0.5, 20],
      [0.9, 36],
    ] as const) {
      const recording = madeUpRecording(2000, intervals);
      let early = 0;
      const memory = openRecordedMemory(recording, { seed: 5 });
      for (let each = 0; each < 50; each++) {
        memory.run(100_000 * share);
        early += memory.dirty.count;
        memory.run(100_000 * (1 - share));
        memory.dirty.clear();
      }
      expect(early / 50).toBeGreaterThan(expected - 0.6);
      expect(early / 50).toBeLessThan(expected + 0.6);
    }
    // A single page an interval is written neither always at its end nor at its beginning.
    const lonely = openRecordedMemory(
      madeUpRecording(
        512,
        Array.from({ length: 400 }, () => ({ written: [9] })),
      ),
    );
    expect(uniquePages(lonely, 50_000, 800)).toBeGreaterThan(0.55);
  });

  it.each([0.05, 0.3, 1, 2.5])(
    'finds as many pages in short windows as %d writes per interval and page make',
    (rate) => {
      const rates = new Array<number>(1000).fill(rate);
      const recording = madeUpRecording(1000, poissonIntervals(rates, 150));
      for (const share of [0.1, 0.25, 0.5]) {
        const expected = 1000 * (1 - Math.exp(-rate * share));
        const found = uniquePages(openRecordedMemory(recording), 100_000 * share, 150 / share - 1);
        expect(found / expected).toBeGreaterThan(0.88);
        expect(found / expected).toBeLessThan(1.12);
      }
    },
  );

  it('goes on with new pages where it begins again, as a program does', () => {
    const pages = 20_000;
    const rates = new Array<number>(pages).fill(0.005);
    const recording = madeUpRecording(pages, poissonIntervals(rates, 60));
    const memory = openRecordedMemory(recording);
    // As every migration does first.
    new PageBitmap(0).absorb(memory.resident);
    for (const laps of [1, 2, 3]) {
      memory.run(recording.microseconds);
      const expected = pages * (1 - Math.exp(-0.005 * 60 * laps));
      expect(memory.dirty.count / expected).toBeGreaterThan(0.93);
      expect(memory.dirty.count / expected).toBeLessThan(1.07);
    }
  });

  it('does not leave a small working set when it begins again', () => {
    const recording = madeUpRecording(
      5000,
      Array.from({ length: 30 }, () => ({ written: [1, 2, 3, 4] })),
    );
    const memory = openRecordedMemory(recording);
    memory.run(recording.microseconds * 4);
    expect(pagesIn(memory.dirty)).toEqual([1, 2, 3, 4]);
  });

  it('takes pages that are gone for empty, and they need not be sent again', () => {
    const recording = madeUpRecording(512, [{ written: [1, 2, 3] }, { gone: [2] }, { written: [2] }]);
    const memory = openRecordedMemory(recording);
    memory.run(200_000);
    expect(pagesIn(memory.dirty)).toEqual([1, 3]);
    expect(memory.isZero(2)).toBe(true);
    memory.run(100_000);
    expect(pagesIn(memory.dirty)).toEqual([1, 2, 3]);
    expect(memory.isZero(2)).toBe(false);
    expect(memory.zerosAmong?.(0, -1)).toBe(0);
  });

  it('takes the pages of a process that has ended for empty', () => {
    const builder = new RecordingBuilder(HEADER);
    const [first, second] = madeUpSteps(512, [{ written: [1, 2] }]);
    builder.add(first!);
    builder.add(second!);
    builder.add({ ...second!, atMicroseconds: 200_000, ended: [PID], processes: [] });
    const memory = openRecordedMemory(builder.build());
    memory.run(100_000);
    expect(memory.dirty.count).toBe(2);
    memory.run(100_000);
    expect(memory.dirty.count).toBe(0);
    expect(memory.zerosAmong?.(0, -1)).toBe(-1);
  });

  it('counts stores by how often pages are written', () => {
    const rates = Array.from({ length: 200 }, (_, page) => (page < 100 ? 3 : 0.3));
    const recording = madeUpRecording(512, poissonIntervals(rates, 100));
    const memory = openRecordedMemory(recording);
    memory.countStores();
    memory.run(recording.microseconds);
    const stores = (from: number, to: number) => {
      let sum = 0;
      for (let page = from; page < to; page++) sum += memory.storesOf(page);
      return sum / (to - from) / 100;
    };
    expect(stores(0, 100)).toBeGreaterThan(2.6);
    expect(stores(0, 100)).toBeLessThan(3.4);
    expect(stores(100, 200)).toBeGreaterThan(0.26);
    expect(stores(100, 200)).toBeLessThan(0.36);
  });

  it('is opened by other threads from memory that they share', () => {
    const recording = madeUpRecording(512, [{ written: [1, 2, 3] }], 8);
    const copy = structuredClone(recording);
    expect(copy.written.bytes.buffer).toBeInstanceOf(SharedArrayBuffer);
    const memory = openRecordedMemory(copy);
    memory.run(100_000);
    expect(pagesIn(memory.dirty)).toEqual([1, 2, 3]);
  });
});
