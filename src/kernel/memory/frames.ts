import type { ContentProvider } from '../content.ts';

/** Frames of a huge page; huge pages are aligned to this. */
export const HUGE_FRAMES = 512;

/** Flag bits of a frame, after the page flags of include/linux/page-flags.h. */
export const FRAME = {
  /** Private memory of processes. */
  anonymous: 1 << 0,
  /** In the page cache of a file. */
  cached: 1 << 1,
  /** PG_anon_exclusive: one process only can have it mapped. */
  exclusive: 1 << 2,
  ksm: 1 << 3,
  /** In the swap cache: memory and swap slot both hold it. */
  swapCache: 1 << 4,
  /** Has to be swapped before it can be dropped; clear after MADV_FREE. */
  swapBacked: 1 << 5,
  /** PG_dirty. */
  dirty: 1 << 6,
  /** Part of a huge page that has not been split. */
  compound: 1 << 7,
  /** Lives on memory node 1. */
  node1: 1 << 8,
  /** The zero page or part of the huge zero page. */
  zero: 1 << 9,
  /** Holds contents only: of a swap slot or of a disk block. */
  storage: 1 << 10,
  hugeTlb: 1 << 11,
  mlocked: 1 << 12,
} as const;

/** How a huge page is mapped: `entire` by huge entries, `total` by entries of any kind. */
export interface Compound {
  entire: number;
  total: number;
}

/** `source` of a frame that is kept as real bytes. */
const SOURCE_BYTES = -1;
/** `source` of a frame filled with byte b is SOURCE_FILL - b. */
const SOURCE_FILL = -2;
const FIRST_FRAME = 1024;

/** Frame number of the shared zero page, and the first of the huge zero page. */
export const ZERO_FRAME = 1;
export const HUGE_ZERO_FRAME = 512;

/**
 * All page frames as columns of typed arrays: what a frame is, how often it is mapped, and what it contains. The
 * contents are mostly descriptions (see ContentProvider); `bytes` holds the frames that have to be real.
 */
export class FrameTable {
  flags = new Uint16Array(2048);
  /** Mappings by page-table entries (not by huge entries; see `compounds`). */
  mapCount = new Int32Array(2048);
  /** References other than mappings, page cache and swap cache: pins, pipes. */
  references = new Int32Array(2048);
  /** Those references that are pins for DMA (FOLL_PIN). */
  pins = new Uint16Array(2048);
  source = new Int32Array(2048);
  key = new Uint32Array(2048);
  stores = new Uint32Array(2048);
  readonly bytes = new Map<number, Uint8Array>();
  readonly compounds = new Map<number, Compound>();
  /** Frames from here on were never used. */
  next = FIRST_FRAME;
  readonly free: number[] = [];
  readonly freeHuge: number[] = [];
  readonly #content: ContentProvider;
  readonly #scratch = new Uint8Array(4096);
  readonly #other = new Uint8Array(4096);

  constructor(content: ContentProvider) {
    this.#content = content;
    this.flags[ZERO_FRAME] = FRAME.zero;
    for (let index = 0; index < HUGE_FRAMES; index++) this.flags[HUGE_ZERO_FRAME + index] = FRAME.zero;
  }

  /** A frame of zeros. */
  allocate(flags: number): number {
    const recycled = this.free.pop();
    const frame = recycled ?? this.next++;
    if (frame >= this.flags.length) this.reserve(frame + 1);
    this.flags[frame] = flags;
    return frame;
  }

  /** The first of 512 adjacent frames of zeros, which form one huge page. */
  allocateHuge(flags: number): number {
    let head = this.freeHuge.pop();
    if (head === undefined) {
      head = Math.ceil(this.next / HUGE_FRAMES) * HUGE_FRAMES;
      for (let frame = head - 1; frame >= this.next; frame--) this.free.push(frame);
      this.next = head + HUGE_FRAMES;
      this.reserve(this.next);
    }
    this.flags.fill(flags | FRAME.compound, head, head + HUGE_FRAMES);
    this.compounds.set(head, { entire: 0, total: 0 });
    return head;
  }

  /** Gives a single frame back. */
  release(frame: number): void {
    this.#wipe(frame);
    this.free.push(frame);
  }

  /** Gives a whole huge page back. */
  releaseHuge(head: number): void {
    for (let frame = head; frame < head + HUGE_FRAMES; frame++) this.#wipe(frame);
    this.compounds.delete(head);
    this.freeHuge.push(head);
  }

  /** split_huge_page: the 512 frames go separate ways; those that nothing holds are freed. */
  dissolveHuge(head: number): void {
    this.compounds.delete(head);
    for (let frame = head; frame < head + HUGE_FRAMES; frame++) {
      this.flags[frame]! &= ~FRAME.compound;
      if (
        this.mapCount[frame] === 0 &&
        this.references[frame] === 0 &&
        !(this.flags[frame]! & FRAME.cached)
      ) {
        this.release(frame);
      }
    }
  }

  /** page_mapcount: how many entries of any kind map this frame. */
  mappings(frame: number): number {
    const flags = this.flags[frame]!;
    if (!(flags & FRAME.compound)) return this.mapCount[frame]!;
    return this.mapCount[frame]! + this.compounds.get(frame - (frame % HUGE_FRAMES))!.entire;
  }

