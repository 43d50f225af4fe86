import { createHash, type Hash, hash } from 'node:crypto';
import { crc32 as zlibCrc32 } from 'node:zlib';
import { PAGE_SIZE } from '../core/index.ts';

/** Bytes of a page digest: the first half of the SHA-256 of the page's 4096 bytes. */
export const PAGE_DIGEST_BYTES = 16;

const ZERO_PAGE = Buffer.alloc(PAGE_SIZE);

/** Digest of the page of zeros. Do not write to it. */
export const ZERO_PAGE_DIGEST: Uint8Array = digestPage(ZERO_PAGE);

/** The 16-byte digest of one page. */
export function digestPage(page: Uint8Array): Uint8Array {
  return new Uint8Array(hash('sha256', page, 'buffer').subarray(0, PAGE_DIGEST_BYTES));
}

/** Whether the 4096 bytes of `bytes` from `offset` are all zero. */
export function isZeroPage(bytes: Uint8Array, offset: number): boolean {
  // Most pages with content differ from zero at one of their ends; the rest is the library's memcmp.
  if (bytes[offset] !== 0 || bytes[offset + PAGE_SIZE - 1] !== 0) return false;
  return ZERO_PAGE.compare(bytes, offset, offset + PAGE_SIZE) === 0;
}

/**
 * Writes the digests of the first `pageCount` pages of `bytes` into `out`, 16 bytes each, and, if `zeroFlags` is
 * given, 1 or 0 for each page: whether it is all zeros. Zero pages are recognised first and not hashed.
 */
export function digestPages(
  bytes: Uint8Array,
  pageCount: number,
  out: Uint8Array,
  zeroFlags?: Uint8Array,
): void {
  if (bytes.length < pageCount * PAGE_SIZE || out.length < pageCount * PAGE_DIGEST_BYTES) {
    throw new RangeError(
      `${pageCount} pages do not fit ${bytes.length} bytes and ${out.length} digest bytes`,
    );
  }
  const target = Buffer.from(out.buffer, out.byteOffset, out.byteLength);
  for (let page = 0; page < pageCount; page++) {
    const zero = isZeroPage(bytes, page * PAGE_SIZE);
    if (zeroFlags !== undefined) zeroFlags[page] = zero ? 1 : 0;
    if (zero) {
      target.set(ZERO_PAGE_DIGEST, page * PAGE_DIGEST_BYTES);
      continue;
    }
    // A digest as a one-byte string is a fifth faster than one as a Buffer, which costs an allocation a page.
    const text = hash('sha256', bytes.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE), 'binary');
    target.write(text, page * PAGE_DIGEST_BYTES, PAGE_DIGEST_BYTES, 'latin1');
  }
}

/**
 * CRC-32 (IEEE 802.3, as in gzip) of `bytes`: an unsigned 32-bit number. `seed` is the CRC of the bytes before
 * these. Any error burst of up to 32 bits, hence every flipped bit or byte, changes it.
 */
export function crc32(bytes: Uint8Array, seed = 0): number {
  return zlibCrc32(bytes, seed);
}

/** SHA-256 of a stream of bytes. */
export class Sha256 {
  readonly #hash: Hash = createHash('sha256');

  update(bytes: Uint8Array): this {
    this.#hash.update(bytes);
    return this;
  }

  /** The 32 bytes; nothing can be added afterwards. */
  digest(): Uint8Array {
    return new Uint8Array(this.#hash.digest());
  }

  /** The digest as 64 hexadecimal digits; nothing can be added afterwards. */
  digestHex(): string {
    return this.#hash.digest('hex');
  }
}
