import { UsageError } from '../core/index.ts';

const RATE_PERIOD_SECONDS: Readonly<Record<string, number>> = { ms: 1e-3, s: 1, min: 60, h: 3600 };
const RATE_MULTIPLE: Readonly<Record<string, number>> = { k: 1e3, M: 1e6 };

/** The highest rate that is simulated: one page write a nanosecond. */
export const HIGHEST_RATE_PER_SECOND = 1e9;

/**
 * Times per second from `5000/s`, `20k/s`, `1.5M/s`, `30/min`.
 * @throws UsageError if the text is not a rate, is zero, or is above one a nanosecond.
 */
export function parseRate(text: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([kM])?\s*\/\s*(ms|s|min|h)\s*$/.exec(text);
  if (match === null) {
    throw new UsageError(`rate '${text}' is not a rate`, { hint: 'write it like 5000/s, 20k/s or 30/min' });
  }
  const multiple = match[2] === undefined ? 1 : RATE_MULTIPLE[match[2]]!;
  const perSecond = (Number(match[1]) * multiple) / RATE_PERIOD_SECONDS[match[3]!]!;
  if (perSecond > 0 && perSecond <= HIGHEST_RATE_PER_SECOND) return perSecond;
  throw new UsageError(`rate '${text}' is out of range`, { hint: 'rates are above 0 and at most 1000M/s' });
}

/**
 * A share between 0 and 1 from `60%` or `0.6`.
 * @throws UsageError if the text is neither, or outside that range.
 */
export function parseShare(text: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*(%)?\s*$/.exec(text);
  const value = match === null ? Number.NaN : Number(match[1]) / (match[2] === undefined ? 1 : 100);
  if (value >= 0 && value <= 1) return value;
  throw new UsageError(`share '${text}' is not a share`, { hint: 'write it like 60% or 0.6' });
}
