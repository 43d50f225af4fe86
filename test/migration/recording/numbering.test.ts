import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PageRangeList } from '../../../src/core/index.ts';
import { PageNumbering } from '../../../src/migration/recording/numbering.ts';

const BASE = 0x7f0000000;

const list = fc
  .array(fc.tuple(fc.nat(3000), fc.integer({ min: 1, max: 700 })), { minLength: 1, maxLength: 8 })
  .map((pairs) => {
    let at = BASE;
    const pages = new PageRangeList();
    for (const [gap, count] of pairs) {
      pages.append(at + gap, at + gap + count);
      at += gap + count;
    }
    return pages;
  });

describe('numbers of recorded pages', () => {
  it('are one for each page of each process, and stay what they are', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 2 }), list), { maxLength: 6 }), (steps) => {
        const numbering = new PageNumbering();
        const known = new Map<string, number>();
        const taken = new Set<number>();
        for (const [pid, pages] of steps) {
          const numbers: number[] = [];
          numbering.eachRange(pid, pages, (start, end) => {
            for (let number = start; number < end; number++) numbers.push(number);
          });
          expect(numbers.length).toBe(pages.pageCount);
          let index = 0;
          for (const { startPage, endPage } of pages) {
            for (let page = startPage; page < endPage; page++) {
              const number = numbers[index++]!;
              const key = `${pid} ${page}`;
              if ((known.get(key) ?? number) !== number) expect.fail(`page ${key} has two numbers`);
              if (!known.has(key) && taken.has(number)) expect.fail(`number ${number} is taken twice`);
              known.set(key, number);
              taken.add(number);
              if (numbering.numberOf(pid, page) !== number) expect.fail(`page ${key} is not ${number}`);
            }
          }
        }
        for (const number of taken) expect(number).toBeLessThan(numbering.count);
        const segments = numbering.segments();
        for (const [index, { firstNumber, startPage, endPage }] of segments.entries()) {
          const next = segments[index + 1]?.firstNumber ?? numbering.count;
          expect(firstNumber + endPage - startPage).toBe(next);
        }
      }),
      { numRuns: 15 },
    );
  });

  it('follow the addresses of the first look, and take little for memory that is only reserved', () => {
    const numbering = new PageNumbering();
    const far = BASE + 2 ** 30;
    const pages = PageRangeList.of(
      { startPage: BASE + 5, endPage: BASE + 6 },
      { startPage: far, endPage: far + 1024 },
    );
    const starts: number[] = [];
    numbering.eachRange(1, pages, (start) => starts.push(start));
    expect(starts[0]! < starts[1]!).toBe(true);
    expect(numbering.count).toBe(512 + 1024);
    expect(numbering.numberOf(1, BASE + 700)).toBe(-1);
    expect(numbering.numberOf(2, BASE + 5)).toBe(-1);
  });

  it('go on in one stretch while a heap grows', () => {
    const numbering = new PageNumbering();
    for (let start = BASE; start < BASE + 4096; start += 100) {
      numbering.eachRange(1, PageRangeList.of({ startPage: start, endPage: start + 100 }), () => {});
    }
    expect(numbering.segments()).toHaveLength(1);
  });
});
