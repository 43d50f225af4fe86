import { PAGE_SIZE } from '../../core/index.ts';
import type { HostCosts } from '../costs.ts';
import type { Guest } from '../guest.ts';
import type { Link } from '../link.ts';
import { zerosAmong } from '../memory.ts';
import { bitsOf, lowestBits, PageBitmap } from '../page-bitmap.ts';
import type { RoundLog } from '../rounds.ts';
import { MultifdChannels } from './multifd.ts';
import type { QemuOptions } from './options.ts';
import { BUFFER_PAGES, MainStream } from './stream.ts';
import { XbzrleCache } from './xbzrle-cache.ts';

/** Pages of memory whose dirty log is cleared at once (clear-bitmap-shift 18: a gigabyte). */
const CLEARED_PAGES = 1 << 18;
const CLEARED_WORDS = CLEARED_PAGES / 32;
/** How often a step of sending looks at the clock. */
export const PAGES_BETWEEN_CLOCKS = 64;

/** Takes pages from the pending set in the order of a cursor that goes round, and sends each as QEMU would. */
export class PageSender {
  readonly stream: MainStream;
  readonly #guest: Guest;
  readonly #pending: PageBitmap;
  readonly #log: RoundLog;
  readonly #costs: HostCosts;
  readonly #options: QemuOptions;
  #cache: XbzrleCache | undefined;
  readonly #channels: MultifdChannels | undefined;
  #zerosAtStop: PageBitmap | undefined;
  #cursor = 0;
  /** Memory has been passed over once: XBZRLE begins. */
  #passed = false;
  #clearedChunk = -1;
  /** When the step of the migration loop began: pages count as zeros if they were then. */
  #stepStart = 0;

  constructor(
    guest: Guest,
    pending: PageBitmap,
    log: RoundLog,
    link: Link,
    options: QemuOptions,
    costs: HostCosts,
  ) {
    this.#guest = guest;
    this.#pending = pending;
    this.#log = log;
    this.#costs = costs;
    this.#options = options;
    this.stream = new MainStream(link, costs);
    if (options.xbzrle) {
      this.#cache = new XbzrleCache(options.xbzrleCacheBytes);
      guest.memory.countStores();
    }
    if (options.multifdChannels > 0) {
      const { multifdChannels, multifdCompression } = options;
      this.#channels = new MultifdChannels(multifdChannels, multifdCompression, link, guest.memory, costs);
    }
  }

  get now(): number {
    return this.stream.now;
  }

