/** Length of a window in which a rate is kept and measured, as QEMU's (BUFFER_DELAY of migration/migration.c). */
export const WINDOW_MICROSECONDS = 100_000;

/** Pages read, digested and compressed together. */
export const BATCH_PAGES = 64;

/** Pages sent between two looks at what has been written again, where that is left out: each look stops the target. */
export const PAGES_BETWEEN_PEEKS = 16_384;

/** Bytes that may be on the way; more would only make a stop wait longer for what was sent before it. */
export const MOST_UNDER_WAY_BYTES = 2 ** 22;