  /** folio_ref_count, as far as it decides about sharing. */
  referenceCount(frame: number): number {
    const flags = this.flags[frame]!;
    const own = (flags & FRAME.swapCache ? 1 : 0) + (flags & FRAME.cached ? 1 : 0);
    if (!(flags & FRAME.compound)) return this.mapCount[frame]! + this.references[frame]! + own;
    const head = frame - (frame % HUGE_FRAMES);
    let references = this.compounds.get(head)!.total + (own === 0 ? 0 : HUGE_FRAMES);
    for (let index = 0; index < HUGE_FRAMES; index++) references += this.references[head + index]!;
    return references;
  }

  /** page_maybe_dma_pinned: a pin on any page of a huge page counts for all of them. */
  isPinned(frame: number): boolean {
    if (!(this.flags[frame]! & FRAME.compound)) return this.pins[frame] !== 0;
    const head = frame - (frame % HUGE_FRAMES);
    for (let at = head; at < head + HUGE_FRAMES; at++) if (this.pins[at] !== 0) return true;
    return false;
  }

  /** Makes room for frames below `count`. */
  reserve(count: number): void {
    if (count <= this.flags.length) return;
    const length = Math.max(count, this.flags.length * 2);
    this.flags = grown(this.flags, new Uint16Array(length));
    this.mapCount = grown(this.mapCount, new Int32Array(length));
    this.references = grown(this.references, new Int32Array(length));
    this.pins = grown(this.pins, new Uint16Array(length));
    this.source = grown(this.source, new Int32Array(length));
    this.key = grown(this.key, new Uint32Array(length));
    this.stores = grown(this.stores, new Uint32Array(length));
  }

  // Contents.

  describe(frame: number, source: number, key: number): void {
    this.bytes.delete(frame);
    this.source[frame] = source;
    this.key[frame] = key;
    this.stores[frame] = 0;
  }

  /** Every byte of the frame becomes `value`. */
  fill(frame: number, value: number): void {
    this.describe(frame, value === 0 ? 0 : SOURCE_FILL - value, 0);
  }

  copyContents(from: number, to: number): void {
    this.describe(to, this.source[from]!, this.key[from]!);
    this.stores[to] = this.stores[from]!;
    if (this.source[from] === SOURCE_BYTES) this.bytes.set(to, this.bytes.get(from)!.slice());
  }

  /** Stores as `stream` does. The description advances if it can; otherwise the frame becomes real bytes. */
  storeFromStream(frame: number, stream: number, key: number): void {
    const source = this.source[frame]!;
    if (source >= 0 && (this.key[frame] === key || source === 0)) {
      const next = this.#content.sourceAfterStore(source, stream);
      if (next >= 0) {
        this.source[frame] = next;
        this.key[frame] = key;
        this.stores[frame]!++;
        return;
      }
    }
    const bytes = this.materialize(frame);
    this.#content.apply(stream, key, ++this.stores[frame]!, bytes);
  }

  writeBytes(frame: number, offset: number, bytes: Uint8Array): void {
    this.materialize(frame).set(bytes, offset);
  }

  writeByte(frame: number, offset: number, value: number): void {
    this.materialize(frame)[offset] = value;
  }

  readByte(frame: number, offset: number): number {
    const source = this.source[frame]!;
    if (source === 0) return 0;
    if (source <= SOURCE_FILL) return SOURCE_FILL - source;
    if (source === SOURCE_BYTES) return this.bytes.get(frame)![offset]!;
    this.render(frame, this.#scratch);
    return this.#scratch[offset]!;
  }

  /** Writes the 4096 bytes of the frame into `out`. */
  render(frame: number, out: Uint8Array): void {
    const source = this.source[frame]!;
    if (source === 0) out.fill(0, 0, 4096);
    else if (source <= SOURCE_FILL) out.fill(SOURCE_FILL - source, 0, 4096);
    else if (source === SOURCE_BYTES) out.set(this.bytes.get(frame)!);
    else this.#content.render(source, this.key[frame]!, this.stores[frame]!, out);
  }

  /** Whether two frames hold the same bytes. */
  sameContents(left: number, right: number): boolean {
    if (
      this.source[left] === this.source[right] &&
      this.key[left] === this.key[right] &&
      this.stores[left] === this.stores[right] &&
      this.source[left] !== SOURCE_BYTES
    ) {
      return true;
    }
    this.render(left, this.#scratch);
    this.render(right, this.#other);
    return Buffer.compare(this.#scratch, this.#other) === 0;
  }

  /** Contents as a string, to look for duplicates by. */
  fingerprint(frame: number): string {
    this.render(frame, this.#scratch);
    return Buffer.from(this.#scratch).toString('latin1');
  }

  /** The real bytes of a frame, which it has from now on. */
  materialize(frame: number): Uint8Array {
    const known = this.bytes.get(frame);
    if (known !== undefined) return known;
    const bytes = new Uint8Array(4096);
    this.render(frame, bytes);
    this.source[frame] = SOURCE_BYTES;
    this.bytes.set(frame, bytes);
    return bytes;
  }

  #wipe(frame: number): void {
    this.flags[frame] = 0;
    this.mapCount[frame] = 0;
    this.references[frame] = 0;
    this.pins[frame] = 0;
    if (this.source[frame] === SOURCE_BYTES) this.bytes.delete(frame);
    this.source[frame] = 0;
    this.key[frame] = 0;
    this.stores[frame] = 0;
  }
}

function grown<T extends Uint16Array | Uint32Array | Int32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
