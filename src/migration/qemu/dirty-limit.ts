import { PAGE_SIZE } from '../../core/index.ts';
import { type MigratingMemory, zerosAmong } from '../memory.ts';
import { PageBitmap } from '../page-bitmap.ts';

/** Numbers of QEMU's system/dirtylimit.c. */
const TOLERANCE_MEBIBYTES_PER_SECOND = 25;
const LINEAR_ADJUSTMENT_PERCENT = 50;
const MAX_SLEEPS_PER_RING = 99;
const MEBIBYTE = 2 ** 20;
/** The program runs so far at a time at most before its pages are counted. */
const LONGEST_SLICE_MICROSECONDS = 20_000;
const SHORTEST_SLICE_MICROSECONDS = 100;
/** So many slices are meant to fill the ring. */
const SLICES_PER_RING = 16;

export interface DirtyLimitOptions {
  /** Pages that a vCPU may dirty before it has to leave the guest (KVM's dirty-ring-size). */
  readonly dirtyRingPages: number;
  /** What each vCPU may dirty, MiB a second. */
  readonly vcpuDirtyLimit: number;
  /** How often the rate is measured (x-vcpu-dirty-limit-period). */
  readonly vcpuDirtyLimitPeriodMicroseconds: number;
}

/**
 * A guest under QEMU's dirty page limit (system/dirtylimit.c), as memory that stands before the guest's own. KVM notes
 * every page that a vCPU dirties in a ring. When the ring is full the vCPU leaves the guest and, once the limit is in
 * force, sleeps; how long is corrected once a period by the rate that was measured in it. Who only reads is not slowed.
 */
export class DirtyLimitedMemory implements MigratingMemory {
  readonly resident: PageBitmap;
  readonly dirty = new PageBitmap(0);
  /** Time that the guest has slept. */
  sleptMicroseconds = 0;
  readonly #memory: MigratingMemory;
  readonly #options: DirtyLimitOptions;
  /** Pages dirtied since the ring was emptied. */
  readonly #ring = new PageBitmap(0);
  #active = false;
  /** Sleep for each full ring (throttle_us_per_full). */
  #sleepPerRing = 0;
  #sleepLeft = 0;
  #periodLeft = 0;
  #periodPages = 0;
  #fastest = 0;
  /** Time of its own that the program lags behind its pace. */
  #lag = 0;

  constructor(memory: MigratingMemory, options: DirtyLimitOptions) {
    this.#memory = memory;
    this.#options = options;
    this.resident = memory.resident;
  }

  get pageCount(): number {
    return this.#memory.pageCount;
  }

  get cpuShare(): number {
    return this.#memory.cpuShare;
  }

  /** Share of the time that the guest sleeps for a full ring, in percent, if it fills as fast as it ever did. */
  get sleepPercent(): number {
    if (this.#sleepPerRing === 0) return 0;
    return Math.round((100 * this.#sleepPerRing) / (this.#sleepPerRing + this.#ringFullMicroseconds()));
  }

  /** Puts the limit in force. Measuring begins, so that the first sleep comes after a period. */
  begin(): void {
    if (this.#active) return;
    this.#active = true;
    this.#periodLeft = this.#options.vcpuDirtyLimitPeriodMicroseconds;
    this.#takeDirty();
    this.#ring.clear();
    this.#periodPages = 0;
  }

  /** Lifts the limit: it ends with the guest at the source. */
  end(): void {
    this.#active = false;
    this.#sleepPerRing = 0;
  }

  run(microseconds: number): void {
    if (!this.#active) {
      this.#memory.run(microseconds);
      this.dirty.absorb(this.#memory.dirty);
      return;
    }
    for (let left = microseconds; left > 0; ) {
      const step = Math.min(left, this.#periodLeft, this.#sleepLeft || this.#slice());
      if (this.#sleepLeft > 0) this.#sleep(step);
      else this.#runFor(step);
      left -= step;
      this.#periodLeft -= step;
      if (this.#periodLeft <= 0) this.#measure();
    }
  }

  isZero(page: number): boolean {
    return this.#memory.isZero(page);
  }

  zerosAmong(word: number, pages: number): number {
    return zerosAmong(this.#memory, word, pages);
  }

  compressedShare(page: number): number {
    return this.#memory.compressedShare(page);
  }

  countStores(): void {
    this.#memory.countStores();
  }

  storesOf(page: number): number {
    return this.#memory.storesOf(page);
  }

  differenceBytes(page: number, stores: number): number {
    return this.#memory.differenceBytes(page, stores);
  }

  #sleep(microseconds: number): void {
    this.#sleepLeft -= microseconds;
    this.sleptMicroseconds += microseconds;
    // A program with a pace of its own makes up for it as far as its processor allows.
    if (this.cpuShare < 1) this.#lag += microseconds;
  }

  #runFor(microseconds: number): void {
    const caughtUp = this.cpuShare < 1 ? Math.min(this.#lag, microseconds * (1 / this.cpuShare - 1)) : 0;
    this.#lag -= caughtUp;
    this.#memory.run(microseconds + caughtUp);
    this.#takeDirty();
    if (this.#ring.count < this.#options.dirtyRingPages) return;
    this.#emptyRing();
    this.#sleepLeft = this.#sleepPerRing;
  }

  /** A page dirtied again since the ring was emptied takes no second place in it. */
  #takeDirty(): void {
    const { dirty } = this.#memory;
    for (let word = dirty.nextWord(0); word >= 0; word = dirty.nextWord(word + 1)) {
      const pages = dirty.word(word);
      this.#ring.addToWord(word, pages);
      this.dirty.addToWord(word, pages);
    }
    dirty.clear();
  }

  #emptyRing(): void {
    this.#periodPages += this.#ring.count;
    this.#ring.clear();
  }

  /** dirtylimit_set_throttle: rates are whole MiB a second, and so is what is corrected by them. */
  #measure(): void {
    const { vcpuDirtyLimit: quota, vcpuDirtyLimitPeriodMicroseconds: period } = this.#options;
    this.#periodLeft = period;
    this.#emptyRing();
    const rate = Math.floor((this.#periodPages * PAGE_SIZE * 1e6) / MEBIBYTE / period);
    this.#periodPages = 0;
    if (Math.abs(rate - quota) <= TOLERANCE_MEBIBYTES_PER_SECOND) return;
    if (rate === 0) {
      this.#sleepPerRing = 0;
      return;
    }
    this.#fastest = Math.max(this.#fastest, rate);
    const ringFull = this.#ringFullMicroseconds();
    const larger = Math.max(rate, quota);
    const apart = Math.abs(rate - quota);
    let correction = ringFull / 10;
    if (Math.floor((apart * 100) / larger) > LINEAR_ADJUSTMENT_PERCENT) {
      const percent = Math.floor((apart * 100) / larger);
      correction = (ringFull * percent) / (100 - percent);
    }
    const changed = this.#sleepPerRing + (rate > quota ? correction : -correction);
    this.#sleepPerRing = Math.max(0, Math.min(changed, ringFull * MAX_SLEEPS_PER_RING));
  }

  /** How long filling the ring takes at the highest rate that was ever measured. */
  #ringFullMicroseconds(): number {
    return (this.#options.dirtyRingPages * PAGE_SIZE * 1e6) / MEBIBYTE / Math.max(1, this.#fastest);
  }

  #slice(): number {
    const wanted = this.#ringFullMicroseconds() / SLICES_PER_RING;
    return Math.max(SHORTEST_SLICE_MICROSECONDS, Math.min(LONGEST_SLICE_MICROSECONDS, wanted));
  }
}
