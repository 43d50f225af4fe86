import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  crc32,
  digestPage,
  digestPages,
  isZeroPage,
  PAGE_DIGEST_BYTES,
  Sha256,
  ZERO_PAGE_DIGEST,
} from '../../src/codec/index.ts';
import { PAGE_SIZE } from '../../src/core/index.ts';
import { noise, recordPage } from './samples.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();

describe('digestPage', () => {
  it('is the first half of the SHA-256', () => {
    const page = recordPage(3);
    expect(digestPage(page)).toEqual(new Uint8Array(sha256(page).subarray(0, PAGE_DIGEST_BYTES)));
  });

  it('of a page of zeros is the published constant', () => {
    expect(digestPage(new Uint8Array(PAGE_SIZE))).toEqual(ZERO_PAGE_DIGEST);
    expect(Buffer.from(ZERO_PAGE_DIGEST).toString('hex')).toBe('ad7facb2586fc6e966c004d7d1d16b02');
  });
});

describe('digestPages', () => {
  it('gives the digest and the zero flag of each page, in shared memory too', () => {
    const bytes = new Uint8Array(new SharedArrayBuffer(PAGE_SIZE * 5));
    bytes.set(recordPage(1), PAGE_SIZE);
    bytes.set(noise(4, PAGE_SIZE), PAGE_SIZE * 3);
    const digests = new Uint8Array(5 * PAGE_DIGEST_BYTES);
    const zeroFlags = new Uint8Array(5).fill(9);
    digestPages(bytes, 5, digests, zeroFlags);
    expect([...zeroFlags]).toEqual([1, 0, 1, 0, 1]);
    for (let page = 0; page < 5; page++) {
      const digest = digests.subarray(page * PAGE_DIGEST_BYTES, (page + 1) * PAGE_DIGEST_BYTES);
      expect(digest).toEqual(digestPage(bytes.slice(page * PAGE_SIZE, (page + 1) * PAGE_SIZE)));
    }
  });

  it('writes nothing behind the pages asked for', () => {
    const digests = new Uint8Array(3 * PAGE_DIGEST_BYTES).fill(0xee);
    digestPages(noise(1, PAGE_SIZE * 2), 2, digests);
    expect([...digests.subarray(2 * PAGE_DIGEST_BYTES)]).toEqual(new Array(PAGE_DIGEST_BYTES).fill(0xee));
  });

  it('refuses buffers that are too short', () => {
    expect(() => digestPages(new Uint8Array(PAGE_SIZE), 2, new Uint8Array(32))).toThrow(RangeError);
    expect(() => digestPages(new Uint8Array(PAGE_SIZE * 2), 2, new Uint8Array(31))).toThrow(RangeError);
  });
});

describe('isZeroPage', () => {
  it('is false for any single bit set, wherever it is', () => {
    const bytes = new Uint8Array(PAGE_SIZE * 3);
    fc.assert(
      fc.property(fc.nat(PAGE_SIZE - 1), fc.nat(7), (at, bit) => {
        bytes[PAGE_SIZE + at] = 1 << bit;
        expect(isZeroPage(bytes, PAGE_SIZE)).toBe(false);
        expect(isZeroPage(bytes, 0)).toBe(true);
        expect(isZeroPage(bytes, PAGE_SIZE * 2)).toBe(true);
        bytes[PAGE_SIZE + at] = 0;
        expect(isZeroPage(bytes, PAGE_SIZE)).toBe(true);
      }),
    );
  });
});

describe('crc32', () => {
  it('has the check value of the standard', () => {
    expect(crc32(Buffer.from('123456789'))).toBe(0xcbf43926);
  });

  it('of parts equals that of the whole', () => {
    const bytes = noise(8, 1000);
    expect(crc32(bytes.subarray(300), crc32(bytes.subarray(0, 300)))).toBe(crc32(bytes));
  });
});

describe('Sha256', () => {
  it('of parts equals that of the whole', () => {
    const bytes = noise(9, 10_000);
    const parts = () => new Sha256().update(bytes.subarray(0, 1)).update(bytes.subarray(1));
    expect(parts().digest()).toEqual(new Uint8Array(sha256(bytes)));
    expect(parts().digestHex()).toBe(sha256(bytes).toString('hex'));
  });
});
