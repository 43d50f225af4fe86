import { PAGE_DIGEST_BYTES } from '../codec/index.ts';
import { ByteReader, ByteWriter } from '../core/index.ts';
import { ADDRESS_SPACE_PAGES, MAX_BLOCK_SLOTS, MAX_PACK_BLOCKS, SEGMENT_PAGES } from './limits.ts';
import {
  appendEntry,
  appendZeroPage,
  createSegment,
  type GrowingSegment,
  type Segment,
  sameEntry,
} from './segment.ts';

const FULL = 0;
const OVERLAY = 1;

const ZERO_PAGES = 0;
const STORED_PAGES = 1;
const INHERITED_PAGES = 2;

const HIGHEST_POSITION = MAX_PACK_BLOCKS * MAX_BLOCK_SLOTS - 1;

/** Where the block of a segment lies. */
export interface SegmentLocation {
  readonly pack: number;
  readonly block: number;
}

/** The full segment that an overlay is written against. */
export interface SegmentBase {
  readonly location: SegmentLocation;
  readonly segment: Segment;
}

/** What the outside of an encoded segment tells. */
export interface SegmentHead {
  readonly startPage: number;
  /** Where the full segment lies that this one overlays, or undefined if it is full itself. */
  readonly base: SegmentLocation | undefined;
}

/**
 * Encodes a segment: full, or as an overlay that lists only what differs from `base`. The columns are laid out so
 * that pages dumped in address order cost next to nothing after compression, except for their digests.
 */
export function encodeSegment(segment: Segment, base?: SegmentBase): Uint8Array {
  const writer = new ByteWriter(4096);
  writer.u8(base === undefined ? FULL : OVERLAY);
  writer.varint(segment.startPage / SEGMENT_PAGES);
  if (base !== undefined) {
    writer.varint(base.location.pack);
    writer.varint(base.location.block);
  }
  const classes = classify(segment, base?.segment);
  writeRuns(writer, segment, classes);
  const stored: number[] = [];
  for (let index = 0; index < segment.count; index++) if (classes[index] === STORED_PAGES) stored.push(index);
  for (const index of stored) {
    writer.raw(segment.digests.subarray(index * PAGE_DIGEST_BYTES, (index + 1) * PAGE_DIGEST_BYTES));
  }
  writeLocations(writer, segment.packs, segment.positions, stored);
  const differences = stored.filter((index) => segment.deltaPacks[index] !== 0);
  writer.varint(differences.length);
  writeDifferenceMarks(writer, segment, stored);
  writeLocations(writer, segment.deltaPacks, segment.deltaPositions, differences);
  return writer.toBytes();
}

/** How many entries of `segment` an overlay on `base` would have to list. */
export function countOverlayEntries(segment: Segment, base: Segment): number {
  let count = 0;
  for (const kind of classify(segment, base)) if (kind === STORED_PAGES) count++;
  return count;
}

function classify(segment: Segment, base: Segment | undefined): Uint8Array {
  const classes = new Uint8Array(segment.count);
  let inBase = 0;
  for (let index = 0; index < segment.count; index++) {
    if (segment.packs[index] === 0) {
      classes[index] = ZERO_PAGES;
      continue;
    }
    classes[index] = STORED_PAGES;
    if (base === undefined) continue;
    while (inBase < base.count && base.offsets[inBase]! < segment.offsets[index]!) inBase++;
    if (inBase < base.count && sameEntry(segment, index, base, inBase)) classes[index] = INHERITED_PAGES;
  }
  return classes;
}

function writeRuns(writer: ByteWriter, segment: Segment, classes: Uint8Array): void {
  const runs: number[] = [];
  let previousEnd = 0;
  for (let index = 0; index < segment.count; ) {
    const start = index++;
    while (
      index < segment.count &&
      segment.offsets[index] === segment.offsets[index - 1]! + 1 &&
      classes[index] === classes[start]
    ) {
      index++;
    }
    runs.push(segment.offsets[start]! - previousEnd, (index - start) * 4 + classes[start]!);
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

/** Packs as runs, positions as differences from "one behind the previous", zigzag. */
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
  let expected = 0;
  for (const index of indexes) {
    const step = positions[index]! - expected;
    writer.varint(step >= 0 ? step * 2 : -step * 2 - 1);
    expected = positions[index]! + 1;
  }
}

/**
 * Reads the outside of an encoded segment: which window, and which full segment it needs.
 * @throws IntegrityError
 */
export function readSegmentHead(bytes: Uint8Array, what: string): SegmentHead {
  return readHead(new ByteReader(bytes, what));
}

function readHead(reader: ByteReader): SegmentHead {
  const form = reader.u8();
  if (form !== FULL && form !== OVERLAY) throw reader.damaged(`an unknown form ${form}`);
  const startPage = reader.varint() * SEGMENT_PAGES;
  if (startPage >= ADDRESS_SPACE_PAGES) throw reader.damaged('a window beyond the address space');
  const base = form === OVERLAY ? { pack: reader.varint(), block: reader.varint() } : undefined;
  return { startPage, base };
}

/**
 * Decodes a segment. An overlay needs the full segment that its head names.
 * @param what names the record in errors.
 * @throws IntegrityError for anything that `encodeSegment` does not write.
 */
export function decodeSegment(bytes: Uint8Array, what: string, base?: Segment): Segment {
  const reader = new ByteReader(bytes, what);
  const head = readHead(reader);
  if ((head.base === undefined) !== (base === undefined))
    throw reader.damaged('a full segment where none fits');
  if (base !== undefined && base.startPage !== head.startPage)
    throw reader.damaged('a base of another window');
  const segment = createSegment(head.startPage, SEGMENT_PAGES);
  const stored = readRuns(reader, segment, base);
  for (const index of stored) segment.digests.set(reader.raw(PAGE_DIGEST_BYTES), index * PAGE_DIGEST_BYTES);
  readLocations(reader, segment.packs, segment.positions, stored);
  const differences = readDifferenceMarks(reader, stored);
  readLocations(reader, segment.deltaPacks, segment.deltaPositions, differences);
  reader.expectEnd();
  return trimmed(segment);
}

/** Fills in zero and inherited pages; returns the indexes of the entries that follow in columns. */
function readRuns(reader: ByteReader, segment: GrowingSegment, base: Segment | undefined): number[] {
  const stored: number[] = [];
  let offset = 0;
  let inBase = 0;
  for (let runs = reader.varint(); runs > 0; runs--) {
    offset += reader.varint();
    const lengthAndClass = reader.varint();
    const kind = lengthAndClass % 4;
    const end = offset + Math.floor(lengthAndClass / 4);
    if (end > SEGMENT_PAGES || end === offset) throw reader.damaged('a run of pages outside its window');
    for (; offset < end; offset++) {
      if (kind === ZERO_PAGES) appendZeroPage(segment, segment.startPage + offset);
      else if (kind === STORED_PAGES) {
        stored.push(segment.count);
        segment.offsets[segment.count++] = offset;
      } else if (kind === INHERITED_PAGES && base !== undefined) {
        while (inBase < base.count && base.offsets[inBase]! < offset) inBase++;
        if (inBase >= base.count || base.offsets[inBase] !== offset) {
          throw reader.damaged('an inherited page that the full segment lacks');
        }
        appendEntry(segment, base, inBase);
      } else throw reader.damaged(`a run of unknown class ${kind}`);
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
  let expected = 0;
  for (const index of indexes) {
    const zigzag = reader.varint();
    const position = expected + (zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2);
    if (position < 0 || position > HIGHEST_POSITION) throw reader.damaged('an impossible position');
    positions[index] = position;
    expected = position + 1;
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
