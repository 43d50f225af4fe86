import { describe, expect, it } from 'vitest';
import {
  formatBandwidth,
  formatBytes,
  formatCount,
  formatDuration,
  parseBandwidth,
  parseBytes,
  parseDurationMicroseconds,
  UsageError,
} from '../../src/core/index.ts';

describe('sizes', () => {
  it.each([
    ['0', 0],
    ['4096', 4096],
    ['64K', 65536],
    ['64KiB', 65536],
    ['64 kb', 65536],
    ['1.5GiB', 1610612736],
    ['1TiB', 2 ** 40],
    ['12B', 12],
  ])('parse %s', (text, bytes) => expect(parseBytes(text)).toBe(bytes));

  it.each(['', 'x', '-1', '1.5.2', '1 XiB', 'KiB', '99999999P'])('refuse %s', (text) =>
    expect(() => parseBytes(text, '--size')).toThrow(UsageError),
  );

  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1536, '1.5 KiB'],
    [500 * 2 ** 20, '500 MiB'],
    [2 ** 40, '1.0 TiB'],
  ])('format %d', (bytes, text) => expect(formatBytes(bytes)).toBe(text));
});

describe('bandwidths', () => {
  it.each([
    ['1Gbit/s', 125_000_000],
    ['268 Mbit/s', 33_500_000],
    ['2.5Gbit/s', 312_500_000],
    ['32MiB/s', 33_554_432],
    ['100 kB/s', 102_400],
    ['8bit/s', 1],
  ])('parse %s', (text, bytesPerSecond) => expect(parseBandwidth(text)).toBe(bytesPerSecond));

  it.each(['', '1G', '0Gbit/s', '0MiB/s', '-1Gbit/s', '1 Gbit', '1Gbit/min'])('refuse %j', (text) =>
    expect(() => parseBandwidth(text, '--bandwidth')).toThrow("--bandwidth '"),
  );

  it.each([
    [125_000_000, '1.0 Gbit/s'],
    [33_500_000, '268 Mbit/s'],
    [1000, '8.0 kbit/s'],
  ])('format %d', (bytesPerSecond, text) => expect(formatBandwidth(bytesPerSecond)).toBe(text));
});

describe('durations', () => {
  it.each([
    ['250us', 250],
    ['500ms', 500_000],
    ['1.5s', 1_500_000],
    ['2m', 120_000_000],
    ['1h', 3_600_000_000],
  ])('parse %s', (text, microseconds) => expect(parseDurationMicroseconds(text)).toBe(microseconds));

  it.each(['', '5', '5 parsecs', '-1s', '1s2ms'])('refuse %j', (text) =>
    expect(() => parseDurationMicroseconds(text, '--wait')).toThrow("--wait '"),
  );

  it.each([
    [12, '12 us'],
    [12_400, '12.4 ms'],
    [340_000, '340 ms'],
    [1_234_000, '1.23 s'],
    [61_500_000, '61.5 s'],
    [150_000_000, '2 min 30 s'],
    [9_000_000_000, '2 h 30 min'],
  ])('format %d', (microseconds, text) => expect(formatDuration(microseconds)).toBe(text));
});

it('counts are grouped by thousands', () => expect(formatCount(1234567)).toBe('1,234,567'));
