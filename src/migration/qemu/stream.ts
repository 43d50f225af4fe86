import { PAGE_SIZE } from '../../core/index.ts';
import type { Link } from '../link.ts';

/** Bytes of QEMU's stream buffer (IO_BUF_SIZE of migration/qemu-file.c). */
const BUFFER_BYTES = 32768;
/** Pieces that one write gathers (MAX_IOV_SIZE). */
const GATHERED_PIECES = 64;
/** A page's address and flags; a page of zeros has one byte more. */
const HEADER_BYTES = 8;
/** Head and foot of a section, and the mark at the end of a step. */
const STEP_BYTES = 18;

/**
 * The main connection. Bytes count as sent when a buffer is written, not before: whole pages are gathered by 32, pages
 * that are copied (with XBZRLE) by 32 KiB. A write blocks as long as the link's buffers are full.
 */
export class MainStream {
  /** When the writer is ready for the next page, in microseconds. */
  now = 0;
  /** Bytes written. */
  written = 0;
  readonly #link: Link;
  #gathered = 0;
  #pieces = 0;
  #inBuffer = 0;
  #lastIsBuffer = false;

  constructor(link: Link) {
    this.#link = link;
  }

  /** A page as it is; `copied`: through the buffer instead of beside it. */
  page(copied: boolean): void {
    this.#buffered(HEADER_BYTES);
    if (copied) this.#buffered(PAGE_SIZE);
    else {
      this.#gathered += PAGE_SIZE;
      this.#lastIsBuffer = false;
      if (++this.#pieces >= GATHERED_PIECES) this.flush();
    }
  }

  zeroPage(): void {
    this.#buffered(HEADER_BYTES + 1);
  }

  /** A difference of so many bytes, with its own header of three. */
  difference(bytes: number): void {
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
