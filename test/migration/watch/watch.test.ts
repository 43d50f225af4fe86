import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type WatchRequest,
  type WatchSample,
  type WatchStart,
  watchTarget,
} from '../../../src/migration/index.ts';

/** One program writes a heap at random, its twin nothing at all; the heap loses a part of it later. */
const WORKLOAD = `
version: 1
name: two-programs
seed: 5
processes:
  - name: writer
    regions:
      heap: { size: 4MiB, resident: 2MiB, kind: anonymous, content: { kind: records } }
      log: { size: 1MiB, resident: 1MiB, kind: anonymous, content: { kind: records } }
    phases:
      - duration: 4s
        writes:
          - { region: heap, pattern: uniform, rate: 400/s, bytes: 32 }
          - { region: log, pattern: sequential, rate: 20/s, bytes: 4096 }
        events:
          - { at: 1500ms, do: madvise, advice: dontneed, region: heap, from: 0MiB, span: 1MiB }
  - name: idler
    regions:
      heap: { size: 1MiB, resident: 1MiB, kind: anonymous, content: { kind: zero } }
    phases:
      - duration: 4s
        writes: []
`;

let directory = '';
let target = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ckpt-watch-'));
  const file = join(directory, 'workload.yaml');
  writeFileSync(file, WORKLOAD);
  target = `sim:${file}`;
});
afterEach(() => rmSync(directory, { recursive: true }));

async function watch(request: Partial<WatchRequest>) {
  const samples: WatchSample[] = [];
  let start: WatchStart | undefined;
  const watching = watchTarget({
    target,
    intervalMicroseconds: 500_000,
    onStart: (told) => {
      start = told;
    },
    ...request,
  });
  let next = await watching.next();
  for (; next.done !== true; next = await watching.next()) samples.push(next.value);
  return { samples, start: start!, end: next.value };
}

describe('watching a simulated target', () => {
  it('tells of each interval what was written where, and what that comes to', async () => {
    const { samples, start, end } = await watch({ durationMicroseconds: 3_000_000 });
    expect(end).toBe('duration');
    expect(start).toMatchObject({ kind: 'simulated', clock: 'virtual', processes: 2, frozenMicroseconds: 0 });
    expect(start.zeroPages).toBeGreaterThanOrEqual(256);
    expect(samples.map(({ atMicroseconds }) => atMicroseconds)).toEqual(
      [1, 2, 3, 4, 5, 6].map((interval) => interval * 500_000),
    );
    for (const sample of samples) {
      expect(sample.lengthMicroseconds).toBe(500_000);
      expect(sample.dirtyBytes).toBe(sample.dirtyPages * 4096);
      expect(sample.dirtyBytesPerSecond).toBe(sample.dirtyBytes * 2);
      expect(sample.mappings.reduce((sum, { dirtyPages }) => sum + dirtyPages, 0)).toBe(sample.dirtyPages);
      // 200 writes to 1,024 pages, 10 to the log.
      expect(sample.dirtyPages).toBeGreaterThan(150);
      expect(sample.dirtyPages).toBeLessThanOrEqual(211);
      expect(sample.workingSet[0]!.meanPages).toBeGreaterThan(150);
    }
    const last = samples.at(-1)!;
    expect(last.total.dirtyPages).toBe(samples.reduce((sum, { dirtyPages }) => sum + dirtyPages, 0));
    expect(last.total.distinctPages).toBe(
      last.mappings.reduce((sum, { distinctPages }) => sum + distinctPages, 0),
    );
    expect(last.workingSet.map(({ intervals, windows }) => [intervals, windows])).toEqual([
      [1, 6],
      [2, 3],
      [4, 1],
    ]);
    expect(samples.some(({ gonePages }) => gonePages > 0)).toBe(true);
    expect(new Set(last.mappings.map(({ pid }) => pid)).size).toBe(1);
  });

  it('measures what the written pages of each mapping hold', async () => {
    const { samples } = await watch({ durationMicroseconds: 4_000_000 });
    const { content, totalContent, mappings } = samples.at(-1)!;
    expect(content.measuredPages).toBeGreaterThan(0);
    expect(content.compressedBytes).toBeGreaterThan(100);
    expect(totalContent.measuredPages).toBe(
      mappings.reduce((sum, mapping) => sum + mapping.content.measuredPages, 0),
    );
    // Writes of 32 bytes, several to some of the pages, with their places and lengths.
    expect(totalContent.differenceBytes).toBeGreaterThan(16);
    expect(totalContent.differenceBytes).toBeLessThan(1000);
  });

  it('finds the same with every tracker', async () => {
    const dirty = async (tracker: NonNullable<WatchRequest['tracker']>) =>
      (await watch({ durationMicroseconds: 2_000_000, tracker })).samples.map(({ dirtyPages }) => dirtyPages);
    expect(await dirty('compare')).toEqual(await dirty('soft-dirty'));
  });

  it('ends when it is told to, and takes no impossible times', async () => {
    const controller = new AbortController();
    const watching = watchTarget({ target, intervalMicroseconds: 100_000, signal: controller.signal });
    expect((await watching.next()).value).toMatchObject({ interval: 1 });
    controller.abort(new Error('enough'));
    expect(await watching.next()).toEqual({ done: true, value: 'interrupted' });
    await expect(watchTarget({ target, intervalMicroseconds: 0 }).next()).rejects.toThrow('above zero');
  });
});
