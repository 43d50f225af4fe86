/**
 * A fixed number of equal buffers in shared memory, lent out one by one. A pipeline that takes every block from here
 * is bounded in memory: whoever reads waits in `take` until whoever writes has given a buffer back.
 */
export class SharedBuffers {
  readonly #idle: Uint8Array[];
  readonly #waiting: ((buffer: Uint8Array) => void)[] = [];
  readonly #all: ReadonlySet<Uint8Array>;

  constructor(count: number, bytesEach: number) {
    this.#idle = Array.from({ length: count }, () => new Uint8Array(new SharedArrayBuffer(bytesEach)));
    this.#all = new Set(this.#idle);
  }

  /** Buffers that nobody has taken. */
  get idleCount(): number {
    return this.#idle.length;
  }

  /** A buffer with whatever its last user left in it; waits, first come first served, if all are taken. */
  async take(): Promise<Uint8Array> {
    const buffer = this.#idle.pop();
    return buffer ?? new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** @throws RangeError if the buffer is not one of these, or was given back before. */
  give(buffer: Uint8Array): void {
    if (!this.#all.has(buffer) || this.#idle.includes(buffer)) {
      throw new RangeError('a buffer was given back that is not taken');
    }
    const next = this.#waiting.shift();
    if (next === undefined) this.#idle.push(buffer);
    else next(buffer);
  }
}
