import type { MigratingMemory } from './memory.ts';

/** How a program is slowed: it runs for a slice of every period and sleeps for the rest. */
export interface Throttling {
  readonly periodMicroseconds: number;
  readonly sliceMicroseconds: number;
}

/** The program that migrates, on the clock of the migration: it runs, is slowed, and stops. */
export class Guest {
  readonly memory: MigratingMemory;
  /** Time that it lost by having less of the processor than it needs. */
  throttledMicroseconds = 0;
  readonly #pace: number;
  #now = 0;
  #throttling: Throttling | undefined;
  #throttledSince = 0;
  #running = true;

  /** @param pace how much faster the program runs than it was seen to. */
  constructor(memory: MigratingMemory, pace = 1) {
    this.memory = memory;
    this.#pace = pace;
  }

  /** Where the program has got to. */
  get now(): number {
    return this.#now;
  }

  /** Lets the program reach an instant of the migration. */
  advance(now: number): void {
    const elapsed = now - this.#now;
    if (elapsed <= 0) return;
    const progress = this.#progressAt(now) - this.#progressAt(this.#now);
    this.#now = now;
    if (!this.#running) return;
    this.throttledMicroseconds += elapsed - progress;
    this.memory.run(progress * this.#pace);
  }

  /**
   * Slows the program from now on, or lets it run freely again. One that needs less of the processor than is left to
   * it catches up in its slices, and keeps its pace; one that writes as fast as it can falls behind.
   */
  throttle(throttling: Throttling | undefined, now: number): void {
    if (throttling?.periodMicroseconds === this.#throttling?.periodMicroseconds) return;
    this.advance(now);
    this.#throttling = throttling;
    this.#throttledSince = now;
  }

  stop(now: number): void {
    this.advance(now);
    this.#running = false;
  }

  resume(now: number): void {
    this.advance(now);
    this.#running = true;
  }

  /** How far the program gets by an instant, in time of its own since it was throttled. */
  #progressAt(now: number): number {
    const elapsed = now - this.#throttledSince;
    if (this.#throttling === undefined || elapsed <= 0) return elapsed;
    const { periodMicroseconds: period, sliceMicroseconds: slice } = this.#throttling;
    const needed = this.memory.cpuShare;
    const share = slice / period;
    const whole = Math.floor(elapsed / period) * period;
    const inSlice = Math.min(elapsed - whole, slice);
    // What was missed in a sleep is made up for at once; who cannot do that works through the whole slice.
    return needed <= share ? whole + inSlice : (whole + (inSlice / slice) * period) * (share / needed);
  }
}
