import { formatBytes, formatDuration } from '../../core/index.ts';

/** A place on an axis, as a share of its length, with what is written there. */
export interface Tick {
  readonly share: number;
  readonly label: string;
}

/** Where values lie on an axis. */
export interface Scale {
  /** Share of the axis' length, 0 to 1. */
  readonly shareOf: (value: number) => number;
  readonly ticks: readonly Tick[];
}

const MINUTE = 60e6;
/** Steps of time that people count in, microseconds. */
const DURATION_STEPS: readonly number[] = [
  ...[1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7].flatMap((power) => [power, 2 * power, 5 * power]),
  ...[1, 2, 5, 10, 20, 30, 60, 120, 180, 360, 720, 1440].map((minutes) => minutes * MINUTE),
]
  .filter((step) => step < 20e6 || step === 20e6 || step === 30e6 || step >= MINUTE)
  .sort((left, right) => left - right);

/** Powers of two, so that ticks are round in every unit. */
const BYTE_STEPS: readonly number[] = Array.from({ length: 60 }, (_, power) => 2 ** power);

/** Time from 0 to `end`, both at the very ends of the axis. */
export function timeScale(end: number, ticks = 8): Scale {
  return linear(end, stepFor(end, DURATION_STEPS, ticks), (value) =>
    value === 0 ? '0' : short(formatDuration(value)),
  );
}

/** Bytes from 0 to the next step above `most`. */
export function byteScale(most: number, suffix = '', ticks = 5): Scale {
  const step = stepFor(Math.max(most, 1), BYTE_STEPS, ticks);
  const end = Math.max(1, Math.ceil(most / step)) * step;
  return linear(end, step, (value) => (value === 0 ? '0' : `${short(formatBytes(value))}${suffix}`));
}

/** Times of which each is some factor above the one before; both ends are values. */
export function logarithmicTimeScale(values: readonly number[]): Scale {
  const [low, high] = [values[0] ?? 1, values.at(-1) ?? 1];
  const span = Math.log(high / low);
  const shareOf = (value: number) => (span > 0 ? Math.log(value / low) / span : 0.5);
  return {
    shareOf,
    ticks: values.map((value) => ({ share: shareOf(value), label: short(formatDuration(value)) })),
  };
}

function linear(end: number, step: number, format: (value: number) => string): Scale {
  const shareOf = (value: number) => (end > 0 ? Math.min(1, Math.max(0, value / end)) : 0);
  const ticks: Tick[] = [];
  for (let index = 0; index * step <= end; index++) {
    ticks.push({ share: shareOf(index * step), label: format(index * step) });
  }
  return { shareOf, ticks };
}

/** The smallest step with which an axis has at most so many. */
function stepFor(end: number, steps: readonly number[], most: number): number {
  const fitting = steps.find((step) => end / step <= most);
  if (fitting !== undefined) return fitting;
  const largest = steps.at(-1)!;
  return largest * Math.ceil(end / largest / most);
}

/** Without decimals, seconds and minutes that say nothing. */
function short(text: string): string {
  return text.replace(/\.0+(?= )/, '').replace(/^(\d+ (?:min|h)) 0 (?:s|min)$/, '$1');
}
