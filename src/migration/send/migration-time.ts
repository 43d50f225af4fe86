import { setTimeout as delay } from 'node:timers/promises';
import { type MonotonicClock, machineClock } from '../../core/index.ts';
import type { Target } from '../../target/index.ts';

/** The clock that a migration goes by; its zero is the command to migrate. Microseconds. */
export interface MigrationTime {
  now(): number;
  /** Resolves at an instant; at once if it has passed. @throws the signal's reason if it is aborted meanwhile */
  waitUntil(microseconds: number, signal: AbortSignal | undefined): Promise<void>;
  /** Bytes have been handed to the way to the destination. */
  sent(bytes: number): void;
  /** Has the target, if its time passes only when it is told to, reach this clock's time. */
  follow(target: Target, signal: AbortSignal | undefined): Promise<void>;
}

/**
 * Time as it passes. A live target needs nothing; a simulated one runs, after the fact, for as long as what was just
 * done took. The time that simulating it takes is no time of the migration.
 */
export class RealTime implements MigrationTime {
  readonly #clock: MonotonicClock;
  readonly #begun: number;
  #notCounted = 0;
  #followed = 0;

  constructor(clock: MonotonicClock = machineClock) {
    this.#clock = clock;
    this.#begun = clock();
  }

  now(): number {
    return this.#clock() - this.#begun - this.#notCounted;
  }

  async waitUntil(microseconds: number, signal: AbortSignal | undefined): Promise<void> {
    const left = microseconds - this.now();
    if (left <= 0) return;
    try {
      await delay(left / 1000, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    }
  }

  sent(): void {
    // Whatever it took has passed.
  }

  async follow(target: Target, signal: AbortSignal | undefined): Promise<void> {
    if (target.identity.kind === 'live') return;
    const now = this.now();
    const began = this.#clock();
    await target.run(Math.max(0, Math.floor(now - this.#followed)), signal);
    this.#followed = now;
    this.#notCounted += this.#clock() - began;
  }
}

/**
 * Time that passes with the bytes that are sent, as over a link of a given bandwidth, however long that takes in truth:
 * the same migration of a simulated target takes the same course everywhere.
 */
export class ModelledTime implements MigrationTime {
  readonly #bytesPerSecond: number;
  #now = 0;
  #followed = 0;

  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  now(): number {
    return this.#now;
  }

  waitUntil(microseconds: number, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    this.#now = Math.max(this.#now, microseconds);
    return Promise.resolve();
  }

  sent(bytes: number): void {
    this.#now += (bytes / this.#bytesPerSecond) * 1e6;
  }

  async follow(target: Target, signal: AbortSignal | undefined): Promise<void> {
    const due = Math.floor(this.#now - this.#followed);
    if (due <= 0) return;
    this.#followed += due;
    await target.run(due, signal);
  }
}
