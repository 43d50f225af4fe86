import { describe, expect, it } from 'vitest';
import { readFrameLayout } from '../../src/codec/zstd-frame.ts';

const layout = (hex: string) => readFrameLayout(Buffer.from(hex.replaceAll(' ', ''), 'hex'), 'frame');

const MAGIC = '28b52ffd';

describe('readFrameLayout', () => {
  it.each([
    ['a raw block', `${MAGIC} 20 03 190000 616263`, { contentBytes: 3, frameBytes: 12 }],
    ['a run', `${MAGIC} 20 05 2b0000 61`, { contentBytes: 5, frameBytes: 10 }],
    ['two blocks', `${MAGIC} 20 02 080000 61 090000 62`, { contentBytes: 2, frameBytes: 14 }],
    ['a checksum', `${MAGIC} 24 01 090000 61 01020304`, { contentBytes: 1, frameBytes: 14 }],
    ['a two-byte size', `${MAGIC} 60 0100 0b0800 61`, { contentBytes: 257, frameBytes: 11 }],
    ['a four-byte size', `${MAGIC} a0 00000100 030008 61`, { contentBytes: 65536, frameBytes: 13 }],
    ['an eight-byte size', `${MAGIC} e0 0500000000000000 2b0000 61`, { contentBytes: 5, frameBytes: 17 }],
    ['bytes behind it', `${MAGIC} 20 01 090000 61 ff`, { contentBytes: 1, frameBytes: 10 }],
  ])('reads a frame with %s', (_, hex, expected) => {
    expect(layout(hex)).toEqual(expected);
  });

  it.each([
    ['nothing', '', /4 bytes expected, 0 left/],
    ['another magic number', '28b52ffe 20 01 090000 61', /no zstd magic number/],
    ['a skippable frame', '502a4d18 00000000 00', /no zstd magic number/],
    ['a dictionary', `${MAGIC} 21 07 01 090000 61`, /needs a dictionary/],
    ['a reserved bit', `${MAGIC} 28 01 090000 61`, /unknown bits/],
    ['a window', `${MAGIC} 00 58 090000 61`, /without a single segment/],
    ['a reserved block type', `${MAGIC} 20 01 0f0000 61`, /reserved type/],
    ['no last block', `${MAGIC} 20 01 080000 61`, /2 bytes expected, 0 left/],
    ['half a block', `${MAGIC} 20 03 190000 6162`, /3 bytes expected, 2 left/],
    ['half a checksum', `${MAGIC} 24 01 090000 61 0102`, /4 bytes expected, 2 left/],
    ['a size beyond 2^53', `${MAGIC} e0 ffffffffffffffff 090000 61`, /above 2\^53/],
  ])('refuses %s', (_, hex, message) => {
    expect(() => layout(hex)).toThrow(message);
  });
});
