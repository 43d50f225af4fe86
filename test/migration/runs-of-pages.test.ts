import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PAGE_SIZE } from '../../src/core/index.ts';
import { Guest } from '../../src/migration/guest.ts';
import {
  Link,
  type MigratingMemory,
  PageBitmap,
  QEMU_DEFAULTS,
  type QemuOptions,
  rehearseOnce,
  USUAL_COSTS,
} from '../../src/migration/index.ts';
import { PageSender } from '../../src/migration/qemu/page-sender.ts';
import { MainStream } from '../../src/migration/qemu/stream.ts';
import { RoundLog } from '../../src/migration/rounds.ts';
import { SpiedMemory } from './spied-memory.ts';

const costs = { ...USUAL_COSTS, pageNanoseconds: 873.1, zeroPageNanoseconds: 412.7 };
const rate = fc.integer({ min: 1, max: 2000 }).map((megabytes) => megabytes * 1e6);

/** Pages of zeros come and go in runs of all lengths, so that both the pieces and the bytes of a buffer run out. */
const runsOfKinds = fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 4000 })), { maxLength: 8 });

describe('runs of pages', () => {
  it('go into the stream as their pages would one by one', () => {
    fc.assert(
      fc.property(runsOfKinds, rate, fc.integer({ min: 1, max: 40 }), (kinds, bytesPerSecond, most) => {
        const streams = [0, 1].map(() => new MainStream(new Link({ bytesPerSecond }), costs));
        const [single, bulk] = streams as [MainStream, MainStream];
        const pages = kinds.flatMap(([zero, count]) => new Array<boolean>(count).fill(zero));
        for (let at = 0; at < pages.length; ) {
          const run = pages.slice(at, at + Math.min(most, bulk.room));
          bulk.run(run.length, run.filter((zero) => zero).length, run.at(-1)!);
          for (const zero of run) {
            if (zero) single.zeroPage();
            else single.page(false);
          }
          at += run.length;
          expect([bulk.now, bulk.written]).toEqual([single.now, single.written]);
        }
        for (const stream of streams) stream.endStep();
        expect([bulk.now, bulk.written]).toEqual([single.now, single.written]);
      }),
      { numRuns: 20 },
    );
  });

  const memory = fc.record({
    pending: fc.array(fc.tuple(fc.nat({ max: 9000 }), fc.integer({ min: 1, max: 700 })), { maxLength: 8 }),
    zero: fc.array(fc.tuple(fc.nat({ max: 9000 }), fc.integer({ min: 1, max: 700 })), { maxLength: 8 }),
    byWords: fc.boolean(),
  });
  const options = fc.constantFrom<Partial<QemuOptions>>(
    {},
    { detectZeroPages: false },
    { multifdChannels: 2 },
    { multifdChannels: 3, multifdCompression: 'zstd' },
  );

  it('are sent as their pages would be one by one', () => {
    fc.assert(
      fc.property(memory, options, rate, fc.infiniteStream(fc.integer({ min: 1, max: 100 })), (...drawn) => {
        const [content, parameters, bytesPerSecond, portions] = drawn;
        const senders = [0, 1].map(() => senderOf(content, parameters, bytesPerSecond));
        const [single, bulk] = senders as [PageSender, PageSender];
        for (;;) {
          const sent = bulk.send(portions.next().value, false);
          let one = single.send(1, false);
          for (let page = 1; page < sent; page++) one += single.send(1, false);
          expect(one).toBe(sent);
          expect([bulk.now, bulk.writtenBytes]).toEqual([single.now, single.writtenBytes]);
          if (sent === 0) break;
        }
      }),
      { numRuns: 60 },
    );
  });
});

/** The same, but it knows the zeros of 32 pages at once: whole words can be sent, and the guest be left behind. */
class WordwiseMemory extends SpiedMemory {
  zerosAmong(word: number, pages: number): number {
    let zeros = 0;
    for (let rest = pages; rest !== 0; rest &= rest - 1) {
      const bit = rest & -rest;
      if (this.isZero(word * 32 + 31 - Math.clz32(bit))) zeros |= bit;
    }
    return zeros;
  }

  override isZero(page: number): boolean {
    return page % 1000 < 300 && super.isZero(page);
  }
}

/** Knows them page by page only. */
class PagewiseMemory extends SpiedMemory {
  override isZero(page: number): boolean {
    return page % 1000 < 300 && super.isZero(page);
  }
}

describe('whole migrations', () => {
  const writer = fc.record({
    pages: fc.integer({ min: 1, max: 30_000 }),
    writesPerSecond: fc.integer({ min: 0, max: 20_000 }),
    writtenPages: fc.integer({ min: 1, max: 30_000 }),
    seed: fc.nat(),
  });
  const choice = fc.constantFrom<Partial<QemuOptions>>(
    { maxBandwidth: 0 },
    { maxBandwidth: 20e6 },
    { maxBandwidth: 20e6, clearLog: 'before-send' },
    { maxBandwidth: 30e6, autoConverge: true },
    { detectZeroPages: false },
    { multifdChannels: 2, multifdCompression: 'zstd' },
    { postcopyAfter: { rounds: 1 } },
  );

  it('end the same, whether pages can be looked at by words or not', () => {
    fc.assert(
      fc.property(writer, choice, rate, (parameters, options, bytesPerSecond) => {
        const writtenPages = Math.min(parameters.writtenPages, parameters.pages);
        const [wordwise, pagewise] = [WordwiseMemory, PagewiseMemory].map((Memory) =>
          rehearseOnce(new Memory({ ...parameters, writtenPages }), {
            link: { bytesPerSecond },
            choice: { policy: 'qemu', options },
            costs,
            giveUpAfterMicroseconds: 20e6,
          }),
        );
        expect(wordwise).toEqual(pagewise);
      }),
      { numRuns: 60 },
    );
  });
});

interface Content {
  readonly pending: readonly (readonly [number, number])[];
  readonly zero: readonly (readonly [number, number])[];
  readonly byWords: boolean;
}

function senderOf(content: Content, parameters: Partial<QemuOptions>, bytesPerSecond: number): PageSender {
  const bitmapOf = (ranges: Content['zero']) => {
    const bitmap = new PageBitmap(0);
    for (const [start, count] of ranges) bitmap.addRange(start, start + count);
    return bitmap;
  };
  const zero = bitmapOf(content.zero);
  const memory: MigratingMemory = {
    resident: new PageBitmap(0),
    dirty: new PageBitmap(0),
    pageCount: 10_000,
    cpuShare: 0,
    run: () => undefined,
    isZero: (page) => zero.has(page),
    ...(content.byWords
      ? { zerosAmong: (word: number, pages: number) => zero.word(word) & pages }
      : undefined),
    compressedShare: (page) => (page % 7) / 8,
    countStores: () => undefined,
    storesOf: () => 0,
    differenceBytes: () => PAGE_SIZE,
  };
  const options = { ...QEMU_DEFAULTS, ...parameters };
  const link = new Link({ bytesPerSecond });
  return new PageSender(new Guest(memory), bitmapOf(content.pending), new RoundLog(), link, options, costs);
}
