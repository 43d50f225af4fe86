import fc from 'fast-check';
import type { Contents, Tree } from './sessions.ts';

/** Runs of pages; close to each other, so that they overlap and join from one tree to the next. */
const runs = fc.array(
  fc.record({
    start: fc.oneof(fc.integer({ min: 16, max: 80 }), fc.integer({ min: 8180, max: 8200 })),
    pageCount: fc.integer({ min: 1, max: 20 }),
    seed: fc.integer({ min: 0, max: 30 }),
    isEqual: fc.boolean(),
  }),
  { minLength: 1, maxLength: 5 },
);

/** Memory of one process or object. */
export const contents: fc.Arbitrary<Contents> = runs.map((all) => {
  const pages = new Map<number, number>();
  for (const { start, pageCount, seed, isEqual } of all) {
    for (let at = 0; at < pageCount; at++) pages.set(start + at, isEqual ? seed : seed * 31 + at);
  }
  return pages;
});

const byNumber = (most: number, minLength: number, numbers: fc.Arbitrary<number>) =>
  fc
    .uniqueArray(fc.tuple(numbers, contents), { selector: ([number]) => number, minLength, maxLength: most })
    .map((entries) => new Map(entries));

/** Memory of a tree of processes. */
export const trees: fc.Arbitrary<Tree> = fc.record({
  tasks: byNumber(3, 1, fc.constantFrom(1, 7, 1234, 4_194_303)),
  objects: byNumber(2, 0, fc.constantFrom(0, 3, 77, 2 ** 32)),
});
