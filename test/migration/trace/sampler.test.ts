import { beforeAll, describe, expect, it } from 'vitest';
import { type BlockCodec, openBlockCodec } from '../../../src/codec/index.ts';
import { PAGE_SIZE, PageRangeList, Random } from '../../../src/core/index.ts';
import { PageSampler } from '../../../src/migration/trace/sampler.ts';
import { FakeProcess } from '../../tracker/fake-process.ts';

const BASE = 0x7f0000000;
const none = new PageRangeList();

/** A process whose memory the test writes. */
class Memory extends FakeProcess {
  readonly #pages = new Map<number, Uint8Array>();

  override readMemory(startPage = 0, pageCount = 0, into: Uint8Array = new Uint8Array()): number {
    for (let index = 0; index < pageCount; index++) {
      into.set(this.#pages.get(startPage + index) ?? new Uint8Array(PAGE_SIZE), index * PAGE_SIZE);
    }
    return pageCount;
  }

  /** Writes `bytes` of noise at the beginning of a page. */
  scribble(page: number, bytes: number, random: Random): void {
    const content = this.#pages.get(page) ?? new Uint8Array(PAGE_SIZE);
    for (let at = 0; at < bytes; at++) content[at] = 1 + ((content[at]! + random.nextBelow(254)) % 255);
    this.#pages.set(page, content);
  }
}

const listOf = (pages: Iterable<number>) =>
  PageRangeList.of(
    ...[...new Set(pages)]
      .sort((left, right) => left - right)
      .map((page) => ({ startPage: BASE + page, endPage: BASE + page + 1 })),
  );

const numbers = (count: number, make: (index: number) => number) =>
  Array.from({ length: count }, (_, index) => make(index));

describe('samples of written pages', () => {
  let codec: BlockCodec;
  beforeAll(async () => {
    codec = await openBlockCodec();
  });

  it('stand for all that were written, whether often or seldom', () => {
    const memory = new Memory();
    const random = new Random(3);
    const sampler = new PageSampler(codec, 1);
    sampler.first(memory, PageRangeList.of({ startPage: BASE, endPage: BASE + 4000 }), 1);
    let sum = 0;
    let count = 0;
    for (let step = 0; step < 60; step++) {
      // The same hundred pages a little, two hundred others a lot: 2/3 of what is written.
      const hot = numbers(100, (index) => index * 40);
      const cold = numbers(200, () => random.nextBelow(4000)).filter((page) => page % 40 !== 0);
      for (const page of hot) memory.scribble(BASE + page, 10, random);
      for (const page of new Set(cold)) memory.scribble(BASE + page, 1000, random);
      for (const { differenceBytes } of sampler.written(memory, listOf([...hot, ...cold]), none, 1)) {
        expect(differenceBytes).toBeDefined();
        sum += differenceBytes!;
        count++;
      }
    }
    expect(count).toBeGreaterThan(2000);
    // 100 pages with 12 bytes of difference, about 190 with 1,003.
    expect(sum / count).toBeGreaterThan(580);
    expect(sum / count).toBeLessThan(740);
  });

  it('are taken of pages that appear later, too', () => {
    const memory = new Memory();
    const random = new Random(3);
    const sampler = new PageSampler(codec, 1);
    sampler.first(memory, PageRangeList.of({ startPage: BASE, endPage: BASE + 2048 }), 1);
    const late = PageRangeList.of({ startPage: BASE + 5000, endPage: BASE + 5600 });
    const appeared = sampler.written(memory, late, late, 1);
    expect(appeared.length).toBeGreaterThan(90);
    expect(appeared.every(({ differenceBytes }) => differenceBytes === undefined)).toBe(true);
    for (const { page } of appeared) memory.scribble(page, 20, random);
    const again = sampler.written(memory, late, none, 1);
    expect(again.length).toBeGreaterThan(90);
    expect(again.every(({ differenceBytes }) => differenceBytes === 22)).toBe(true);
    sampler.forget(late);
    expect(
      sampler.written(memory, late, none, 1).every((sample) => sample.differenceBytes === undefined),
    ).toBe(true);
  });

  it('are caught where a program writes in a small part of its memory', () => {
    const memory = new Memory();
    const sampler = new PageSampler(codec, 1);
    sampler.first(memory, PageRangeList.of({ startPage: BASE, endPage: BASE + 3_000_000 }), 1);
    const written = listOf(numbers(50, (index) => 1000 + index * 3));
    const measured = numbers(8, () => sampler.written(memory, written, none, 1).length);
    expect(measured[0]).toBeGreaterThan(5);
    expect(measured.at(-1)).toBeGreaterThan(30);
  });

  it('are shared by the processes of a target', () => {
    const memory = new Memory();
    const sampler = new PageSampler(codec, 1);
    const resident = PageRangeList.of({ startPage: BASE, endPage: BASE + 10_000 });
    expect(sampler.first(memory, resident, 8)).toHaveLength(128);
    expect(sampler.written(memory, resident, none, 8).length).toBeLessThanOrEqual(16);
    expect(new PageSampler(codec, 1).first(memory, resident, 1000)).toHaveLength(32);
  });
});
