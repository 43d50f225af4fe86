import { PAGE_DIGEST_BYTES, ZERO_PAGE_DIGEST } from '../codec/index.ts';
import { SEGMENT_PAGES } from './limits.ts';

/**
 * The index of one window of an address space: every page that exists in it, and where its newest version lies. The
 * columns are parallel; only the first `count` entries count, in ascending page order.
 *
 * `packs[i] = 0` marks a page of zeros, which is stored nowhere. Otherwise (`packs[i]`, `positions[i]`) is where a
 * whole page lies: the page itself or, if `deltaPacks[i]` is not 0, the older version that the difference at
 * (`deltaPacks[i]`, `deltaPositions[i]`) is to be applied to. That version is always a whole page.
 */
export interface Segment {
  /** First page of the window, a multiple of SEGMENT_PAGES. */
  readonly startPage: number;
  readonly count: number;
  /** Pages behind `startPage`. */
  readonly offsets: Uint16Array;
  /** 16 bytes a page; the digest of zeros for zero pages. */
  readonly digests: Uint8Array;
  readonly packs: Uint32Array;
  readonly positions: Uint32Array;
  readonly deltaPacks: Uint32Array;
  readonly deltaPositions: Uint32Array;
}

/** A segment that entries can be appended to. */
export interface GrowingSegment extends Segment {
  startPage: number;
  count: number;
}

/** An empty segment with room for `capacity` pages. */
export function createSegment(startPage: number, capacity = SEGMENT_PAGES): GrowingSegment {
  return {
    startPage,
    count: 0,
    offsets: new Uint16Array(capacity),
    digests: new Uint8Array(capacity * PAGE_DIGEST_BYTES),
    packs: new Uint32Array(capacity),
    positions: new Uint32Array(capacity),
    deltaPacks: new Uint32Array(capacity),
    deltaPositions: new Uint32Array(capacity),
  };
}

/** First page of the window that `page` lies in. */
export function windowStartOf(page: number): number {
  return page - (page % SEGMENT_PAGES);
}

/** Appends a page of zeros. */
export function appendZeroPage(segment: GrowingSegment, page: number): void {
  const index = segment.count++;
  segment.offsets[index] = page - segment.startPage;
  segment.digests.set(ZERO_PAGE_DIGEST, index * PAGE_DIGEST_BYTES);
  segment.packs[index] = 0;
  segment.positions[index] = 0;
  segment.deltaPacks[index] = 0;
  segment.deltaPositions[index] = 0;
}

/** Appends entry `index` of `source`, which covers the same window. */
export function appendEntry(segment: GrowingSegment, source: Segment, index: number): void {
  const to = segment.count++;
  segment.offsets[to] = source.offsets[index]!;
  const digestAt = index * PAGE_DIGEST_BYTES;
  // copyWithin and set both cost a call; sixteen bytes are few enough to move one by one.
  for (let byte = 0; byte < PAGE_DIGEST_BYTES; byte++) {
    segment.digests[to * PAGE_DIGEST_BYTES + byte] = source.digests[digestAt + byte]!;
  }
  segment.packs[to] = source.packs[index]!;
  segment.positions[to] = source.positions[index]!;
  segment.deltaPacks[to] = source.deltaPacks[index]!;
  segment.deltaPositions[to] = source.deltaPositions[index]!;
}

/** Index of the first entry at or behind `page`; `segment.count` if there is none. */
export function lowerBoundInSegment(segment: Segment, page: number): number {
  const offset = page - segment.startPage;
  let low = 0;
  let high = segment.count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (segment.offsets[middle]! < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Index of the entry of `page`, or -1 if the page does not exist. */
export function findInSegment(segment: Segment, page: number): number {
  const index = lowerBoundInSegment(segment, page);
  return index < segment.count && segment.startPage + segment.offsets[index]! === page ? index : -1;
}

/** Whether entry `left` of one segment and entry `right` of another say the same of their page. */
export function sameEntry(a: Segment, left: number, b: Segment, right: number): boolean {
  if (
    a.offsets[left] !== b.offsets[right] ||
    a.packs[left] !== b.packs[right] ||
    a.positions[left] !== b.positions[right] ||
    a.deltaPacks[left] !== b.deltaPacks[right] ||
    a.deltaPositions[left] !== b.deltaPositions[right]
  ) {
    return false;
  }
  return sameDigest(a.digests, left, b.digests, right);
}

/** Whether digest number `left` of one column equals digest number `right` of another. */
export function sameDigest(a: Uint8Array, left: number, b: Uint8Array, right: number): boolean {
  const leftAt = left * PAGE_DIGEST_BYTES;
  const rightAt = right * PAGE_DIGEST_BYTES;
  for (let byte = 0; byte < PAGE_DIGEST_BYTES; byte++) {
    if (a[leftAt + byte] !== b[rightAt + byte]) return false;
  }
  return true;
}
