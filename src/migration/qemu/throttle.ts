import { PAGE_SIZE } from '../../core/index.ts';
import type { Throttling } from '../guest.ts';
import type { QemuOptions } from './options.ts';

/** A throttled vCPU runs so long between two sleeps (CPU_THROTTLE_TIMESLICE_NS of system/cpu-throttle.c). */
const SLICE_MICROSECONDS = 10_000;
/** A sleep ends so much late: it is rounded up to milliseconds and the vCPU has to be woken. */
const LATE_MICROSECONDS = 900;
/** The rule is evaluated at most so often. */
const PERIOD_MICROSECONDS = 1_000_000;

/**
 * Auto-converge (migration_trigger_throttle of migration/ram.c): when the pages dirtied in a period are more than a
 * share of the bytes sent in it, for the second time, the vCPUs are slowed, then slowed more. The same rule puts the
 * dirty page limit in force, where that is asked for instead.
 */
export class AutoConverge {
  readonly #options: QemuOptions;
  readonly #limit: { begin(): void } | undefined;
  #percent = 0;
  #bad = 0;
  #periodStart = 0;
  #periodPages = 0;
  #periodSentBytes = 0;

  constructor(options: QemuOptions, limit?: { begin(): void }) {
    this.#options = options;
    this.#limit = limit;
  }

  /** The share of its time that each vCPU sleeps, as QEMU names it. */
  get percent(): number {
    return this.#percent;
  }

  /** How the vCPUs are slowed now. */
  get throttling(): Throttling | undefined {
    if (this.#percent === 0) return undefined;
    return {
      periodMicroseconds: SLICE_MICROSECONDS / (1 - this.#percent / 100),
      sliceMicroseconds: SLICE_MICROSECONDS - LATE_MICROSECONDS,
    };
  }

  /** A sync has found `pages` newly dirty pages. */
  synced(now: number, pages: number, sentBytes: number): void {
    this.#periodPages += pages;
    if (this.#periodStart === 0) this.#periodStart = now;
    if (now <= this.#periodStart + PERIOD_MICROSECONDS) return;
    const dirtied = this.#periodPages * PAGE_SIZE;
    const limit = ((sentBytes - this.#periodSentBytes) * this.#options.throttleTriggerThreshold) / 100;
    if (dirtied > limit && ++this.#bad >= 2) {
      this.#bad = 0;
      if (this.#options.autoConverge) this.#raise(dirtied, limit);
      this.#limit?.begin();
    }
    this.#periodStart = now;
    this.#periodPages = 0;
    this.#periodSentBytes = sentBytes;
  }

  #raise(dirtied: number, limit: number): void {
    const { cpuThrottleInitial, cpuThrottleIncrement, cpuThrottleTailslow, maxCpuThrottle } = this.#options;
    if (this.#percent === 0) {
      this.#percent = cpuThrottleInitial;
      return;
    }
    let increment = cpuThrottleIncrement;
    if (cpuThrottleTailslow) {
      const left = 100 - this.#percent;
      increment = Math.min(increment, left - Math.floor((left * limit) / dirtied));
    }
    this.#percent = Math.min(this.#percent + increment, maxCpuThrottle);
  }
}
