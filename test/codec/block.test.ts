import { beforeAll, describe, expect, it } from 'vitest';
import {
  type BlockCodec,
  crc32,
  decodeBlock,
  digestPages,
  encodeBlock,
  openBlockCodec,
  PAGE_DIGEST_BYTES,
} from '../../src/codec/index.ts';
import { IntegrityError, PAGE_SIZE } from '../../src/core/index.ts';
import { noise, records } from './samples.ts';

let codec: BlockCodec;
beforeAll(async () => {
  codec = await openBlockCodec();
});

function digestsOf(raw: Uint8Array): Uint8Array {
  const digests = new Uint8Array((raw.length / PAGE_SIZE) * PAGE_DIGEST_BYTES);
  digestPages(raw, raw.length / PAGE_SIZE, digests);
  return digests;
}

describe('encodeBlock', () => {
  it('keeps compressible blocks as zstd, noise and codec none as they are', () => {
    const text = records(4 * PAGE_SIZE);
    const dense = encodeBlock(codec, text, 'zstd', 1);
    expect(dense.codec).toBe('zstd');
    expect(dense.stored.length).toBeLessThan(text.length / 4);
    expect(dense.checksum).toBe(crc32(dense.stored));
    const noisy = noise(1, 4 * PAGE_SIZE);
    for (const [raw, wanted] of [
      [noisy, 'zstd'],
      [text, 'none'],
    ] as const) {
      expect(encodeBlock(codec, raw, wanted, 1)).toEqual({
        codec: 'none',
        stored: raw,
        checksum: crc32(raw),
      });
    }
  });

  it('shares no memory with its input', () => {
    const raw = noise(2, PAGE_SIZE);
    const { stored } = encodeBlock(codec, raw, 'none', 1);
    raw.fill(0);
    expect(stored).toEqual(noise(2, PAGE_SIZE));
  });
});

describe('decodeBlock', () => {
  it.each(['zstd', 'none'] as const)('gives back a block of codec %s with its pages proved', (wanted) => {
    const raw = records(3 * PAGE_SIZE);
    raw.fill(0, PAGE_SIZE, 2 * PAGE_SIZE);
    const block = { ...encodeBlock(codec, raw, wanted, 3), rawLengthBytes: raw.length };
    expect(decodeBlock(codec, block, 'block')).toEqual(raw);
    expect(decodeBlock(codec, block, 'block', digestsOf(raw))).toEqual(raw);
  });

  it.each(['zstd', 'none'] as const)('notices every flipped byte of a block of codec %s', (wanted) => {
    const raw = records(PAGE_SIZE);
    const block = { ...encodeBlock(codec, raw, wanted, 1), rawLengthBytes: raw.length };
    expect(block.codec).toBe(wanted);
    for (let at = 0; at < block.stored.length; at++) {
      for (const flip of [1 << (at % 8), 0xff]) {
        const stored = block.stored.slice();
        stored[at] = stored[at]! ^ flip;
        expect(() => decodeBlock(codec, { ...block, stored }, 'block 2')).toThrow(
          /^block 2 is damaged: its checksum is 0x[0-9a-f]{8}, 0x[0-9a-f]{8} was written$/,
        );
      }
    }
  });

  it('notices what the checksum does not know: other lengths, pages and codecs', () => {
    const raw = records(2 * PAGE_SIZE);
    const block = { ...encodeBlock(codec, raw, 'zstd', 1), rawLengthBytes: raw.length };
    const other = digestsOf(raw);
    other[PAGE_DIGEST_BYTES] = other[PAGE_DIGEST_BYTES]! ^ 1;
    expect(() => decodeBlock(codec, block, 'b', other)).toThrow(/page 1 of it is not what was dumped/);
    expect(() => decodeBlock(codec, block, 'b', other.subarray(0, 16))).toThrow(/1 digests for 2 pages/);
    expect(() => decodeBlock(codec, { ...block, codec: 'none' }, 'b')).toThrow(IntegrityError);
    expect(() => decodeBlock(codec, { ...block, rawLengthBytes: PAGE_SIZE }, 'b')).toThrow(IntegrityError);
    const plain = { ...encodeBlock(codec, raw, 'none', 1), rawLengthBytes: raw.length };
    expect(() => decodeBlock(codec, { ...plain, codec: 'zstd' }, 'b')).toThrow(/no zstd magic number/);
    expect(() => decodeBlock(codec, { ...plain, rawLengthBytes: PAGE_SIZE }, 'b')).toThrow(IntegrityError);
  });
});
