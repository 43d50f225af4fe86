import { PAGE_SIZE } from '../../core/index.ts';
import type { Link } from '../link.ts';
import type { PageBitmap } from '../page-bitmap.ts';
import type { PostcopyGuest } from '../qemu/postcopy.ts';

/** What a pager is given to send pages with. */
export interface Pages {
  /** Pages that are missing at the destination. */
  readonly pending: PageBitmap;
  readonly link: Link;
  now: number;
  /** Sends the pages of a word whose bits are set. */
  send(word: number, pages: number, bytesPerSecond: number): void;
  flush(bytesPerSecond: number): void;
}

/** Chooses what is sent while the program asks for nothing. */
export interface Pager {
  /** The program goes on at the destination at that instant. */
  resumed?(at: number, link: Link): void;
  /** The program has asked for a page, which has been sent. */
  faulted(page: number): void;
  /** Sends something, or lets time pass; not beyond `next`, when the program may ask again, unless it is busy. */
  push(pages: Pages, next: number): void;
}

/** Order in which pages follow the program that nobody has asked for. */
export type PrePaging = 'none' | 'forward' | 'bubbling';
export const PRE_PAGING_KINDS: readonly PrePaging[] = ['none', 'forward', 'bubbling'];

/** The pager of that name. */
export function pagerFor(kind: PrePaging, bytesPerSecond: number): Pager {
  switch (kind) {
    case 'none':
      return new DemandPager();
    case 'forward':
      return new ForwardPager(bytesPerSecond);
    case 'bubbling':
      return new BubblingPager(bytesPerSecond);
  }
}

/**
 * Sends pages until none is missing at the destination: what the program asks for, and otherwise what the pager likes.
 * @returns whether that was done by `giveUpAfter`.
 */
export function followProgram(pages: Pages, away: PostcopyGuest, pager: Pager, giveUpAfter: number): boolean {
  while (pages.pending.count > 0) {
    if (pages.now >= giveUpAfter) return false;
    const wanted = away.request(pages.now);
    if (wanted < 0) {
      pager.push(pages, away.nextLook);
      continue;
    }
    pages.send(wanted >>> 5, 1 << (wanted & 31), Number.POSITIVE_INFINITY);
    pages.flush(Number.POSITIVE_INFINITY);
    away.answered(pages.link.arrivalAt(pages.now));
    pager.faulted(wanted);
  }
  return true;
}

/** Demand paging alone: a page that nobody touches stays at the source for ever. */
class DemandPager implements Pager {
  faulted(): void {
    // Only what is asked for is sent.
  }

  push(pages: Pages, next: number): void {
    pages.now = Math.max(pages.now + 1, next);
  }
}

/** Pages in order behind the last fault, as the background stream of QEMU. */
class ForwardPager implements Pager {
  readonly #bytesPerSecond: number;
  #word = 0;

  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  faulted(page: number): void {
    this.#word = page >>> 5;
  }

  push(pages: Pages): void {
    let word = pages.pending.nextWord(this.#word);
    if (word < 0) word = pages.pending.nextWord(0);
    pages.send(word, pages.pending.word(word), this.#bytesPerSecond);
    pages.flush(this.#bytesPerSecond);
    this.#word = word + 1;
  }
}

/** So many bubbles grow at a time; the oldest is given up for a new one. */
const PIVOTS = 7;

interface Bubble {
  /** Words below and above that are next. */
  below: number;
  above: number;
}

/**
 * Pre-paging by bubbling ("Post-Copy Based Live Virtual Machine Migration", Hines and Gopalan 2009): around each of the
 * last faults, of which the newest comes first, a bubble of pushed pages grows in both directions. Words of 32 pages are
 * the unit here. Without faults it grows from the lowest address.
 */
class BubblingPager implements Pager {
  readonly #bytesPerSecond: number;
  readonly #bubbles: Bubble[] = [{ below: -1, above: 0 }];
  #turn = 0;

  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  faulted(page: number): void {
    const word = page >>> 5;
    this.#bubbles.unshift({ below: word - 1, above: word });
    this.#bubbles.length = Math.min(this.#bubbles.length, PIVOTS);
    this.#turn = 0;
  }

  push(pages: Pages): void {
    const { pending } = pages;
    if (this.#bubbles.length === 0) this.#bubbles.push({ below: -1, above: 0 });
    const index = this.#turn++ % this.#bubbles.length;
    const bubble = this.#bubbles[index]!;
    const above = pending.nextWord(bubble.above);
    const below = lastWordAtOrBelow(pending, bubble.below);
    bubble.above = above + 1;
    bubble.below = below - 1;
    for (const word of [above, below]) {
      if (word >= 0) pages.send(word, pending.word(word), this.#bytesPerSecond);
    }
    pages.flush(this.#bytesPerSecond);
    if (above < 0 || below < 0) this.#shrink(index, above, below);
  }

  /** A bubble that has met an end of memory grows in one direction only, and is done when it has met both. */
  #shrink(index: number, above: number, below: number): void {
    const bubble = this.#bubbles[index]!;
    if (above < 0) bubble.above = Number.MAX_SAFE_INTEGER;
    if (below < 0) bubble.below = -1;
    if (above < 0 && below < 0) this.#bubbles.splice(index, 1);
  }
}

function lastWordAtOrBelow(pages: PageBitmap, from: number): number {
  let word = from;
  while (word >= 0 && pages.word(word) === 0) word--;
  return word;
}

/** Constants of criu/uffd.c: the first size of a transfer, by which it also grows, and the largest. */
const TRANSFER_BYTES = 64 * 1024;
const LARGEST_TRANSFER_BYTES = 4 * 2 ** 20;

/**
 * CRIU's lazy pages daemon (criu/uffd.c): in the background it asks for the lowest range that is missing, 64 KiB at
 * first and 64 KiB more each time up to 4 MiB, and again 64 KiB after a fault. It has one request under way at a time.
 */
export class LazyPagesPager implements Pager {
  #bytes = TRANSFER_BYTES;
  #busyUntil = 0;

  resumed(at: number, link: Link): void {
    this.#busyUntil = at + link.latency();
  }

  faulted(): void {
    this.#bytes = TRANSFER_BYTES;
  }

  push(pages: Pages, next: number): void {
    if (pages.now < this.#busyUntil) {
      pages.now = Math.max(pages.now + 1, Math.min(this.#busyUntil, next));
      return;
    }
    sendLowestRange(pages, this.#bytes / PAGE_SIZE);
    this.#bytes = Math.min(this.#bytes + TRANSFER_BYTES, LARGEST_TRANSFER_BYTES);
    // The next request leaves when this range has come, and takes its time to the source.
    this.#busyUntil = pages.link.arrivalAt(pages.now) + pages.link.latency();
  }
}

/** Sends the lowest missing pages that lie next to each other, at most so many. */
function sendLowestRange(pages: Pages, count: number): void {
  const { pending } = pages;
  let page = pending.next(0);
  for (let left = count; left > 0 && pending.has(page); ) {
    const word = page >>> 5;
    let bits = 0;
    do {
      bits |= 1 << (page & 31);
      page++;
      left--;
    } while (left > 0 && (page & 31) !== 0 && pending.has(page));
    pages.send(word, bits, Number.POSITIVE_INFINITY);
  }
  pages.flush(Number.POSITIVE_INFINITY);
}
