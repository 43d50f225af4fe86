import { MAX_PACK_BLOCKS, type Segment, type SegmentReference } from '../image/index.ts';

/** A segment that was proved against what a root says of it, or is being read and proved. */
interface Known {
  readonly reference: SegmentReference;
  readonly segment: Promise<Segment>;
}

/**
 * Decoded segments that are kept: 300 KB each when full. A delta goes through an index three times (which pages exist,
 * which contents, and to build on it), so the windows of 1.5 GiB should still be there the second time.
 */
const CACHED_SEGMENTS = 48;

/**
 * Keeps the index segments that were read or written last. The indexes of a store's checkpoints share them: a delta
 * that follows another one in the same run builds on segments that need not be read back.
 */
export class SegmentCache {
  readonly #segments = new Map<number, Known>();

  /** The segment that `reference` stands for; `read` reads and proves it if it is not there. */
  async load(reference: SegmentReference, read: () => Promise<Segment>): Promise<Segment> {
    const found = this.#segments.get(keyOf(reference));
    // One location can be referred to differently only by a damaged root, and `read` says so.
    const known =
      found !== undefined && isSame(found.reference, reference) ? found : { reference, segment: read() };
    this.#keep(known);
    return known.segment;
  }

  /** Keeps a segment that was just encoded. */
  add(reference: SegmentReference, segment: Segment): void {
    this.#keep({ reference, segment: Promise.resolve(segment) });
  }

  /** Forgets everything: packs may be given other contents. */
  clear(): void {
    this.#segments.clear();
  }

  #keep(known: Known): void {
    const key = keyOf(known.reference);
    this.#segments.delete(key);
    this.#segments.set(key, known);
    known.segment.catch(() => {
      if (this.#segments.get(key) === known) this.#segments.delete(key);
    });
    for (const oldest of this.#segments.keys()) {
      if (this.#segments.size <= CACHED_SEGMENTS) break;
      this.#segments.delete(oldest);
    }
  }
}

function keyOf({ location }: SegmentReference): number {
  return location.pack * MAX_PACK_BLOCKS + location.block;
}

function isSame(a: SegmentReference, b: SegmentReference): boolean {
  return (
    a.startPage === b.startPage &&
    a.zeroPages === b.zeroPages &&
    a.dataPages === b.dataPages &&
    Buffer.compare(a.digest, b.digest) === 0
  );
}
