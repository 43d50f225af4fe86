import { beforeAll, describe, expect, it } from 'vitest';
import {
  type BlockCodec,
  crc32,
  digestPages,
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

describe('encode', () => {
  it('keeps compressible blocks as zstd, noise and codec none as they are', () => {
    const text = records(4 * PAGE_SIZE);
    const dense = codec.encode(text, 'zstd', 1);
    expect(dense.codec).toBe('zstd');
    expect(dense.stored.length).toBeLessThan(text.length / 4);
    expect(dense.checksum).toBe(crc32(dense.stored));
    const noisy = noise(1, 4 * PAGE_SIZE);
    for (const [raw, wanted] of [
      [noisy, 'zstd'],
      [text, 'none'],
    ] as const) {
      expect(codec.encode(raw, wanted, 1)).toEqual({
        codec: 'none',
        stored: raw,
        checksum: crc32(raw),
      });
    }
  });

  it('places its result where it is told, be it over its input, if it fits', () => {
    for (const [raw, wanted] of [
      [records(2 * PAGE_SIZE), 'zstd'],
      [noise(3, 2 * PAGE_SIZE), 'none'],
    ] as const) {
      const expected = codec.encode(raw, 'zstd', 1);
      expect(expected.codec).toBe(wanted);
      const inPlace = codec.encode(raw, 'zstd', 1, raw);
      expect(inPlace).toEqual(expected);
      expect(inPlace.stored.buffer).toBe(raw.buffer);
    }
    const small = new Uint8Array(10);
    expect(codec.encode(records(PAGE_SIZE), 'zstd', 1, small)).toEqual(
      codec.encode(records(PAGE_SIZE), 'zstd', 1),
    );
    expect(small).toEqual(new Uint8Array(10));
  });

  it('shares no memory with its input', () => {
    const raw = noise(2, PAGE_SIZE);
    const { stored } = codec.encode(raw, 'none', 1);
    raw.fill(0);
    expect(stored).toEqual(noise(2, PAGE_SIZE));
  });
});

describe('decode', () => {
  it.each(['zstd', 'none'] as const)('gives back a block of codec %s with its pages proved', (wanted) => {
    const raw = records(3 * PAGE_SIZE);
    raw.fill(0, PAGE_SIZE, 2 * PAGE_SIZE);
    const block = { ...codec.encode(raw, wanted, 3), rawLengthBytes: raw.length };
    expect(codec.decode(block, 'block')).toEqual(raw);
    expect(codec.decode(block, 'block', digestsOf(raw))).toEqual(raw);
  });

  it('places the content where it is told, if it fits', () => {
    const raw = records(PAGE_SIZE);
    const block = { ...codec.encode(raw, 'zstd', 1), rawLengthBytes: raw.length };
    const large = new Uint8Array(2 * PAGE_SIZE);
    const content = codec.decode(block, 'block', digestsOf(raw), large);
    expect(content).toEqual(raw);
    expect(content.buffer).toBe(large.buffer);
    expect(codec.decode(block, 'block', undefined, new Uint8Array(10))).toEqual(raw);
  });

  it.each(['zstd', 'none'] as const)('notices every flipped byte of a block of codec %s', (wanted) => {
    const raw = records(PAGE_SIZE);
    const block = { ...codec.encode(raw, wanted, 1), rawLengthBytes: raw.length };
    expect(block.codec).toBe(wanted);
    for (let at = 0; at < block.stored.length; at++) {
      for (const flip of [1 << (at % 8), 0xff]) {
        const stored = block.stored.slice();
        stored[at] = stored[at]! ^ flip;
        expect(() => codec.decode({ ...block, stored }, 'block 2')).toThrow(
          /^block 2 is damaged: its checksum is 0x[0-9a-f]{8}, 0x[0-9a-f]{8} was written$/,
        );
      }
    }
  });

  it('notices what the checksum does not know: other lengths, pages and codecs', () => {
    const raw = records(2 * PAGE_SIZE);
    const block = { ...codec.encode(raw, 'zstd', 1), rawLengthBytes: raw.length };
    const other = digestsOf(raw);
    other[PAGE_DIGEST_BYTES] = other[PAGE_DIGEST_BYTES]! ^ 1;
    expect(() => codec.decode(block, 'b', other)).toThrow(/page 1 of it is not what was dumped/);
    expect(() => codec.decode(block, 'b', other.subarray(0, 16))).toThrow(/1 digests for 2 pages/);
    expect(() => codec.decode({ ...block, codec: 'none' }, 'b')).toThrow(IntegrityError);
    expect(() => codec.decode({ ...block, rawLengthBytes: PAGE_SIZE }, 'b')).toThrow(IntegrityError);
    const plain = { ...codec.encode(raw, 'none', 1), rawLengthBytes: raw.length };
    expect(() => codec.decode({ ...plain, codec: 'zstd' }, 'b')).toThrow(/no zstd magic number/);
    expect(() => codec.decode({ ...plain, rawLengthBytes: PAGE_SIZE }, 'b')).toThrow(IntegrityError);
  });
});
