/**
 * The largest block that any codec takes. zstd-codec has a heap of 16 MiB fixed when it was compiled; beyond this
 * size some levels exhaust it, and it then prints on standard output before it fails. Blocks of 64 to 512 KiB also
 * compress about as well as larger ones.
 */
export const MAX_BLOCK_BYTES = 512 * 1024;

/** zstd levels that ckpt offers: 1 is the fastest, 19 the densest. Level 0 is refused, since zstd reads it as 3. */
export const MIN_ZSTD_LEVEL = 1;
export const MAX_ZSTD_LEVEL = 19;

/** The level used when the user names none: pages should leave as fast as they are read. */
export const DEFAULT_ZSTD_LEVEL = 1;
