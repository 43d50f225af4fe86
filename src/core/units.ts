import { UsageError } from './errors.ts';

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** `1.5 MiB`: a byte count for people. Memory is counted in powers of 1024. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${BYTE_UNITS[unit]}`;
}

/**
 * Bytes from human text: `4096`, `64K`, `1.5GiB`, `2 MB`. K, M, G, T are powers of 1024 with or without `iB`/`B`.
 * @throws UsageError naming `what` if the text is not a size.
 */
export function parseBytes(text: string, what = 'size'): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*(?:([KMGTP])(?:iB|B)?|B)?\s*$/i.exec(text);
  if (match === null) {
    throw new UsageError(`${what} '${text}' is not a size`, { hint: 'write it like 4096, 64KiB or 1.5GiB' });
  }
  const exponent = match[2] === undefined ? 0 : 'KMGTP'.indexOf(match[2].toUpperCase()) + 1;
  const bytes = Number(match[1]) * 1024 ** exponent;
  if (!Number.isSafeInteger(Math.round(bytes))) {
    throw new UsageError(`${what} '${text}' is too large`, { hint: 'the largest size is 8PiB' });
  }
  return Math.round(bytes);
}

const BIT_UNITS: Readonly<Record<string, number>> = { '': 1, k: 1e3, K: 1e3, M: 1e6, G: 1e9, T: 1e12 };

/**
 * Bytes a second from `1Gbit/s`, `268Mbit/s`, `32MiB/s`. Bits are counted in powers of 1000, bytes in powers of 1024.
 * @throws UsageError naming `what` if the text is not a bandwidth, or is zero.
 */
export function parseBandwidth(text: string, what = 'bandwidth'): number {
  const bits = /^\s*(\d+(?:\.\d+)?)\s*([kKMGT]?)bit\/s\s*$/.exec(text);
  const bytes = /^\s*(\d+(?:\.\d+)?\s*[KMGTP]?(?:iB|B))\/s\s*$/i.exec(text);
  const rate =
    bits !== null
      ? (Number(bits[1]) * BIT_UNITS[bits[2]!]!) / 8
      : bytes !== null
        ? parseBytes(bytes[1]!, what)
        : Number.NaN;
  if (rate > 0) return rate;
  throw new UsageError(
    rate === 0 ? `${what} '${text}' carries nothing` : `${what} '${text}' is not a bandwidth`,
    { hint: 'write it like 1Gbit/s, 500Mbit/s or 32MiB/s' },
  );
}

/** `1.5 Gbit/s`: a bandwidth for people. */
export function formatBandwidth(bytesPerSecond: number): string {
  const bits = bytesPerSecond * 8;
  const [unit, factor] = bits >= 1e9 ? ['Gbit/s', 1e9] : bits >= 1e6 ? ['Mbit/s', 1e6] : ['kbit/s', 1e3];
  const value = bits / factor;
  return `${value >= 100 ? Math.round(value) : value.toFixed(1)} ${unit}`;
}

const DURATION_UNITS: Readonly<Record<string, number>> = {
  ns: 1e-3,
  us: 1,
  µs: 1,
  ms: 1e3,
  s: 1e6,
  m: 60e6,
  min: 60e6,
  h: 3600e6,
};

/**
 * Microseconds from human text: `500ms`, `1.5s`, `2m`, `250us`.
 * @throws UsageError naming `what` if the text is not a duration with a unit.
 */
export function parseDurationMicroseconds(text: string, what = 'duration'): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|s|min|m|h)\s*$/.exec(text);
  if (match === null) {
    throw new UsageError(`${what} '${text}' is not a duration`, {
      hint: 'write it like 250us, 500ms, 1.5s or 2m',
    });
  }
  return Math.round(Number(match[1]) * DURATION_UNITS[match[2]!]!);
}

/** `12.4 ms`: a duration for people. */
export function formatDuration(microseconds: number): string {
  if (microseconds < 1000) return `${Math.round(microseconds)} us`;
  if (microseconds < 1e6) return `${(microseconds / 1e3).toFixed(microseconds < 1e5 ? 1 : 0)} ms`;
  if (microseconds < 120e6) return `${(microseconds / 1e6).toFixed(microseconds < 10e6 ? 2 : 1)} s`;
  const seconds = Math.round(microseconds / 1e6);
  return seconds < 7200
    ? `${Math.floor(seconds / 60)} min ${seconds % 60} s`
    : `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/** `1,234,567`: a count for people. */
export function formatCount(count: number): string {
  return Math.round(count).toLocaleString('en-US');
}
