import type { MigrationTime } from './migration-time.ts';
import { MOST_UNDER_WAY_BYTES, WINDOW_MICROSECONDS } from './sending-constants.ts';

/** With so much on its way it is the link that is waited for, and not either of the programs. */
const FULL_LINK_BYTES = MOST_UNDER_WAY_BYTES / 2;

/**
 * Keeps to a rate by windows: what may be sent in a window is sent as fast as the link takes it, then it is waited for
 * the next one. What one window sends too much is taken from the next, so that the rate holds over any longer time.
 */
export class Pacer {
  readonly #time: MigrationTime;
  #windowStart: number;
  #usedBytes = 0;

  constructor(time: MigrationTime) {
    this.#time = time;
    this.#windowStart = time.now();
  }

  /** Waits, if need be, until something may be sent at this rate. */
  async admit(bytesPerSecond: number, signal: AbortSignal | undefined): Promise<void> {
    if (!Number.isFinite(bytesPerSecond)) return;
    const budget = (bytesPerSecond * WINDOW_MICROSECONDS) / 1e6;
    this.#turn(budget);
    while (this.#usedBytes >= budget) {
      await this.#time.waitUntil(this.#windowStart + WINDOW_MICROSECONDS, signal);
      this.#turn(budget);
    }
  }

  /** So much has been sent. */
  used(bytes: number): void {
    this.#usedBytes += bytes;
  }

  /** Opens the window of this instant. What was not sent in time is not made up for. */
  #turn(budget: number): void {
    const windows = Math.floor((this.#time.now() - this.#windowStart) / WINDOW_MICROSECONDS);
    if (windows <= 0) return;
    this.#windowStart += windows * WINDOW_MICROSECONDS;
    this.#usedBytes = Math.max(0, this.#usedBytes - windows * budget);
  }
}

/**
 * How fast memory gets to the destination, by windows of time in which it is sent. A page counts as what it holds, not as
 * what it was compressed to: that is what remains is compared with.
 */
export class BandwidthMeter {
  readonly #time: MigrationTime;
  #bytesPerSecond = 0;
  /** Time in which the link was never without work. */
  #full = { microseconds: 0, arrivedBytes: 0 };
  #busyMicroseconds = 0;
  #memoryBytes = 0;
  #sentBytes = 0;
  #arrivedBytes = 0;
  #last = { at: 0, sent: 0, arrived: 0 };

  constructor(time: MigrationTime) {
    this.#time = time;
  }

  /** Of the last window that is over, or of the time so far where none is yet; 0 before anything was sent. */
  get bytesPerSecond(): number {
    return this.#bytesPerSecond === 0 ? this.#soFar : this.#bytesPerSecond;
  }

  get #soFar(): number {
    if (this.#busyMicroseconds === 0) return 0;
    const arrivedShare = this.#sentBytes === 0 ? 1 : this.#arrivedBytes / this.#sentBytes;
    return (this.#memoryBytes * arrivedShare * 1e6) / this.#busyMicroseconds;
  }

  /** Bytes a second that the link carried while there was always something to carry; undefined if that never was. */
  get linkBytesPerSecond(): number | undefined {
    const { microseconds, arrivedBytes } = this.#full;
    return microseconds < WINDOW_MICROSECONDS ? undefined : (arrivedBytes * 1e6) / microseconds;
  }

  /** From now on something is sent, after a while in which nothing was. */
  resume(sentBytes: number, arrivedBytes: number): void {
    this.#last = { at: this.#time.now(), sent: sentBytes, arrived: arrivedBytes };
  }

  /** So much memory has been sent since the last call, and so many bytes were sent and have arrived in all. */
  add(memoryBytes: number, sentBytes: number, arrivedBytes: number): void {
    const { at, sent, arrived } = this.#last;
    this.resume(sentBytes, arrivedBytes);
    if (Math.min(sent - arrived, sentBytes - arrivedBytes) >= FULL_LINK_BYTES) {
      this.#full.microseconds += this.#last.at - at;
      this.#full.arrivedBytes += arrivedBytes - arrived;
    }
    this.#busyMicroseconds += this.#last.at - at;
    this.#memoryBytes += memoryBytes;
    this.#sentBytes += sentBytes - sent;
    this.#arrivedBytes += arrivedBytes - arrived;
    if (this.#busyMicroseconds < WINDOW_MICROSECONDS) return;
    this.#bytesPerSecond = this.#soFar;
    this.#busyMicroseconds = 0;
    this.#memoryBytes = 0;
    this.#sentBytes = 0;
    this.#arrivedBytes = 0;
  }
}
