import { mix32 } from '../../core/index.ts';
import type { MigratingMemory } from '../memory.ts';
import { PageBitmap } from '../page-bitmap.ts';
import type { NumberedSegment } from '../page-numbers.ts';
import { RangeDecoder } from './coded-ranges.ts';
import { findStretch } from './mapped-sizes.ts';
import { isNeverWritten, moreWritesThresholds } from './page-heat.ts';
import { differenceAfter, type PageSize } from './page-sizes.ts';
import type { Recording } from './recording.ts';

export interface RecordedMemoryOptions {
  /** How far into the recording the migration begins; the nearest instant whose state was kept is taken. */
  readonly offsetMicroseconds?: number;
  /** Another seed puts the writes of an interval into another order. */
  readonly seed?: number;
}

/**
 * Opens recorded memory for one rehearsal. What was written in an interval is spread over it: at random, since nothing
 * is known but that each page was written at least once, and pages that are written in many intervals in a row are
 * written several times in each, so that a look in the middle of an interval finds as many pages as it should.
 *
 * When the recording is over it begins again. A program would write pages then that it had not written before; how many,
 * those tell that it wrote only once. So many of them are moved to pages of the same stretch that were not written.
 */
export function openRecordedMemory(
  recording: Recording,
  options: RecordedMemoryOptions = {},
): MigratingMemory {
  return new RecordedMemory(recording, options);
}

/** How often a page that was not written is looked for by chance, where there are few of them. */
const ATTEMPTS = 8;
const THRESHOLDS = moreWritesThresholds();

class RecordedMemory implements MigratingMemory {
  readonly resident: PageBitmap;
  readonly dirty: PageBitmap;
  readonly #recording: Recording;
  /** Pages that were there when it began; a sender empties `resident`. */
  readonly #present: Uint32Array;
  /** Those of them that are never written, a bit each: made when the recording begins again. */
  #spare: Uint32Array | undefined;
  readonly #zero: PageBitmap;
  readonly #decoder = new RangeDecoder();
  #stores: Uint32Array | undefined;
  #random: number;
  #interval: number;
  /** How often the recording has begun again. */
  #lap = 0;
  /** Time of the interval that has passed. */
  #passed = 0;
  /** Writes of the interval, in the order of pages behind those that have happened; empty until they are needed. */
  #writes = new Uint32Array(1024);
  #writeCount = -1;
  #written = 0;
  /** Where between two writes the interval begins. */
  #phase = 0;
  #lastSize = { firstNumber: 0, endNumber: 0, size: undefined as PageSize | undefined };

  constructor(recording: Recording, { offsetMicroseconds = 0, seed = 0 }: RecordedMemoryOptions) {
    const state = recording.states.reduce((nearest, each) =>
      Math.abs(each.atMicroseconds - offsetMicroseconds) <
      Math.abs(nearest.atMicroseconds - offsetMicroseconds)
        ? each
        : nearest,
    );
    this.#recording = recording;
    this.#present = state.resident;
    this.resident = PageBitmap.copyOf(state.resident);
    this.dirty = new PageBitmap(recording.pageCount);
    this.#zero = PageBitmap.copyOf(state.zero);
    this.#interval = state.interval;
    this.#random = mix32(seed + 0x5eed) || 1;
  }

  get pageCount(): number {
    return this.#recording.pageCount;
  }

  zerosAmong(word: number, pages: number): number {
    return this.#zero.word(word) & pages;
  }

  get cpuShare(): number {
    return this.#recording.cpuShare;
  }

  run(microseconds: number): void {
    for (let left = microseconds; left > 0; ) {
      const length = this.#length;
      const rest = length - this.#passed;
      if (left < rest) {
        this.#passed += left;
        this.#open();
        this.#writeUntil(Math.floor((this.#writeCount * this.#passed) / length + this.#phase));
        return;
      }
      left -= rest;
      this.#finish();
    }
  }

  isZero(page: number): boolean {
    return this.#zero.has(page);
  }

  compressedShare(page: number): number {
    return this.#sizeOf(page).compressedShare;
  }

  compressedShareEnd(page: number): number {
    return this.#sizeOf(page) === this.#lastSize.size ? this.#lastSize.endNumber : page + 1;
  }

  countStores(): void {
    this.#stores ??= new Uint32Array(this.pageCount);
  }

  storesOf(page: number): number {
    return this.#stores?.[page] ?? 0;
  }

