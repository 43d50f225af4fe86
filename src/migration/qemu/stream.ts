import { PAGE_SIZE } from '../../core/index.ts';
import type { HostCosts } from '../costs.ts';
import type { Link } from '../link.ts';

/** Bytes of QEMU's stream buffer (IO_BUF_SIZE of migration/qemu-file.c). */
const BUFFER_BYTES = 32768;
/** Pieces that one write gathers (MAX_IOV_SIZE). */
const GATHERED_PIECES = 64;
/** Whole pages that fill a write: each is a header and itself. */
export const BUFFER_PAGES = GATHERED_PIECES / 2;
/** A page's address and flags; a page of zeros has one byte more. */
const HEADER_BYTES = 8;
/** Head and foot of a section, and the mark at the end of a step. */
const STEP_BYTES = 18;

/**
 * The main connection. Bytes count as sent when a buffer is written, not before: whole pages are gathered by 32, pages
 * that are copied (with XBZRLE) by 32 KiB. A write blocks as long as the link's buffers are full.
 */
export class MainStream {
  /** Bytes written. */
  written = 0;
  readonly #link: Link;
  readonly #costs: HostCosts;
  #gathered = 0;
  #pieces = 0;
  #inBuffer = 0;
  #lastIsBuffer = false;
  /** When the writer was ready, and the pages that it has worked on since: counted, so that no sum depends on how. */
  #since = 0;
  #worked = 0;
  #workedZeros = 0;

  constructor(link: Link, costs: HostCosts) {
    this.#link = link;
    this.#costs = costs;
  }

  /** When the writer is ready for the next page, in microseconds. */
  get now(): number {
    const { pageNanoseconds, zeroPageNanoseconds } = this.#costs;
    const nanoseconds =
      (this.#worked - this.#workedZeros) * pageNanoseconds + this.#workedZeros * zeroPageNanoseconds;
    return this.#since + nanoseconds / 1000;
  }

  set now(now: number) {
    this.#since = now;
    this.#worked = 0;
    this.#workedZeros = 0;
  }

  /** So many pages can be put into the stream without a write in front of the last one; at least 1. */
  get room(): number {
    if (this.#inBuffer >= BUFFER_BYTES - GATHERED_PIECES * (HEADER_BYTES + 1)) return 1;
    // Each page is two pieces at most: a header, which joins what is in the buffer before it, and itself.
    return Math.max(1, (GATHERED_PIECES - this.#pieces + (this.#lastIsBuffer ? 1 : 0)) >> 1);
  }

  /**
   * A run of whole pages and pages of zeros, as `page` and `zeroPage` would put them one by one.
   * @param count at most `room`.
   * @param zeros how many of them are zeros; `lastIsZero`: the last one is.
   */
  run(count: number, zeros: number, lastIsZero: boolean): void {
    if (count === 1) {
      if (lastIsZero) this.zeroPage();
      else this.page(false);
      return;
    }
    const joined = zeros - (lastIsZero ? 1 : 0) + (this.#lastIsBuffer ? 1 : 0);
    const buffered = count * HEADER_BYTES + zeros;
    this.#worked += count;
    this.#workedZeros += zeros;
    this.#pieces += count - joined + (count - zeros);
    this.#inBuffer += buffered;
    this.#gathered += buffered + (count - zeros) * PAGE_SIZE;
    this.#lastIsBuffer = lastIsZero;
    if (this.#pieces >= GATHERED_PIECES) this.flush();
  }

  /** Whether a buffer of whole pages can be begun. */
  get isEmpty(): boolean {
    return this.#gathered === 0;
  }

  /** When the writer will be ready for another page after the next one, which is whole. */
  get nextPageDone(): number {
    return this.now + this.#costs.pageNanoseconds / 1000;
  }

  /** 32 whole pages: into an empty stream, which writes them at once. */
  wholeBuffer(): void {
    const ready = this.#since + (BUFFER_PAGES * this.#costs.pageNanoseconds) / 1000;
    this.now = this.#link.write(BUFFER_PAGES * (HEADER_BYTES + PAGE_SIZE), ready);
    this.written += BUFFER_PAGES * (HEADER_BYTES + PAGE_SIZE);
  }

  /** A page as it is; `copied`: through the buffer instead of beside it. */
  page(copied: boolean): void {
    this.#worked++;
    this.#buffered(HEADER_BYTES);
    if (copied) this.#buffered(PAGE_SIZE);
    else {
      this.#gathered += PAGE_SIZE;
      this.#lastIsBuffer = false;
      if (++this.#pieces >= GATHERED_PIECES) this.flush();
    }
  }

  zeroPage(): void {
    this.#worked++;
    this.#workedZeros++;
    this.#buffered(HEADER_BYTES + 1);
  }

  /** A page of which nothing has changed since it was sent. */
  unchanged(): void {
    this.#worked++;
  }

  /** A difference of so many bytes, with its own header of three. */
  difference(bytes: number): void {
    this.#worked++;
    this.#buffered(HEADER_BYTES + 3 + bytes);
  }

  /** Device state and other bytes. */
  bytes(count: number): void {
    this.#buffered(count);
  }

  /** The end of a step of the migration loop. */
  endStep(): void {
    this.#buffered(STEP_BYTES);
    this.flush();
  }

  flush(): void {
    if (this.#gathered === 0) return;
    this.now = this.#link.write(this.#gathered, this.now);
    this.written += this.#gathered;
    this.#gathered = 0;
    this.#pieces = 0;
    this.#inBuffer = 0;
    this.#lastIsBuffer = false;
  }

  #buffered(count: number): void {
    let left = count;
    while (left > 0) {
      const taken = Math.min(left, BUFFER_BYTES - this.#inBuffer);
      this.#gathered += taken;
      this.#inBuffer += taken;
      left -= taken;
      if (!this.#lastIsBuffer) this.#pieces++;
      this.#lastIsBuffer = true;
      if (this.#inBuffer >= BUFFER_BYTES || this.#pieces >= GATHERED_PIECES) this.flush();
    }
  }
}
