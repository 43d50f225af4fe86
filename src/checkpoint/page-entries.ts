import { PAGE_DIGEST_BYTES } from '../codec/index.ts';
import type { Segment } from '../image/index.ts';

/** How a page of a chunk is kept. */
export const ENTRY_KIND = {
  /** Zeros, a whole page or a difference: the columns say where. */
  own: 0,
  /** As the parent checkpoint has it. */
  inherited: 1,
} as const;

/** Where pages are and what digests they have, in columns; the meaning of the columns is that of `Segment`. */
export interface EntryColumns {
  readonly digests: Uint8Array;
  readonly packs: Uint32Array;
  readonly positions: Uint32Array;
  readonly deltaPacks: Uint32Array;
  readonly deltaPositions: Uint32Array;
}

/** What became of the pages of a chunk. */
export interface PageEntries extends EntryColumns {
  readonly kinds: Uint8Array;
}

/** Columns for `capacity` pages. */
export function createPageEntries(capacity: number): PageEntries {
  return {
    kinds: new Uint8Array(capacity),
    digests: new Uint8Array(capacity * PAGE_DIGEST_BYTES),
    packs: new Uint32Array(capacity),
    positions: new Uint32Array(capacity),
    deltaPacks: new Uint32Array(capacity),
    deltaPositions: new Uint32Array(capacity),
  };
}

/** Makes entry `to` say what entry `from` of a segment says. */
export function copyFromSegment(entries: PageEntries, to: number, segment: Segment, from: number): void {
  entries.packs[to] = segment.packs[from]!;
  entries.positions[to] = segment.positions[from]!;
  entries.deltaPacks[to] = segment.deltaPacks[from]!;
  entries.deltaPositions[to] = segment.deltaPositions[from]!;
}

/** Makes entry `to` a whole page at (`pack`, `position`), or zeros with pack 0. */
export function setWhole(entries: PageEntries, to: number, pack: number, position: number): void {
  entries.packs[to] = pack;
  entries.positions[to] = position;
  entries.deltaPacks[to] = 0;
  entries.deltaPositions[to] = 0;
}
