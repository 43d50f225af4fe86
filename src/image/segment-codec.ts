import { PAGE_DIGEST_BYTES } from '../codec/index.ts';
import { ByteReader, ByteWriter } from '../core/index.ts';
import { ADDRESS_SPACE_PAGES, MAX_BLOCK_SLOTS, MAX_PACK_BLOCKS, SEGMENT_PAGES } from './limits.ts';
import { appendZeroPage, createSegment, type GrowingSegment, type Segment } from './segment.ts';

const ZERO_PAGES = 0;
const STORED_PAGES = 1;

const HIGHEST_POSITION = MAX_PACK_BLOCKS * MAX_BLOCK_SLOTS - 1;

/**
 * Encodes a segment without its digests: these lie in the packs, beside the pages. The columns are laid out so that
 * pages dumped in address order cost next to nothing after compression.
 */
export function encodeSegment(segment: Segment): Uint8Array {
  const writer = new ByteWriter(1024);
  writer.varint(segment.startPage / SEGMENT_PAGES);
  writeRuns(writer, segment);
  const stored: number[] = [];
  for (let index = 0; index < segment.count; index++) if (segment.packs[index] !== 0) stored.push(index);
  writeLocations(writer, segment.packs, segment.positions, stored);
  const differences = stored.filter((index) => segment.deltaPacks[index] !== 0);
  writer.varint(differences.length);
  writeDifferenceMarks(writer, segment, stored);
  writeLocations(writer, segment.deltaPacks, segment.deltaPositions, differences);
  return writer.toBytes();
}

function writeRuns(writer: ByteWriter, segment: Segment): void {
  const classOf = (index: number) => (segment.packs[index] === 0 ? ZERO_PAGES : STORED_PAGES);
  const runs: number[] = [];
  let previousEnd = 0;
  for (let index = 0; index < segment.count; ) {
    const start = index++;
    while (
      index < segment.count &&
      segment.offsets[index] === segment.offsets[index - 1]! + 1 &&
      classOf(index) === classOf(start)
    ) {
      index++;
    }
    runs.push(segment.offsets[start]! - previousEnd, (index - start) * 2 + classOf(start));
    previousEnd = segment.offsets[index - 1]! + 1;
  }
  writer.varint(runs.length / 2);
  for (const value of runs) writer.varint(value);
}

function writeDifferenceMarks(writer: ByteWriter, segment: Segment, stored: readonly number[]): void {
  let previous = -1;
  for (const [ordinal, index] of stored.entries()) {
    if (segment.deltaPacks[index] === 0) continue;
    writer.varint(ordinal - previous - 1);
    previous = ordinal;
  }
}

/** Packs as runs; positions as zigzag differences from the one behind the previous position in the same pack. */
function writeLocations(
  writer: ByteWriter,
  packs: Uint32Array,
  positions: Uint32Array,
  indexes: readonly number[],
): void {
  for (let at = 0; at < indexes.length; ) {
    const pack = packs[indexes[at]!]!;
    const start = at++;
    while (at < indexes.length && packs[indexes[at]!] === pack) at++;
    writer.varint(at - start);
    writer.varint(pack);
  }
  const expected = new Map<number, number>();
  for (const index of indexes) {
    const step = positions[index]! - (expected.get(packs[index]!) ?? 0);
    writer.varint(step >= 0 ? step * 2 : -step * 2 - 1);
    expected.set(packs[index]!, positions[index]! + 1);
  }
}

/**
 * Decodes a segment. Its digests are those of zero pages, and to be filled in for the others.
 * @param what names the record in errors.
 * @throws IntegrityError for anything that `encodeSegment` does not write.
 */
export function decodeSegment(bytes: Uint8Array, what: string): Segment {
  const reader = new ByteReader(bytes, what);
  const startPage = reader.varint() * SEGMENT_PAGES;
  if (startPage >= ADDRESS_SPACE_PAGES) throw reader.damaged('a window beyond the address space');
  const segment = createSegment(startPage, SEGMENT_PAGES);
  const stored = readRuns(reader, segment);
  readLocations(reader, segment.packs, segment.positions, stored);
  const differences = readDifferenceMarks(reader, stored);
  readLocations(reader, segment.deltaPacks, segment.deltaPositions, differences);
  reader.expectEnd();
  return trimmed(segment);
}

/** Fills in offsets and zero pages; returns the indexes of the entries that follow in columns. */
function readRuns(reader: ByteReader, segment: GrowingSegment): number[] {
  const stored: number[] = [];
  let offset = 0;
  for (let runs = reader.varint(); runs > 0; runs--) {
    offset += reader.varint();
    const lengthAndClass = reader.varint();
    const end = offset + Math.floor(lengthAndClass / 2);
    if (end > SEGMENT_PAGES || end === offset) throw reader.damaged('a run of pages outside its window');
    for (; offset < end; offset++) {
      if (lengthAndClass % 2 === ZERO_PAGES) appendZeroPage(segment, segment.startPage + offset);
      else {
        stored.push(segment.count);
        segment.offsets[segment.count++] = offset;
      }
    }
  }
  return stored;
}

function readDifferenceMarks(reader: ByteReader, stored: readonly number[]): number[] {
  const differences: number[] = [];
  const count = reader.varint();
  if (count > stored.length) throw reader.damaged('more differences than pages');
  let ordinal = -1;
  for (let number = 0; number < count; number++) {
    ordinal += reader.varint() + 1;
    if (ordinal >= stored.length) throw reader.damaged('a difference behind the last page');
    differences.push(stored[ordinal]!);
  }
  return differences;
}

function readLocations(
  reader: ByteReader,
  packs: Uint32Array,
  positions: Uint32Array,
  indexes: readonly number[],
): void {
  for (let at = 0; at < indexes.length; ) {
    const end = at + reader.varint();
    const pack = reader.varint();
    if (end === at || end > indexes.length || pack === 0 || pack > 0xffffffff) {
      throw reader.damaged('an impossible run of pack numbers');
    }
    while (at < end) packs[indexes[at++]!] = pack;
  }
  const expected = new Map<number, number>();
  for (const index of indexes) {
    const zigzag = reader.varint();
    const step = zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2;
    const position = (expected.get(packs[index]!) ?? 0) + step;
    if (position < 0 || position > HIGHEST_POSITION) throw reader.damaged('an impossible position');
    positions[index] = position;
    expected.set(packs[index]!, position + 1);
  }
}

/** The same segment in columns no longer than needed, since many are kept in memory. */
function trimmed(segment: Segment): Segment {
  const { count } = segment;
  if (count === SEGMENT_PAGES) return segment;
  return {
    startPage: segment.startPage,
    count,
    offsets: segment.offsets.slice(0, count),
    digests: segment.digests.slice(0, count * PAGE_DIGEST_BYTES),
    packs: segment.packs.slice(0, count),
    positions: segment.positions.slice(0, count),
    deltaPacks: segment.deltaPacks.slice(0, count),
    deltaPositions: segment.deltaPositions.slice(0, count),
  };
}
