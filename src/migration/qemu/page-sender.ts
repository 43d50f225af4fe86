import { PAGE_SIZE } from '../../core/index.ts';
import type { HostCosts } from '../costs.ts';
import type { Guest } from '../guest.ts';
import type { Link } from '../link.ts';
import { PageBitmap } from '../page-bitmap.ts';
import type { RoundLog } from '../rounds.ts';
import { MultifdChannels } from './multifd.ts';
import type { QemuOptions } from './options.ts';
import { MainStream } from './stream.ts';
import { XbzrleCache } from './xbzrle-cache.ts';

/** Pages of memory whose dirty log is cleared at once (clear-bitmap-shift 18: a gigabyte). */
const CLEARED_PAGES = 1 << 18;

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
    this.stream = new MainStream(link);
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

  /** Post-copy has begun: no differences from now on, and pages are as they were at the stop. */
  beginPostcopy(): void {
    this.#cache = undefined;
    const { memory } = this.#guest;
    const zeros = new PageBitmap(memory.pageCount);
    for (let page = this.#pending.next(0); page >= 0; page = this.#pending.next(page + 1)) {
      if (memory.isZero(page)) zeros.add(page);
    }
    this.#zerosAtStop = zeros;
  }

  /** Puts the cursor on a page, as a request for it does in post-copy. */
  seek(page: number): void {
    this.#cursor = page;
  }

  /**
   * Sends the next pending page.
   * @param lastStage the guest has stopped: nothing needs to be put into the cache.
   * @returns whether there was one.
   */
  sendNext(lastStage: boolean): boolean {
    let page = this.#pending.next(this.#cursor);
    if (page < 0) {
      page = this.#pending.next(0);
      this.#wrap();
      if (page < 0) return false;
    }
    if (this.#options.clearLog === 'before-send' && !lastStage) this.#clearLog(page);
    this.#pending.remove(page);
    this.#cursor = page + 1;
    this.#send(page, lastStage);
    return true;
  }

  /** Sends what waits in the channels of multifd, and waits until they have done so. */
  flushChannels(): void {
    if (this.#channels !== undefined) this.stream.now = this.#channels.flush(this.stream.now);
  }

  #wrap(): void {
    this.#cursor = 0;
    this.#passed = true;
    this.flushChannels();
  }

  #send(page: number, lastStage: boolean): void {
    const { stream } = this;
    const holdsZeros = this.#zerosAtStop?.has(page) ?? this.#guest.memory.isZero(page);
    const zero = holdsZeros && this.#options.detectZeroPages;
    if (zero) this.#log.zeroPages++;
    if (this.#channels !== undefined) {
      if (!zero) this.#log.normalPages++;
      stream.now = this.#channels.queue(page, zero, stream.now);
      return;
    }
    stream.now += (zero ? this.#costs.zeroPageNanoseconds : this.#costs.pageNanoseconds) / 1000;
    const cache = this.#passed ? this.#cache : undefined;
    if (zero) {
      stream.zeroPage();
      cache?.insert(page, this.#guest.memory.storesOf(page), this.#log.count);
    } else if (cache === undefined || !this.#sendDifference(cache, page, lastStage)) {
      this.#log.normalPages++;
      stream.page(cache !== undefined && !lastStage);
    }
  }

  /** @returns false if the page has to be sent as it is. */
  #sendDifference(cache: XbzrleCache, page: number, lastStage: boolean): boolean {
    const { memory } = this.#guest;
    const stores = memory.storesOf(page);
    const cached = cache.lookUp(page, this.#log.count);
    if (cached < 0) {
      if (!lastStage) cache.insert(page, stores, this.#log.count);
      return false;
    }
    this.stream.now += this.#costs.differenceNanoseconds / 1000;
    const bytes = memory.differenceBytes(page, stores - cached);
    if (bytes === 0) return true;
    if (!lastStage) cache.update(page, stores);
    if (bytes >= PAGE_SIZE) return false;
    this.#log.differencePages++;
    this.stream.difference(bytes);
    return true;
  }

  /** Pages of this chunk that were written since the sync are about to be sent as they are now. */
  #clearLog(page: number): void {
    const chunk = Math.floor(page / CLEARED_PAGES);
    if (chunk === this.#clearedChunk) return;
    this.#clearedChunk = chunk;
    this.#guest.advance(this.stream.now);
    const { dirty } = this.#guest.memory;
    const end = (chunk + 1) * CLEARED_PAGES;
    for (let next = dirty.next(page); next >= 0 && next < end; next = dirty.next(next + 1)) {
      if (this.#pending.has(next)) dirty.remove(next);
    }
  }
}
