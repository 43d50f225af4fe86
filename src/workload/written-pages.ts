import type { WriteListener } from '../kernel/index.ts';

/** Pages of one piece of the bitmap. */
const PIECE_PAGES = 1 << 15;

/** Remembers which pages each process has written to: a bitmap in pieces, since address spaces are mostly empty. */
export class WrittenPages implements WriteListener {
  readonly #pieces = new Map<number, Map<number, Uint8Array<ArrayBuffer>>>();
  readonly #counts = new Map<number, number>();
  #lastPid = -1;
  #lastPiece = -1;
  #last = new Uint8Array(0);

  store(pid: number, page: number): void {
    const piece = Math.floor(page / PIECE_PAGES);
    if (pid !== this.#lastPid || piece !== this.#lastPiece) this.#open(pid, piece);
    const place = page % PIECE_PAGES;
    const bit = 1 << (place & 7);
    if ((this.#last[place >>> 3]! & bit) !== 0) return;
    this.#last[place >>> 3]! |= bit;
    this.#counts.set(pid, this.countOf(pid) + 1);
  }

  /** How many different pages a process has written to. */
  countOf(pid: number): number {
    return this.#counts.get(pid) ?? 0;
  }

  #open(pid: number, piece: number): void {
    let pieces = this.#pieces.get(pid);
    if (pieces === undefined) {
      pieces = new Map();
      this.#pieces.set(pid, pieces);
    }
    let bitmap = pieces.get(piece);
    if (bitmap === undefined) {
      bitmap = new Uint8Array(PIECE_PAGES / 8);
      pieces.set(piece, bitmap);
    }
    this.#last = bitmap;
    this.#lastPid = pid;
    this.#lastPiece = piece;
  }
}
