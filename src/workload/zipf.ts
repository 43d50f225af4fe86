import type { Random } from '../core/index.ts';

/** Ranks below this have a probability of their own; the ranks above share one in bins. */
const EXACT_RANKS = 64;
/** Bins an octave: inside a bin the true probabilities differ by less than theta / 32. */
const BINS_PER_OCTAVE = 32;
const GUIDE_BITS = 12;

/**
 * Draws ranks 0..n-1 with P(rank) proportional to 1 / (rank + 1)^theta, in constant time and memory for any n up to
 * 2^32. The first 64 ranks are exact; the others fall into bins of one 32nd of an octave, uniform inside. The inverse
 * of the cumulative distribution is found through a guide table (Chen and Asau 1974), with thresholds of 32 bits, so
 * that a draw costs no floating-point power and does not depend on the last bit of one.
 */
export class ZipfDistribution {
  readonly #starts: Float64Array;
  readonly #widths: Float64Array;
  readonly #thresholds: Float64Array;
  readonly #guide: Uint16Array;

  constructor(count: number, theta: number) {
    const starts = binStarts(count);
    const binCount = starts.length - 1;
    this.#starts = Float64Array.from(starts);
    this.#widths = new Float64Array(binCount);
    this.#thresholds = new Float64Array(binCount);
    let total = 0;
    for (let bin = 0; bin < binCount; bin++) {
      this.#widths[bin] = starts[bin + 1]! - starts[bin]!;
      total += mass(starts[bin]!, starts[bin + 1]!, theta);
      this.#thresholds[bin] = total;
    }
    for (let bin = 0; bin < binCount; bin++) {
      this.#thresholds[bin] = Math.round((this.#thresholds[bin]! / total) * 4294967296);
    }
    this.#guide = guideTable(this.#thresholds);
  }

  /** The next rank. */
  draw(random: Random): number {
    const uniform = random.nextUint32();
    const thresholds = this.#thresholds;
    let bin = this.#guide[uniform >>> (32 - GUIDE_BITS)]!;
    while (uniform >= thresholds[bin]!) bin++;
    const width = this.#widths[bin]!;
    return width === 1 ? this.#starts[bin]! : this.#starts[bin]! + random.nextBelow(width);
  }
}

/** Starts of the bins, and the count itself at the end. */
function binStarts(count: number): number[] {
  const starts: number[] = [];
  let start = 0;
  while (start < count) {
    starts.push(start);
    start +=
      start < EXACT_RANKS ? 1 : Math.max(1, Math.floor(2 ** Math.floor(Math.log2(start)) / BINS_PER_OCTAVE));
  }
  starts.push(count);
  return starts;
}

/** Sum of 1 / (rank + 1)^theta over a bin: exact where bins are single ranks, else by the midpoint integral. */
function mass(start: number, end: number, theta: number): number {
  if (end - start === 1) return (start + 1) ** -theta;
  // The integral of x^-theta from start + 1/2 to end + 1/2 replaces the sum; its error is below 1e-5 from rank 64 on.
  const from = start + 0.5;
  const to = end + 0.5;
  if (Math.abs(1 - theta) < 1e-9) return Math.log(to / from);
  return (to ** (1 - theta) - from ** (1 - theta)) / (1 - theta);
}

/** For each value of the top bits of a draw, the first bin that can be meant. */
function guideTable(thresholds: Float64Array): Uint16Array {
  const guide = new Uint16Array(1 << GUIDE_BITS);
  let bin = 0;
  for (let slot = 0; slot < guide.length; slot++) {
    const least = slot * 2 ** (32 - GUIDE_BITS);
    while (thresholds[bin]! <= least) bin++;
    guide[slot] = bin;
  }
  return guide;
}
