import { IntegrityError } from '../core/index.ts';
import {
  BLOCK_HEADER_BYTES,
  type BlockHeader,
  type BlockTable,
  PACK_HEADER_BYTES,
  readBlockHeader,
  startsBlock,
} from '../image/index.ts';

/** Bytes looked through at once for the next block after a damaged one. */
const SEARCH_BYTES = 64 * 1024;

/** Reads up to `length` bytes at an offset; fewer at the end of the file. */
type ReadAt = (offsetBytes: number, length: number) => Uint8Array;

/** Rebuilds the table of a pack whose own is lost, from every block header that is whole and whose block is. */
export function rebuildTable(readAt: ReadAt, sizeBytes: number): BlockTable {
  const found = new Map<number, { readonly offset: number; readonly storedBytes: number }>();
  for (let offset = PACK_HEADER_BYTES; offset < sizeBytes; ) {
    const header = headerAt(readAt, offset);
    const end = offset + BLOCK_HEADER_BYTES + (header?.storedBytes ?? 0);
    if (header === undefined || end > sizeBytes) {
      offset = nextCandidate(readAt, offset + 1, sizeBytes);
      continue;
    }
    if (!found.has(header.block)) found.set(header.block, { offset, storedBytes: header.storedBytes });
    offset = end;
  }
  const blocks = Uint32Array.from(found.keys()).sort();
  return {
    blocks,
    offsetsBytes: Float64Array.from(blocks, (block) => found.get(block)!.offset),
    storedBytes: Uint32Array.from(blocks, (block) => found.get(block)!.storedBytes),
  };
}

function headerAt(readAt: ReadAt, offset: number): BlockHeader | undefined {
  const bytes = readAt(offset, BLOCK_HEADER_BYTES);
  if (bytes.length < BLOCK_HEADER_BYTES) return undefined;
  try {
    return readBlockHeader(bytes, 'a block');
  } catch (cause) {
    if (cause instanceof IntegrityError) return undefined;
    throw cause;
  }
}

/** Offset of the next bytes that look like the beginning of a block; `sizeBytes` if there are none. */
function nextCandidate(readAt: ReadAt, from: number, sizeBytes: number): number {
  for (let offset = from; offset < sizeBytes; offset += SEARCH_BYTES) {
    // Three bytes more, so that a magic on the border of two parts is seen.
    const part = readAt(offset, SEARCH_BYTES + 3);
    for (let at = 0; at + 4 <= part.length; at++) if (startsBlock(part, at)) return offset + at;
  }
  return sizeBytes;
}
