import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { MAX_BLOCK_BYTES, openBlockCodec } from '../../src/codec/index.ts';
import { IntegrityError, UnsupportedError, UsageError } from '../../src/core/index.ts';
import { openFrames } from './frames.ts';
import { noise, records } from './samples.ts';

const nodeHasZstd = 'zstdCompressSync' in (await import('node:zlib'));

describe.each(nodeHasZstd ? (['wasm', 'node'] as const) : (['wasm'] as const))('zstd by %s', async (name) => {
  const codec = await openFrames(name);

  it('says which it is', () => {
    expect(codec.implementation).toBe(name);
  });

  it.each([1, 3, 9, 19])('gives back what it took at level %i', (level) => {
    for (const raw of [
      records(MAX_BLOCK_BYTES),
      noise(1, 100_000),
      new Uint8Array(300_000),
      Uint8Array.of(7),
    ]) {
      const stored = codec.compress(raw, level);
      expect(Buffer.compare(codec.decompress(stored, raw.length, 'block'), raw)).toBe(0);
    }
  });

  it('gives back any bytes', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 3000 }),
        fc.constantFrom(1, 2, 5, 9, 19),
        (raw, level) => {
          const stored = codec.compress(raw, level);
          expect(codec.decompress(stored, raw.length, 'block')).toEqual(new Uint8Array(raw));
        },
      ),
    );
  });

  it('is deterministic, also from shared memory', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(60_000));
    shared.set(records(60_000));
    expect(codec.compress(shared, 1)).toEqual(codec.compress(records(60_000), 1));
  });

  it('refuses blocks that are empty or too large, and unknown levels', () => {
    expect(() => codec.compress(new Uint8Array(0), 1)).toThrow(RangeError);
    expect(() => codec.compress(new Uint8Array(MAX_BLOCK_BYTES + 1), 1)).toThrow(RangeError);
    for (const level of [0, -1, 20, 1.5, Number.NaN]) {
      expect(() => codec.compress(Uint8Array.of(1), level)).toThrow(UsageError);
    }
  });

  it('refuses a frame of another length, truncated, or followed by more, and names the record', () => {
    const raw = records(20_000);
    const stored = codec.compress(raw, 1);
    const refused = (bytes: Uint8Array, rawLength = raw.length) => {
      expect(() => codec.decompress(bytes, rawLength, 'block 7 of pack 3')).toThrow(IntegrityError);
      expect(() => codec.decompress(bytes, rawLength, 'block 7 of pack 3')).toThrow(
        /^block 7 of pack 3 is damaged/,
      );
    };
    refused(stored, raw.length - 1);
    refused(stored, raw.length + 1);
    refused(Buffer.concat([stored, stored]));
    refused(Buffer.concat([stored, Uint8Array.of(0)]));
    for (let length = 0; length < stored.length; length += 13) refused(stored.subarray(0, length));
  });

  it('refuses frames whose header claims too much, without trying', () => {
    const claims = (contentBytes: number) => {
      const frame = Buffer.from('28b52ffda000000000010000', 'hex');
      frame.writeUInt32LE(contentBytes, 5);
      return frame;
    };
    for (const contentBytes of [MAX_BLOCK_BYTES + 1, 0x7fffffff, 0xffffffff]) {
      expect(() => codec.decompress(claims(contentBytes), contentBytes, 'block')).toThrow(IntegrityError);
    }
  });

  it('of any damaged frame either fails with an IntegrityError or gives the stated length', () => {
    const raw = records(3000);
    const stored = codec.compress(raw, 1);
    for (let at = 0; at < stored.length; at++) {
      const flipped = stored.slice();
      flipped[at] = flipped[at]! ^ (1 + (at % 255));
      try {
        expect(codec.decompress(flipped, raw.length, 'block')).toHaveLength(raw.length);
      } catch (error) {
        expect(error).toBeInstanceOf(IntegrityError);
      }
    }
    expect(Buffer.compare(codec.decompress(stored, raw.length, 'block'), raw)).toBe(0);
  });
});

describe('the choice of zstd', () => {
  afterEach(() => vi.unstubAllEnvs());

  it('follows CKPT_ZSTD, and an option beats it', async () => {
    vi.stubEnv('CKPT_ZSTD', 'wasm');
    expect((await openBlockCodec()).implementation).toBe('wasm');
    vi.stubEnv('CKPT_ZSTD', 'gzip');
    await expect(openBlockCodec()).rejects.toThrow(UsageError);
    expect((await openBlockCodec('wasm')).implementation).toBe('wasm');
  });

  it('is node:zlib exactly where it has zstd', async () => {
    expect((await openBlockCodec()).implementation).toBe(nodeHasZstd ? 'node' : 'wasm');
    const forced = openBlockCodec('node');
    if (nodeHasZstd) expect((await forced).implementation).toBe('node');
    else await expect(forced).rejects.toThrow(UnsupportedError);
  });
});
