import { ByteReader, ByteWriter } from '../core/index.ts';
import { ADDRESS_SPACE_PAGES, SEGMENT_PAGES } from './limits.ts';

/** Bytes of a segment digest. */
export const SEGMENT_DIGEST_BYTES = 16;

/** Where the block of a segment lies. */
export interface SegmentLocation {
  readonly pack: number;
  readonly block: number;
}

/** One segment of a process, as the root of its index lists it. */
export interface SegmentReference {
  /** First page of the window. */
  readonly startPage: number;
  readonly location: SegmentLocation;
  /** Pages of zeros in the window. */
  readonly zeroPages: number;
  /** Other pages in the window. */
  readonly dataPages: number;
  /** See `segmentDigest`. */
  readonly digest: Uint8Array;
}

/** Encodes the root: the segments of one process in address order. */
export function encodeRoot(segments: readonly SegmentReference[]): Uint8Array {
  const writer = new ByteWriter(segments.length * 32 + 8);
  writer.varint(segments.length);
  let nextWindow = 0;
  for (const segment of segments) {
    const window = segment.startPage / SEGMENT_PAGES;
    writer.varint(window - nextWindow);
    nextWindow = window + 1;
    writer.varint(segment.location.pack);
    writer.varint(segment.location.block);
    writer.varint(segment.zeroPages);
    writer.varint(segment.dataPages);
    writer.raw(segment.digest);
  }
  return writer.toBytes();
}

/**
 * Decodes a root.
 * @throws IntegrityError
 */
export function decodeRoot(bytes: Uint8Array, what: string): SegmentReference[] {
  const reader = new ByteReader(bytes, what);
  const segments: SegmentReference[] = [];
  let nextWindow = 0;
  for (let count = reader.varint(); count > 0; count--) {
    const window = nextWindow + reader.varint();
    if (window * SEGMENT_PAGES >= ADDRESS_SPACE_PAGES)
      throw reader.damaged('a window beyond the address space');
    nextWindow = window + 1;
    const location = { pack: reader.varint(), block: reader.varint() };
    const zeroPages = reader.varint();
    const dataPages = reader.varint();
    if (zeroPages + dataPages > SEGMENT_PAGES) throw reader.damaged('more pages than a window has');
    const digest = reader.raw(SEGMENT_DIGEST_BYTES).slice();
    segments.push({ startPage: window * SEGMENT_PAGES, location, zeroPages, dataPages, digest });
  }
  reader.expectEnd();
  return segments;
}