  differenceBytes(page: number, stores: number): number {
    return differenceAfter(this.#sizeOf(page).differenceBytes, stores);
  }

  /** Of the current interval. */
  get #length(): number {
    const ends = this.#recording.endsMicroseconds;
    return ends[this.#interval]! - (this.#interval === 0 ? 0 : ends[this.#interval - 1]!);
  }

  /** Everything of the interval that has not happened yet happens; the next one begins. */
  #finish(): void {
    if (this.#writeCount < 0 && this.#stores === undefined) this.#writeAll();
    else {
      this.#open();
      this.#writeUntil(this.#writeCount);
    }
    const { gone } = this.#recording;
    if (gone.pages[this.#interval]! > 0) this.#drop();
    this.#passed = 0;
    this.#writeCount = -1;
    this.#written = 0;
    if (++this.#interval < this.#recording.endsMicroseconds.length) return;
    this.#interval = 0;
    this.#lap++;
  }

  /** All pages of the interval at once, where their order does not matter. */
  #writeAll(): void {
    const { written, heat } = this.#recording;
    const decoder = this.#decoder;
    decoder.read(written, this.#interval);
    const { starts, ends, count } = decoder;
    const { dirty } = this;
    const zero = this.#zero;
    const mayBeZero = zero.count > 0;
    const { hot } = heat;
    const isAgain = this.#lap > 0;
    for (let index = 0; index < count; index++) {
      const end = ends[index]!;
      for (let page = starts[index]!; page < end; page++) {
        const isMoved = isAgain && ((hot[page >>> 5]! >>> (page & 31)) & 1) === 0;
        const moved = isMoved ? this.#elsewhere(page) : page;
        // A page that was dirty before holds no zeros any more.
        if (dirty.add(moved) && mayBeZero) zero.remove(moved);
      }
    }
  }

  /** Lists the writes of the interval, if that was not done yet. */
  #open(): void {
    if (this.#writeCount >= 0) return;
    const { written } = this.#recording;
    const { heat, hot } = this.#recording.heat;
    const decoder = this.#decoder;
    decoder.read(written, this.#interval);
    let writes = this.#roomFor(written.pages[this.#interval]! * 2);
    let count = 0;
    for (let index = 0; index < decoder.count; index++) {
      const end = decoder.ends[index]!;
      for (let page = decoder.starts[index]!; page < end; page++) {
        // A bit is looked at first: the bitmap stays in the processor's cache where the heats of all pages do not.
        if (((hot[page >>> 5]! >>> (page & 31)) & 1) === 0) {
          if (count === writes.length) writes = this.#roomFor(count + 1);
          writes[count++] = this.#lap === 0 ? page : this.#elsewhere(page);
          continue;
        }
        const thresholds = THRESHOLDS[heat[page]!]!;
        const drawn = this.#draw() >>> 16;
        let more = 0;
        while (more < thresholds.length && drawn < thresholds[more]!) more++;
        if (count + more >= writes.length) writes = this.#roomFor(count + more + 1);
        for (; more >= 0; more--) writes[count++] = page;
      }
    }
    this.#writeCount = count;
    this.#phase = this.#draw() / 2 ** 32;
  }

  /** The first `until` writes of the interval have happened: each is chosen among those that have not. */
  #writeUntil(until: number): void {
    const writes = this.#writes;
    const count = this.#writeCount;
    const last = Math.min(until, count);
    const stores = this.#stores;
    const mayBeZero = this.#zero.count > 0;
    let at = this.#written;
    for (; at < last; at++) {
      const chosen = at + Math.floor((this.#draw() / 2 ** 32) * (count - at));
      const page = writes[chosen]!;
      writes[chosen] = writes[at]!;
      this.dirty.add(page);
      if (mayBeZero) this.#zero.remove(page);
      if (stores !== undefined) stores[page]!++;
    }
    this.#written = at;
  }

  #drop(): void {
    const decoder = this.#decoder;
    decoder.read(this.#recording.gone, this.#interval);
    for (let index = 0; index < decoder.count; index++) {
      this.dirty.removeRange(decoder.starts[index]!, decoder.ends[index]!);
      this.#zero.addRange(decoder.starts[index]!, decoder.ends[index]!);
    }
  }

  get #lapSalt(): number {
    return Math.imul(this.#lap, 0x9e3779b9);
  }

  /** A page of the same stretch of addresses that was not written, for those of which a program would write others. */
  #elsewhere(page: number): number {
    let hash = mix32(page ^ this.#lapSalt);
    if (hash >= this.#recording.heat.freshShare * 2 ** 32) return page;
    this.#spare ??= sparePages(this.#present, this.#recording.heat.heat);
    const spare = this.#spare;
    const { firstNumber, startPage, endPage } = this.#segmentOf(page);
    const length = (endPage - startPage) / 2 ** 32;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      hash = mix32(hash + attempt + 1);
      const other = firstNumber + Math.floor(hash * length);
      if ((((spare[other >>> 5] ?? 0) >>> (other & 31)) & 1) === 1) return other;
    }
    return page;
  }

  #segmentOf(page: number): NumberedSegment {
    const { segments } = this.#recording;
    let low = 0;
    let high = segments.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (segments[middle]!.firstNumber <= page) low = middle;
      else high = middle - 1;
    }
    return segments[low]!;
  }

  #sizeOf(page: number): PageSize {
    const last = this.#lastSize;
    if (last.size !== undefined && page >= last.firstNumber && page < last.endNumber) return last.size;
    const { stretches, otherwise } = this.#recording.sizes;
    const found = stretches[findStretch(stretches, page)];
    if (found === undefined) return otherwise;
    this.#lastSize = { firstNumber: found.firstNumber, endNumber: found.endNumber, size: found };
    return found;
  }

  #roomFor(writes: number): Uint32Array {
    if (writes > this.#writes.length) {
      const larger = new Uint32Array(writes * 2);
      larger.set(this.#writes);
      this.#writes = larger;
    }
    return this.#writes;
  }

  /** Uniform 32-bit number (xorshift32, Marsaglia 2003). */
  #draw(): number {
    let state = this.#random;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#random = state;
    return state >>> 0;
  }
}

/** Pages of `present` that were not written in any interval, as words of a bitmap. */
function sparePages(present: Uint32Array, heat: Uint8Array): Uint32Array {
  const spare = new Uint32Array(present);
  for (let page = 0; page < heat.length; page++) {
    if (!isNeverWritten(heat[page]!)) spare[page >>> 5]! &= ~(1 << (page & 31));
  }
  return spare;
}
