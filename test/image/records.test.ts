import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IntegrityError } from '../../src/core/index.ts';
import {
  decodeDeltaBlock,
  decodeDigestBlock,
  decodeRoot,
  encodeDeltaBlock,
  encodeDigestBlock,
  encodeRoot,
  SEGMENT_PAGES,
} from '../../src/image/index.ts';

const roots = fc
  .uniqueArray(
    fc.record({
      window: fc.integer({ min: 0, max: 2 ** 39 - 1 }),
      pack: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
      block: fc.nat(2 ** 24 - 1),
      zeroPages: fc.nat(4000),
      dataPages: fc.nat(4000),
      digest: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    }),
    { selector: ({ window }) => window, maxLength: 30 },
  )
  .map((segments) =>
    segments
      .sort((a, b) => a.window - b.window)
      .map(({ window, pack, block, ...rest }) => ({
        startPage: window * SEGMENT_PAGES,
        location: { pack, block },
        ...rest,
      })),
  );

describe('a root', () => {
  it('comes back as it was written', () => {
    fc.assert(
      fc.property(roots, (segments) => {
        expect(decodeRoot(encodeRoot(segments), 'x')).toEqual(segments);
      }),
    );
  });

  it('is refused if it is cut off or longer', () => {
    fc.assert(
      fc.property(roots, fc.nat(), (segments, cut) => {
        const bytes = encodeRoot(segments);
        expect(() => decodeRoot(bytes.subarray(0, cut % bytes.length), 'x')).toThrow(IntegrityError);
        expect(() => decodeRoot(Buffer.concat([bytes, Buffer.of(0)]), 'x')).toThrow(IntegrityError);
      }),
    );
  });
});

describe('a block of differences', () => {
  const blocks = fc.array(fc.uint8Array({ maxLength: 2048 }), { maxLength: 64 });

  it('gives back every record, empty ones too', () => {
    fc.assert(
      fc.property(blocks, (records) => {
        expect(decodeDeltaBlock(encodeDeltaBlock(records), 'x')).toEqual(records);
      }),
    );
  });

  it('is refused if it is cut off or longer', () => {
    fc.assert(
      fc.property(blocks, fc.nat(), (records, cut) => {
        const bytes = encodeDeltaBlock(records);
        expect(() => decodeDeltaBlock(bytes.subarray(0, cut % bytes.length), 'x')).toThrow(IntegrityError);
        expect(() => decodeDeltaBlock(Buffer.concat([bytes, Buffer.of(0)]), 'x')).toThrow(IntegrityError);
      }),
    );
  });
});

describe('a block of digests', () => {
  const blocks = fc.array(
    fc.record({
      block: fc.nat(2 ** 24 - 1),
      digests: fc.nat(20).chain((count) => fc.uint8Array({ minLength: count * 16, maxLength: count * 16 })),
    }),
    { maxLength: 20 },
  );

  it('gives back the digests of every block', () => {
    fc.assert(
      fc.property(blocks, (written) => {
        const { extents, digests } = decodeDigestBlock(encodeDigestBlock(written), 'x');
        const read = extents.map(({ block, firstDigest, digestCount }) => ({
          block,
          digests: digests.slice(firstDigest * 16, (firstDigest + digestCount) * 16),
        }));
        expect(read).toEqual(written);
      }),
    );
  });

  it('is refused if it is cut off or longer', () => {
    fc.assert(
      fc.property(blocks, fc.nat(), (written, cut) => {
        const bytes = encodeDigestBlock(written);
        expect(() => decodeDigestBlock(bytes.subarray(0, cut % bytes.length), 'x')).toThrow(IntegrityError);
        expect(() => decodeDigestBlock(Buffer.concat([bytes, Buffer.of(0)]), 'x')).toThrow(IntegrityError);
      }),
    );
  });
});
