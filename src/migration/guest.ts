import type { MigratingMemory } from './memory.ts';

/** The program that migrates, on the clock of the migration: it runs, is slowed, and stops. */
export class Guest {
  readonly memory: MigratingMemory;
  /** Time that it lost by having less of the processor than it needs. */
  throttledMicroseconds = 0;
  #now = 0;
  #speed = 1;
  #running = true;

  constructor(memory: MigratingMemory) {
    this.memory = memory;
  }

  get running(): boolean {
    return this.#running;
  }

  /** Lets the program reach an instant of the migration. */
  advance(now: number): void {
    const elapsed = now - this.#now;
    if (elapsed <= 0) return;
    this.#now = now;
    if (!this.#running) return;
    this.throttledMicroseconds += elapsed * (1 - this.#speed);
    this.memory.run(elapsed * this.#speed);
  }

  /**
   * Leaves the program a share of the processor from now on. One that needs less than that keeps its pace; one that
   * writes as fast as it can is slowed in proportion.
   */
  giveProcessor(share: number, now: number): void {
    this.advance(now);
    const needed = this.memory.cpuShare;
    this.#speed = needed === 0 ? 1 : Math.min(1, share / needed);
  }

  stop(now: number): void {
    this.advance(now);
    this.#running = false;
  }

  resume(now: number): void {
    this.advance(now);
    this.#running = true;
  }
}
