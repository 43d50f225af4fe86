import type { MigrationTime } from './migration-time.ts';

/** Length of a window, as QEMU's (BUFFER_DELAY of migration/migration.c). */
export const WINDOW_MICROSECONDS = 100_000;

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

/** What a link carries, by windows: the bytes that have arrived in the last full one. */
export class BandwidthMeter {
  readonly #time: MigrationTime;
  #windowStart: number;
  #windowBytes: number;
  #bytesPerSecond = 0;

  constructor(time: MigrationTime, arrivedBytes: number) {
    this.#time = time;
    this.#windowStart = time.now();
    this.#windowBytes = arrivedBytes;
  }

  /** 0 until a window is over. */
  get bytesPerSecond(): number {
    return this.#bytesPerSecond;
  }

  /** Nothing was sent for a while: that says nothing of what the link carries. */
  restart(bytes: number): void {
    this.#windowStart = this.#time.now();
    this.#windowBytes = bytes;
  }

  /** So much has arrived in all. */
  arrived(bytes: number): void {
    const now = this.#time.now();
    const elapsed = now - this.#windowStart;
    if (elapsed < WINDOW_MICROSECONDS) return;
    this.#bytesPerSecond = ((bytes - this.#windowBytes) / elapsed) * 1e6;
    this.#windowStart = now;
    this.#windowBytes = bytes;
  }
}
