import { deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PAGE_SIZE } from '../../src/core/index.ts';
import { initialSource, streamOf, WorkloadContent } from '../../src/workload/content.ts';
import type { ContentDefinition, RegionDefinition, WriteStyle } from '../../src/workload/model.ts';

const CONTENTS: readonly ContentDefinition[] = [
  { kind: 'zero', compressible: 1 },
  { kind: 'text', compressible: 1 },
  { kind: 'records', compressible: 1 },
  { kind: 'random', compressible: 1 },
  { kind: 'mix', compressible: 0.5 },
  { kind: 'padded', compressible: 0.7 },
];
const STYLES: readonly WriteStyle[] = [
  { bytes: 64, order: 'scattered', changedShare: 1 },
  { bytes: 1, order: 'scattered', changedShare: 1 },
  { bytes: 100, order: 'ascending', changedShare: 1 },
  { bytes: 4096, order: 'scattered', changedShare: 1 },
  { bytes: 4096, order: 'scattered', changedShare: 0.5 },
  { bytes: 700, order: 'scattered', changedShare: 0.5 },
];
const REGIONS: readonly RegionDefinition[] = CONTENTS.map((content, index) => ({
  name: content.kind,
  index,
  sizePages: 1000,
  residentPages: 0,
  kind: 'anonymous',
  content,
  mapped: true,
  access: 'read-write',
}));
const provider = new WorkloadContent({ seed: 7, regions: REGIONS, styles: STYLES });

const region = fc.integer({ min: 0, max: REGIONS.length - 1 });
const style = fc.integer({ min: 0, max: STYLES.length - 1 });
const writer = fc.integer({ min: 0, max: 300 });
const key = fc.oneof(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 2 ** 32 - 1 }));
const storeCount = fc.oneof(fc.integer({ min: 1, max: 10_000 }), fc.integer({ min: 1, max: 2 ** 32 - 1 }));

function render(source: number, page: number, count: number): Uint8Array {
  const bytes = new Uint8Array(PAGE_SIZE).fill(0xee);
  provider.render(source, page, count, bytes);
  return bytes;
}

describe('WorkloadContent', () => {
  it('describes a page after a store exactly as the store changes its bytes', () => {
    fc.assert(
      fc.property(
        region,
        region,
        style,
        style,
        writer,
        writer,
        key,
        storeCount,
        fc.integer({ min: 0, max: 2 }),
        (...a) => {
          const [home, target, styleA, styleB, writerA, writerB, page, count, start] = a;
          const populated = initialSource(home);
          const source = [0, populated, populated | streamOf(home, styleA, writerA)][start]!;
          const stream = streamOf(start === 2 ? target : home, styleB, writerB);
          const after = provider.sourceAfterStore(source, stream);
          fc.pre(after >= 0);
          // A description without a style has no store behind it yet.
          const number = start === 2 ? count : 1;
          const expected = render(source, page, number - 1);
          provider.apply(stream, page, number, expected);
          expect(Buffer.compare(render(after, page, number), expected)).toBe(0);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('describes any number of stores of one stream', () => {
    fc.assert(
      fc.property(region, style, writer, key, fc.boolean(), fc.integer({ min: 1, max: 200 }), (...a) => {
        const [home, kind, who, page, populated, count] = a;
        const stream = streamOf(home, kind, who);
        let source = populated ? initialSource(home) : 0;
        const bytes = render(source, page, 0);
        for (let store = 1; store <= count; store++) {
          source = provider.sourceAfterStore(source, stream);
          provider.apply(stream, page, store, bytes);
        }
        expect(Buffer.compare(render(source, page, count), bytes)).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  it('gives up where two kinds of stores meet, and where another process stores', () => {
    const first = provider.sourceAfterStore(initialSource(2), streamOf(2, 0, 0));
    expect(provider.sourceAfterStore(first, streamOf(2, 0, 0))).toBe(first);
    expect(provider.sourceAfterStore(first, streamOf(2, 1, 0))).toBe(-1);
    expect(provider.sourceAfterStore(first, streamOf(2, 0, 1))).toBe(-1);
    expect(provider.sourceAfterStore(first, streamOf(1, 0, 0))).toBe(-1);
    // A store of a whole page needs to know nothing of what was there.
    expect(provider.sourceAfterStore(first, streamOf(2, 3, 9))).toBe(streamOf(2, 3, 9));
  });

  it('changes no byte outside the slot of the store, and at least one inside', () => {
    fc.assert(
      fc.property(region, style, key, fc.integer({ min: 1, max: 1000 }), (home, kind, page, count) => {
        const { bytes, changedShare } = STYLES[kind]!;
        // One byte may by chance be what was there.
        fc.pre(changedShare === 1 && bytes >= 8);
        const stream = streamOf(home, kind, 0);
        const source = provider.sourceAfterStore(initialSource(home), stream);
        const before = render(source, page, 1000 + count);
        const after = render(source, page, 1001 + count);
        const changed = [...before.keys()].filter((index) => before[index] !== after[index]);
        expect(changed.length).toBeGreaterThan(0);
        expect(Math.floor(changed[0]! / bytes)).toBe(Math.floor(changed.at(-1)! / bytes));
      }),
    );
  });

  it('rewrites what is there, except on the stated share of the pages', () => {
    const stream = streamOf(2, 5, 0);
    const source = provider.sourceAfterStore(initialSource(2), stream);
    let changed = 0;
    for (let page = 0; page < 2000; page++) {
      if (Buffer.compare(render(source, page, 5), render(source, page, 6)) !== 0) changed++;
    }
    expect(Math.abs(changed - 1000)).toBeLessThan(120);
  });

  it.each<[string, number, number, number]>([
    ['text', 1, 2.2, 4],
    ['records', 2, 2.5, 6],
    ['random', 3, 0.99, 1.01],
    ['mix', 4, 1.3, 1.8],
  ])('compresses like real memory: %s', (_name, home, least, most) => {
    const pages = new Uint8Array(64 * PAGE_SIZE);
    for (let page = 0; page < 64; page++) {
      pages.set(render(initialSource(home), page, 0), page * PAGE_SIZE);
    }
    const ratio = pages.length / deflateRawSync(pages, { level: 1 }).length;
    expect(ratio).toBeGreaterThan(least);
    expect(ratio).toBeLessThan(most);
  });

  it('depends on seed, region, page and writer', () => {
    const other = new WorkloadContent({ seed: 8, regions: REGIONS, styles: STYLES });
    const bytes = new Uint8Array(PAGE_SIZE);
    other.render(initialSource(3), 0, 0, bytes);
    const variants = [
      bytes,
      render(initialSource(3), 0, 0),
      render(initialSource(3), 1, 0),
      render(initialSource(3) | streamOf(3, 0, 0), 0, 1),
      render(initialSource(3) | streamOf(3, 0, 1), 0, 1),
    ];
    expect(new Set(variants.map((variant) => Buffer.from(variant).toString('hex'))).size).toBe(5);
    expect(render(initialSource(0), 0, 0).every((byte) => byte === 0)).toBe(true);
  });
});
