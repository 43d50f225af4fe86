import type { ScratchFile } from '../../checkpoint/index.ts';
import { PAGE_DIGEST_BYTES } from '../../codec/index.ts';
import type { PageRangeList } from '../../core/index.ts';
import { createSegment, SEGMENT_PAGES, segmentDigest, windowStartOf } from '../../image/index.ts';

const WINDOW_BYTES = SEGMENT_PAGES * PAGE_DIGEST_BYTES;
/** Windows whose digests are in memory at a time, over all processes: 32 MiB, for 8 GiB of pages. */
const WINDOWS_IN_MEMORY = 256;

/** A window of one address space: the digests of the pages that were sent of it. */
interface Window {
  readonly startPage: number;
  /** Zeros where nothing was sent: no page has that digest. */
  bytes: Uint8Array | undefined;
  offsetBytes: number | undefined;
  /** Differs from what the scratch file has. */
  changed: boolean;
  /** Digest of the segment with the pages that existed when it was last asked for. */
  segment: { readonly pages: PageRangeList; readonly digest: Uint8Array } | undefined;
}

/** Keeps the windows that were used last in memory and the others in a scratch file. */
export class DigestMemory {
  readonly #scratch: ScratchFile;
  readonly #most: number;
  /** In the order of their last use. */
  readonly #resident = new Set<Window>();

  constructor(scratch: ScratchFile, windowsInMemory = WINDOWS_IN_MEMORY) {
    this.#scratch = scratch;
    this.#most = windowsInMemory;
  }

  /** The digests of a window, 16 bytes a page, until the next call. */
  bytesOf(window: Window): Uint8Array {
    this.#resident.delete(window);
    if (window.bytes === undefined) {
      if (this.#resident.size >= this.#most) this.#evict();
      window.bytes = new Uint8Array(WINDOW_BYTES);
      if (window.offsetBytes !== undefined) {
        this.#scratch.read(window.offsetBytes, WINDOW_BYTES, window.bytes);
      }
    }
    this.#resident.add(window);
    return window.bytes;
  }

  #evict(): void {
    const [oldest] = this.#resident;
    if (oldest?.bytes === undefined) return;
    this.#resident.delete(oldest);
    if (oldest.offsetBytes === undefined) oldest.offsetBytes = this.#scratch.append(oldest.bytes);
    else if (oldest.changed) this.#scratch.overwrite(oldest.offsetBytes, oldest.bytes);
    oldest.changed = false;
    oldest.bytes = undefined;
  }
}

/**
 * What the destination has of each page of one process, as digests: whether a page needs to be sent, and the digest of
 * the whole memory without reading any of it again.
 */
export class DigestLedger {
  readonly #memory: DigestMemory;
  readonly #windows = new Map<number, Window>();

  constructor(memory: DigestMemory) {
    this.#memory = memory;
  }

  /** Whether the page was last sent with the content that has digest number `index` of `digests`. */
  has(page: number, digests: Uint8Array, index: number): boolean {
    const window = this.#windows.get(windowStartOf(page));
    if (window === undefined) return false;
    const bytes = this.#memory.bytesOf(window);
    const at = (page - window.startPage) * PAGE_DIGEST_BYTES;
    for (let byte = 0; byte < PAGE_DIGEST_BYTES; byte++) {
      if (bytes[at + byte] !== digests[index * PAGE_DIGEST_BYTES + byte]) return false;
    }
    return true;
  }

  /** The page is sent with the content that has digest number `index` of `digests`. */
  set(page: number, digests: Uint8Array, index: number): void {
    const window = this.#windowOf(windowStartOf(page));
    const from = index * PAGE_DIGEST_BYTES;
    const at = (page - window.startPage) * PAGE_DIGEST_BYTES;
    this.#memory.bytesOf(window).set(digests.subarray(from, from + PAGE_DIGEST_BYTES), at);
    window.changed = true;
    window.segment = undefined;
  }

  /** The other end drops these pages: what they held is forgotten. */
  forget(pages: PageRangeList): void {
    for (const { startPage, endPage } of pages) {
      for (let page = startPage; page < endPage; ) {
        const windowStart = windowStartOf(page);
        const end = Math.min(endPage, windowStart + SEGMENT_PAGES);
        const window = this.#windows.get(windowStart);
        if (window !== undefined) {
          const from = (page - windowStart) * PAGE_DIGEST_BYTES;
          this.#memory.bytesOf(window).fill(0, from, (end - windowStart) * PAGE_DIGEST_BYTES);
          window.changed = true;
          window.segment = undefined;
        }
        page = end;
      }
    }
  }

  /**
   * Digests of the segments that hold these pages, which have all been sent, in address order. Segments that nothing
   * has changed in since they were last asked for cost nothing.
   */
  segments(present: PageRangeList): { readonly startPage: number; readonly digest: Uint8Array }[] {
    const segments: { startPage: number; digest: Uint8Array }[] = [];
    let next = 0;
    for (const { startPage, endPage } of present) {
      for (let start = Math.max(next, windowStartOf(startPage)); start < endPage; start += SEGMENT_PAGES) {
        segments.push({ startPage: start, digest: this.#segmentDigest(start, present) });
        next = start + SEGMENT_PAGES;
      }
    }
    return segments;
  }

  #segmentDigest(startPage: number, present: PageRangeList): Uint8Array {
    const window = this.#windowOf(startPage);
    const pages = present.within(startPage, startPage + SEGMENT_PAGES);
    if (window.segment !== undefined && areEqual(window.segment.pages, pages)) return window.segment.digest;
    const bytes = this.#memory.bytesOf(window);
    const segment = createSegment(startPage);
    for (const range of pages) {
      const from = range.startPage - startPage;
      const to = range.endPage - startPage;
      segment.digests.set(
        bytes.subarray(from * PAGE_DIGEST_BYTES, to * PAGE_DIGEST_BYTES),
        segment.count * PAGE_DIGEST_BYTES,
      );
      for (let offset = from; offset < to; offset++) segment.offsets[segment.count++] = offset;
    }
    const digest = segmentDigest(segment);
    window.segment = { pages, digest };
    return digest;
  }

  #windowOf(startPage: number): Window {
    const known = this.#windows.get(startPage);
    if (known !== undefined) return known;
    const window: Window = {
      startPage,
      bytes: undefined,
      offsetBytes: undefined,
      changed: false,
      segment: undefined,
    };
    this.#windows.set(startPage, window);
    return window;
  }
}

function areEqual(left: PageRangeList, right: PageRangeList): boolean {
  if (left.rangeCount !== right.rangeCount) return false;
  for (let index = 0; index < left.rangeCount; index++) {
    if (left.startPage(index) !== right.startPage(index) || left.endPage(index) !== right.endPage(index))
      return false;
  }
  return true;
}