  /** Bytes that count as sent by now. */
  get writtenBytes(): number {
    return this.stream.written + (this.#channels?.writtenAt(this.stream.now) ?? 0);
  }

  /** A sync has taken place: chunks of the dirty log are to be cleared anew. */
  synced(): void {
    this.#clearedChunk = -1;
  }

  /** Whether the content of pages matters, which has to be looked at while the guest writes to them. */
  get sendsDifferences(): boolean {
    return this.#passed && this.#cache !== undefined;
  }

  /**
   * A step of the migration loop begins. What the guest wrote until now matters only where pages of zeros come up, and
   * is not caught up with before: a memory that is asked page by page cannot tell that beforehand.
   */
  beginStep(): void {
    this.#stepStart = this.now;
    if (this.#guest.memory.zerosAmong === undefined) this.#guest.advance(this.#stepStart);
  }

  /** Post-copy has begun: no differences from now on, and pages are as they were at the stop. */
  beginPostcopy(): void {
    this.#cache = undefined;
    const { memory } = this.#guest;
    const pending = this.#pending;
    const zeros = new PageBitmap(memory.pageCount);
    for (let index = pending.nextWord(0); index >= 0; index = pending.nextWord(index + 1)) {
      zeros.addToWord(index, zerosAmong(memory, index, pending.word(index)));
    }
    this.#zerosAtStop = zeros;
  }

  /** Puts the cursor on a page, as a request for it does in post-copy. */
  seek(page: number): void {
    this.#cursor = page;
  }

  /**
   * Sends pending pages until something has been written, or all memory behind the cursor has been passed over.
   * @param most no more pages than so many.
   * @param lastStage the guest has stopped: nothing needs to be put into the cache.
   * @returns how many; 0 if none is pending.
   */
  send(most: number, lastStage: boolean): number {
    const before = this.#writes;
    let sent = 0;
    while (sent < most && this.#writes === before) {
      let index = this.#wordAtCursor();
      if (index < 0) {
        if (sent > 0) break;
        this.#wrap();
        index = this.#pending.nextWord(0);
        if (index < 0) break;
      }
      if (this.#options.clearLog === 'before-send' && !lastStage) this.#clearLog(index);
      const pages =
        this.#pending.word(index) & (index === this.#cursor >>> 5 ? -1 << (this.#cursor & 31) : -1);
      if (this.sendsDifferences) {
        sent += this.#sendCached(index, lowestBits(pages, 1), lastStage);
        break;
      }
      sent +=
        this.#channels === undefined ? this.#sendRun(most - sent) : this.#queueRun(index, pages, most - sent);
    }
    return sent;
  }

  /**
   * Sends whole pages that lie side by side, 32 at a time, as long as nothing else is to be decided: what `send` would
   * do between two looks at the clock.
   * @param before pages that the step has sent so far; the clock is looked at behind each 64th and one more.
   * @param budgetBytes ends when more than so much has been written in all.
   * @param latest ends where the clock would be this or later.
   * @returns pages sent.
   */
  sendFullBuffers(before: number, budgetBytes: number, latest: number): number {
    const { stream } = this;
    if (!this.#isPlain || !stream.isEmpty) return 0;
    const pending = this.#pending;
    const high = -1 << (this.#cursor & 31);
    let index = this.#cursor >>> 5;
    let sent = 0;
    while (stream.written <= budgetBytes) {
      const sinceLook = (before + sent) % PAGES_BETWEEN_CLOCKS;
      if (sinceLook > BUFFER_PAGES || (sinceLook === 0 && stream.nextPageDone >= latest)) break;
      if (!this.#areWhole(index, high) || !this.#areWhole(index + 1, ~high)) break;
      if (this.#startsChunk(index) || this.#startsChunk(index + 1)) break;
      pending.removeFromWord(index++, high);
      pending.removeFromWord(index, ~high);
      stream.wholeBuffer();
      sent += BUFFER_PAGES;
    }
    this.#cursor += sent;
    this.#log.normalPages += sent;
    return sent;
  }

  /** Sends what waits in the channels of multifd, and waits until they have done so. */
  flushChannels(): void {
    if (this.#channels !== undefined) this.stream.now = this.#channels.flush(this.stream.now);
  }

  /** Changes when something is handed to the link. */
  get #writes(): number {
    return this.stream.written + (this.#channels?.dispatched ?? 0);
  }

  /** The word with the next pending page at the cursor or behind it; -1 if there is none. */
  #wordAtCursor(): number {
    const index = this.#cursor >>> 5;
    if ((this.#pending.word(index) & (-1 << (this.#cursor & 31))) !== 0) return index;
    return this.#pending.nextWord(index + 1);
  }

  /** Whether pages go as they are. */
  get #isPlain(): boolean {
    return this.#channels === undefined && !this.sendsDifferences;
  }

  /** Whether all these pages of a word are pending, and none of them holds zeros. */
  #areWhole(index: number, pages: number): boolean {
    if ((this.#pending.word(index) & pages) !== pages) return false;
    return !this.#options.detectZeroPages || this.#guest.memory.zerosAmong?.(index, pages) === 0;
  }

  #wrap(): void {
    this.#cursor = 0;
    this.#passed = true;
    this.flushChannels();
  }

  /** Sends pages behind the cursor, as many as go without a write before the last one. */
  #sendRun(most: number): number {
    const pending = this.#pending;
    const limit = Math.min(this.stream.room, most);
    let count = 0;
    let zeroCount = 0;
    let isLastZero = false;
    let index = this.#cursor >>> 5;
    let pages = pending.word(index) & (-1 << (this.#cursor & 31));
    for (let isFirst = true; count < limit; isFirst = false) {
      if (pages === 0) {
        index = pending.nextWord(index + 1);
        // What comes before the next gigabyte's pages is for the caller to do.
        if (index < 0 || (!isFirst && this.#startsChunk(index))) break;
        pages = pending.word(index);
      }
      const held = bitsOf(pages);
      const taken = held <= limit - count ? pages : lowestBits(pages, limit - count);
      const zeros = this.#zerosOf(index, taken);
      const top = 31 - Math.clz32(taken);
      count += pending.removeFromWord(index, taken);
      zeroCount += bitsOf(zeros);
      isLastZero = ((zeros >>> top) & 1) === 1;
      this.#cursor = index * 32 + top + 1;
      pages = 0;
    }
    this.#log.zeroPages += zeroCount;
    this.#log.normalPages += count - zeroCount;
    this.stream.run(count, zeroCount, isLastZero);
    return count;
  }

  /** Whether the dirty log of this word's gigabyte is still to be cleared. */
  #startsChunk(index: number): boolean {
    return (
      this.#options.clearLog === 'before-send' && Math.floor(index / CLEARED_WORDS) !== this.#clearedChunk
    );
  }

  /** Puts the first of these pages of a word into the channels' packet, as many as it takes. */
  #queueRun(index: number, pages: number, most: number): number {
    const channels = this.#channels!;
    const held = bitsOf(pages);
    const count = Math.min(held, channels.room, most);
    const taken = count === held ? pages : lowestBits(pages, count);
    const zeros = this.#zerosOf(index, taken);
    const zeroCount = bitsOf(zeros);
    this.#pending.removeFromWord(index, taken);
    this.#cursor = index * 32 + 32 - Math.clz32(taken);
    this.#log.zeroPages += zeroCount;
    this.#log.normalPages += count - zeroCount;
    this.stream.now = channels.queue(index, taken & ~zeros, zeroCount, this.stream.now);
    return count;
  }

  #zerosOf(index: number, pages: number): number {
    if (!this.#options.detectZeroPages) return 0;
    if (this.#zerosAtStop !== undefined) return this.#zerosAtStop.word(index) & pages;
    const zeros = zerosAmong(this.#guest.memory, index, pages);
    if (zeros === 0 || this.#guest.now >= this.#stepStart) return zeros;
    this.#guest.advance(this.#stepStart);
    return zerosAmong(this.#guest.memory, index, pages);
  }

  /** Sends one page, as a difference to its cached copy if there is one. */
  #sendCached(index: number, bit: number, lastStage: boolean): number {
    const { stream } = this;
    const cache = this.#cache!;
    const page = index * 32 + 31 - Math.clz32(bit);
    this.#pending.removeFromWord(index, bit);
    this.#cursor = page + 1;
    if (this.#zerosOf(index, bit) !== 0) {
      this.#log.zeroPages++;
      stream.zeroPage();
      cache.insert(page, this.#guest.memory.storesOf(page), this.#log.count);
    } else if (!this.#sendDifference(cache, page, lastStage)) {
      this.#log.normalPages++;
      stream.page(!lastStage);
    }
    return 1;
  }

  /** @returns false if the page has to be sent as it is. */
  #sendDifference(cache: XbzrleCache, page: number, lastStage: boolean): boolean {
    const { stream } = this;
    const { memory } = this.#guest;
    const stores = memory.storesOf(page);
    const cached = cache.lookUp(page, this.#log.count);
    if (cached < 0) {
      if (!lastStage) cache.insert(page, stores, this.#log.count);
      return false;
    }
    stream.now += this.#costs.differenceNanoseconds / 1000;
    const bytes = memory.differenceBytes(page, stores - cached);
    if (bytes === 0) {
      stream.unchanged();
      return true;
    }
    if (!lastStage) cache.update(page, stores);
    if (bytes >= PAGE_SIZE) return false;
    this.#log.differencePages++;
    stream.difference(bytes);
    return true;
  }

  /** Pages of this gigabyte that were written since the sync are about to be sent as they are now. */
  #clearLog(index: number): void {
    const chunk = Math.floor(index / CLEARED_WORDS);
    if (chunk === this.#clearedChunk) return;
    this.#clearedChunk = chunk;
    this.#guest.advance(this.stream.now);
    const { dirty } = this.#guest.memory;
    const end = (chunk + 1) * CLEARED_WORDS;
    const passed = index === this.#cursor >>> 5 ? ~(-1 << (this.#cursor & 31)) : 0;
    dirty.removeFromWord(index, this.#pending.word(index) & ~passed);
    for (let next = dirty.nextWord(index + 1); next >= 0 && next < end; next = dirty.nextWord(next + 1)) {
      dirty.removeFromWord(next, this.#pending.word(next));
    }
  }
}
