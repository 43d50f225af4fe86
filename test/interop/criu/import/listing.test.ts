import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CkptError } from '../../../../src/core/index.ts';
import { decodeListing, encodeListing, type ImageListing } from '../../../../src/interop/criu/listing.ts';

const part = fc.string({ minLength: 1, unit: 'grapheme' }).filter((text) => !/^\.{0,2}$|\//.test(text));
const name = fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
const file = fc.record({ name, mode: fc.nat(0o7777), offset: fc.maxSafeNat() }).chain((common) =>
  fc.oneof(
    fc.maxSafeNat().map((bytes) => ({ ...common, kind: 'file' as const, bytes })),
    fc.constant({ ...common, kind: 'directory' as const, bytes: 0 }),
    fc.string().map((target) => ({ ...common, kind: 'link' as const, bytes: 0, target })),
  ),
);
const runs = fc
  .array(fc.tuple(fc.nat(2 ** 40), fc.integer({ min: 1, max: 2 ** 36 }), fc.constantFrom(1, 2, 3, 4, 6)))
  .map((drawn) => {
    let page = 0;
    const startPages = drawn.map(([gap, count]) => {
      const start = page + gap;
      page = start + count;
      return start;
    });
    return {
      startPages: Float64Array.from(startPages),
      pageCounts: Float64Array.from(drawn, ([, count]) => count),
      flags: Uint8Array.from(drawn, ([, , flags]) => flags),
    };
  });
const memory = fc.record({
  name: fc.constantFrom('pagemap-1.img', 'pagemap-shmem-18446744073709551615.img'),
  pid: fc.integer({ min: 1, max: 2 ** 23 }),
  sharedMemory: fc.option(fc.constantFrom('0', '18446744073709551615')),
  pagesId: fc.nat(),
  runs,
});
const listing: fc.Arbitrary<ImageListing> = fc.record({
  imagesPath: fc.constantFrom('', 'checkpoint'),
  files: fc.array(file),
  memories: fc.array(memory, { maxLength: 4 }),
});

const EMPTY: ImageListing = { imagesPath: '', files: [], memories: [] };

describe('the listing of kept files', () => {
  it('gives back what it was made of', () => {
    fc.assert(
      fc.property(listing, (one) => {
        expect(decodeListing(encodeListing(one))).toEqual(one);
      }),
    );
  });

  it('is decoded or refused, wherever it ends and whatever byte is another', () => {
    fc.assert(
      fc.property(listing, fc.nat(), fc.nat(255), fc.nat(), (one, at, value, end) => {
        const bytes = encodeListing(one);
        const changed = bytes.slice(0, 1 + (end % bytes.length));
        changed[at % changed.length] = value;
        try {
          decodeListing(changed);
        } catch (error) {
          expect(error).toBeInstanceOf(CkptError);
        }
      }),
    );
  });

  it.each(['', '/etc/passwd', '../x', 'a/../../x', 'a//b', './a', 'a/.'])('refuses the name "%s"', (bad) => {
    const files = [{ name: bad, kind: 'file' as const, mode: 0o600, bytes: 0, offset: 0 }];
    expect(() => decodeListing(encodeListing({ ...EMPTY, files }))).toThrow(/files\[0\]\.name/);
  });

  it('refuses bytes behind its end', () => {
    expect(() => decodeListing(Buffer.concat([encodeListing(EMPTY), Buffer.alloc(3)]))).toThrow(
      /3 bytes too many/,
    );
  });
});
