/** Version of every file that this ckpt writes into a store. An unknown version is refused. */
export const STORE_FORMAT_VERSION = 1;

/**
 * Version of manifests that say what a ckpt which knows version 1 alone would lose: objects of shared memory, kept
 * files, reasons not to restore. All other manifests have STORE_FORMAT_VERSION still.
 */
export const EXTENDED_MANIFEST_VERSION = 2;

/**
 * Pages compressed together in one block of pages: 64 KiB. Blocks twice as large are a few thousandths smaller in all
 * and take more than twice as long to decode, which a single page that is wanted waits for. Readers must accept any
 * count up to `MAX_BLOCK_SLOTS`.
 */
export const BLOCK_PAGES = 16;

/** Items (pages or page differences) that a block may hold, because a position has eight bits for the slot. */
export const MAX_BLOCK_SLOTS = 256;

/** Blocks of one pack, because a position has 24 bits for the block number. */
export const MAX_PACK_BLOCKS = 2 ** 24;

/** Opaque bytes (state, tracker state, index roots) are cut into blocks of this size. */
export const BLOB_CHUNK_BYTES = 256 * 1024;

/** Pages of one index segment: an aligned window of 32 MiB of an address space. */
export const SEGMENT_PAGES = 8192;

/** First page number behind any 64-bit address space: 2^64 / 4096. */
export const ADDRESS_SPACE_PAGES = 2 ** 52;
