import { crc32 } from '../codec/index.ts';
import { IntegrityError } from '../core/index.ts';
import {
  BLOCK_HEADER_BYTES,
  type BlockHeader,
  type BlockTable,
  createTable,
  type DigestExtent,
  decodeDigestBlock,
  NO_BLOCK,
  PACK_HEADER_BYTES,
  readBlockHeader,
  startsBlock,
  type TableEntry,
} from '../image/index.ts';

/** Bytes looked through at once for the next block after a damaged one. */
const SEARCH_BYTES = 64 * 1024;

/** Reads up to `length` bytes at an offset; fewer at the end of the file. */
type ReadAt = (offsetBytes: number, length: number) => Uint8Array;

/** Rebuilds the table of a pack whose own is lost, from every block header that is whole and whose block is. */
export function rebuildTable(readAt: ReadAt, sizeBytes: number): BlockTable {
  const found = new Map<number, TableEntry>();
  const digests = new Map<number, Pick<TableEntry, 'digestBlock' | 'firstDigest'>>();
  for (let offset = PACK_HEADER_BYTES; offset < sizeBytes; ) {
    const header = headerAt(readAt, offset);
    const end = offset + BLOCK_HEADER_BYTES + (header?.storedBytes ?? 0);
    if (header === undefined || end > sizeBytes) {
      offset = nextCandidate(readAt, offset + 1, sizeBytes);
      continue;
    }
    const { block, storedBytes, kind } = header;
    found.set(block, { block, offsetBytes: offset, storedBytes, digestBlock: NO_BLOCK, firstDigest: 0 });
    if (kind === 'digests') {
      const stored = readAt(offset + BLOCK_HEADER_BYTES, storedBytes);
      for (const extent of extentsIn(stored, header)) {
        digests.set(extent.block, { digestBlock: block, firstDigest: extent.firstDigest });
      }
    }
    offset = end;
  }
  const entries = [...found.values()].sort((a, b) => a.block - b.block);
  return tableOf(entries.map((entry) => ({ ...entry, ...digests.get(entry.block) })));
}

function tableOf(entries: readonly TableEntry[]): BlockTable {
  const table = createTable(entries.length);
  for (const [index, entry] of entries.entries()) {
    table.blocks[index] = entry.block;
    table.offsetsBytes[index] = entry.offsetBytes;
    table.storedBytes[index] = entry.storedBytes;
    table.digestBlocks[index] = entry.digestBlock;
    table.firstDigests[index] = entry.firstDigest;
  }
  return table;
}

/** Which blocks a block of digests is for; none if it is damaged. */
function extentsIn(stored: Uint8Array, { checksum }: BlockHeader): readonly DigestExtent[] {
  if (crc32(stored) !== checksum) return [];
  try {
    return decodeDigestBlock(stored, 'a block of digests').extents;
  } catch (cause) {
    if (cause instanceof IntegrityError) return [];
    throw cause;
  }
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
