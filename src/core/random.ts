/**
 * A small deterministic generator (xoshiro128**, Blackman and Vigna 2018) whose whole state is four 32-bit words,
 * so that a simulated run can be cut anywhere and continued to the same numbers.
 */
export class Random {
  readonly #state = new Uint32Array(4);

  /** Seeds the state from any integer through splitmix32, so that near seeds give unrelated streams. */
  constructor(seed: number) {
    let mixed = seed >>> 0 || 0x9e3779b9;
    for (let index = 0; index < 4; index++) {
      mixed = (mixed + 0x9e3779b9) >>> 0;
      this.#state[index] = mix32(mixed ^ Math.floor(seed / 2 ** 32));
    }
  }

  /** Uniform 32-bit unsigned integer. */
  nextUint32(): number {
    const state = this.#state;
    const scrambled = Math.imul(rotateLeft(Math.imul(state[1]!, 5), 7), 9) >>> 0;
    const shifted = state[1]! << 9;
    state[2]! ^= state[0]!;
    state[3]! ^= state[1]!;
    state[1]! ^= state[2]!;
    state[0]! ^= state[3]!;
    state[2]! ^= shifted;
    state[3] = rotateLeft(state[3]!, 11);
    return scrambled;
  }

  /** Uniform number in [0, 1) with 32 bits of resolution. */
  nextFraction(): number {
    return this.nextUint32() / 4294967296;
  }

  /** Uniform integer in [0, limit). `limit` may be as large as 2^52. */
  nextBelow(limit: number): number {
    if (limit <= 4294967296) return Math.floor((this.nextUint32() / 4294967296) * limit);
    const wide = this.nextUint32() * 1048576 + (this.nextUint32() >>> 12);
    return Math.floor((wide / 2 ** 52) * limit);
  }

  /** The four state words, for a checkpoint. */
  save(): readonly number[] {
    return [...this.#state];
  }

  /** A generator that goes on where `save` was called. */
  static restore(state: readonly number[]): Random {
    const random = new Random(0);
    random.#state.set(state);
    return random;
  }
}

/** Finalizer of MurmurHash3: spreads every input bit over all output bits. */
export function mix32(value: number): number {
  let mixed = value >>> 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

function rotateLeft(value: number, bits: number): number {
  return ((value << bits) | (value >>> (32 - bits))) >>> 0;
}
