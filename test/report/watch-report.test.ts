import { describe, expect, it } from 'vitest';
import type { WatchSample, WatchStart } from '../../src/migration/index.ts';
import {
  ASCII_INK,
  BLOCK_INK,
  formatWatchHeading,
  formatWatchLine,
  formatWatchSummary,
  formatWatchView,
  watchSampleJson,
} from '../../src/report/index.ts';

const start: WatchStart = {
  target: '4711 (redis\x1b[2Jserver)',
  kind: 'live',
  tracker: 'soft-dirty',
  pageSize: 4096,
  intervalMicroseconds: 1_000_000,
  clock: 'monotonic',
  trackerReason: 'soft-dirty works',
  processes: 2,
  residentPages: 1000,
  zeroPages: 3,
  frozenMicroseconds: 4000,
};

const mapping = {
  startPage: 0x7f00,
  endPage: 0x7f10,
  read: true,
  write: true,
  execute: false,
  shared: false,
  offsetPages: 0,
  deviceMajor: 0,
  deviceMinor: 0,
  inode: 0,
  pathname: '[heap]',
};

const content = { measuredPages: 4, compressedBytes: 1024, differenceBytes: 100 };
const window = { windows: 4, leastPages: 10, mostPages: 30 };
const sample: WatchSample = {
  interval: 4,
  atMicroseconds: 4_000_000,
  lengthMicroseconds: 1_000_000,
  frozenMicroseconds: 2500,
  processes: 2,
  residentPages: 1000,
  dirtyPages: 256,
  dirtyBytes: 1_048_576,
  dirtyBytesPerSecond: 1_048_576,
  gonePages: 0,
  content: { measuredPages: 0, compressedBytes: undefined, differenceBytes: undefined },
  totalContent: content,
  workingSet: [
    { ...window, intervals: 1, microseconds: 1_000_000, meanPages: 20 },
    { intervals: 2, microseconds: 2_000_000, windows: 1, meanPages: 40, leastPages: 40, mostPages: 40 },
  ],
  mappings: [{ pid: 12, mapping, dirtyPages: 256, totalDirtyPages: 500, distinctPages: 300, content }],
  total: {
    dirtyPages: 500,
    distinctPages: 300,
    dirtyBytesPerSecond: 512_000,
    meanFrozenMicroseconds: 2000,
    longestFrozenMicroseconds: 3000,
  },
};

describe('what a watch shows', () => {
  it('fills a screen and no more, and lets nothing through that moves its cursor', () => {
    const view = { start, sample, history: [0, 128, 256], ink: BLOCK_INK };
    const lines = formatWatchView(view, 80, 24);
    const text = lines.join('\n');
    expect(text).not.toContain('\x1b');
    expect(text).toContain('256 pages, 1.0 MiB, 1.0 MiB/s');
    expect(text).toContain('2.5 ms for this scan, 2.0 ms on average, 3.0 ms at most');
    expect(text).toContain(' ▄█ up to 256 an interval');
    expect(text).toMatch(/1\.00 s {5}20 {2}80\.0 KiB {2}10\.\.30 {2}█{12}\n/);
    expect(text).toContain('12 0x7f00000 rw-p [heap]');
    expect(formatWatchView(view, 80, 6)).toHaveLength(6);
    expect(formatWatchView({ ...view, sample: undefined }, 80, 24).join('\n')).toContain('soft-dirty works');
  });

  it('draws with ASCII where nothing else is known', () => {
    const view = { start, sample, history: [0, 128, 256], ink: ASCII_INK };
    expect(formatWatchView(view, 80, 24).join('\n')).toMatch(/^[\n -~]*$/);
  });

  it('keeps lines in columns, with a dash for what is not known', () => {
    const line = formatWatchLine(sample);
    expect(line).toHaveLength(formatWatchHeading().length);
    expect(line.trim().split(/ {2,}/)).toEqual([
      '4.00 s',
      '256',
      '1.0 MiB',
      '1.0 MiB/s',
      '2.5 ms',
      '-',
      '-',
      '1.2 MiB',
    ]);
  });

  it('sums up, also a watch that saw nothing', () => {
    const summary = formatWatchSummary({ start, sample, history: [], ink: ASCII_INK });
    expect(summary).toContain('4.00 s in 4 intervals');
    expect(summary).toContain('of a written page: compressed to 25 %, 100 B really changed (4 measured)');
    expect(formatWatchSummary({ start, sample: undefined, history: [], ink: ASCII_INK })).toContain('ended');
  });

  it('gives addresses as text in JSON', () => {
    expect(JSON.parse(JSON.stringify(watchSampleJson(sample)))).toMatchObject({
      dirtyPages: 256,
      mappings: [{ pid: 12, start: '0x7f00000', end: '0x7f10000', permissions: 'rw-p', pathname: '[heap]' }],
    });
  });
});
