import { ByteWriter } from '../../core/index.ts';
import type { CriuVersion } from './export-types.ts';
import { COMMON_MAGIC } from './image-kinds.ts';
import type { ListedRuns } from './listing.ts';

/** PAGEMAP_MAGIC of criu/include/magic.h. */
const PAGEMAP_MAGIC = 0x56084025;
/** Bytes of entries that are handed over together. */
const BATCH_BYTES = 64 * 1024;
/** The most pages that the older field for them can say. */
const MAX_ENTRY_PAGES = 0xffff_ffff;

/**
 * A pagemap file, piece by piece; a piece is valid until the next is asked for (images/pagemap.proto).
 * @param version whose fields have the number of pages: the one that 3.17 reads, the one that 4.2 reads, or both.
 */
export function* encodePagemap(
  pagesId: number,
  { startPages, pageCounts, flags }: ListedRuns,
  version: CriuVersion | undefined,
): Generator<Uint8Array> {
  const batch = new ByteWriter(BATCH_BYTES);
  const message = new ByteWriter();
  batch.u32(COMMON_MAGIC);
  batch.u32(PAGEMAP_MAGIC);
  field(message, 1);
  message.varint(pagesId);
  frame(batch, message);
  for (let index = 0; index < flags.length; index++) {
    const endPage = startPages[index]! + pageCounts[index]!;
    for (let page = startPages[index]!; page < endPage; page += MAX_ENTRY_PAGES) {
      putEntry(message, page, Math.min(endPage - page, MAX_ENTRY_PAGES), flags[index]!, version);
      frame(batch, message);
    }
    if (batch.lengthBytes < BATCH_BYTES - 256) continue;
    yield batch.view();
    batch.reset();
  }
  yield batch.view();
}

function putEntry(
  message: ByteWriter,
  startPage: number,
  pageCount: number,
  flags: number,
  version: CriuVersion | undefined,
): void {
  field(message, 1);
  putAddress(message, startPage);
  field(message, 2);
  message.varint(version === '4.2' ? 0 : pageCount);
  field(message, 4);
  message.varint(flags);
  if (version === '3.17') return;
  field(message, 5);
  message.varint(pageCount);
}

/** The tag of a field whose value is a variable-length integer. */
function field(message: ByteWriter, number: number): void {
  message.u8(number << 3);
}

/** The variable-length integer of page · 4096, which may be above 2^53. */
function putAddress(message: ByteWriter, page: number): void {
  if (page > 0) message.u8(0x80);
  let rest = page * 32;
  while (rest >= 128) {
    message.u8((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  message.u8(rest);
}

/** Moves a message behind its length into the batch. */
function frame(batch: ByteWriter, message: ByteWriter): void {
  batch.u32(message.lengthBytes);
  batch.raw(message.view());
  message.reset();
}
