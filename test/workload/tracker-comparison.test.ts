import { describe, expect, it } from 'vitest';
import {
  compareTrackers,
  type TrackerComparison,
  type TrackerResult,
  type Workload,
} from '../../src/workload/index.ts';
import { oneProcess } from './helpers.ts';

const STEADY = oneProcess(
  `    regions:
      a: { size: 2MiB, resident: 2MiB, kind: anonymous }
      b: { size: 1MiB, resident: 1MiB, kind: anonymous, content: { kind: text } }
    phases:
      - duration: 1s
        writes:
          - { region: a, pattern: hot-cold, hot: 0.05, probability: 0.9, rate: 4000/s, bytes: 64 }
          - { region: b, pattern: rewrite-in-place, rate: 1000/s, bytes: 64 }
`,
  'kernel: { version: "6.12" }\n',
);

function byKind(comparison: TrackerComparison): Record<string, TrackerResult> {
  return Object.fromEntries(comparison.trackers.map((tracker) => [tracker.kind, tracker]));
}

const compare = (workload: Workload, options = {}) =>
  compareTrackers(workload, { intervalMicroseconds: 20_000, intervals: 4, ...options });

describe('compareTrackers()', () => {
  it('finds every change with every tracker, at different prices', async () => {
    const comparison = await compare(STEADY);
    expect(comparison.truth.length).toBe(4);
    expect(comparison.truth.every(({ changedPages }) => changedPages > 10 && changedPages < 80)).toBe(true);
    const trackers = byKind(comparison);
    for (const tracker of comparison.trackers) {
      expect([tracker.kind, tracker.total.missedPages]).toEqual([tracker.kind, 0]);
    }
    const softDirty = trackers['soft-dirty']!.total;
    const scan = trackers['pagemap-scan']!.total;
    const contents = trackers['compare']!.total;
    const queue = trackers['event-queue']!.total;
    // Pages rewritten with what they held are changes for all but the comparison.
    expect(contents.extraPages).toBe(0);
    for (const total of [softDirty, scan, queue]) expect(total.extraPages).toBe(80);
    expect(softDirty.reportedPages).toBe(scan.reportedPages);
    // A fault for each page and period is what write protection costs; listening and comparing cost none.
    expect(softDirty.extraFaults).toBe(softDirty.reportedPages);
    expect(scan.extraFaults).toBe(scan.reportedPages);
    expect(contents.extraFaults).toBe(0);
    expect(queue.extraFaults).toBe(0);
    expect(queue.targetMicroseconds).toBeCloseTo(400 * 0.25, 5);
    expect(contents.trackerMicroseconds).toBeGreaterThan(10 * softDirty.trackerMicroseconds);
    expect(scan.scannedPages).toBeLessThan(softDirty.scannedPages);
  });

  it('shows the queue overflow, count its losses, and fall back to everything', async () => {
    const comparison = await compare(STEADY, { queueEvents: 60 });
    const queue = byKind(comparison)['event-queue']!;
    for (const [index, interval] of queue.intervals.entries()) {
      expect(interval).toMatchObject({ lostEvents: 40, fullScan: true, missedPages: 0 });
      expect(interval.reportedPages).toBe(comparison.truth[index]!.existingPages);
      expect(interval.extraPages).toBe(interval.reportedPages - comparison.truth[index]!.changedPages);
    }
  });

  it('says why a tracker is not there', async () => {
    const trackers = byKind(await compare(STEADY, { version: '6.1', softDirty: false, intervals: 1 }));
    expect(trackers['pagemap-scan']!.unavailable).toContain('Linux 6.7');
    expect(trackers['soft-dirty']!.unavailable).toContain('CONFIG_MEM_SOFT_DIRTY');
    expect(trackers['soft-dirty']!.intervals).toEqual([]);
    expect(trackers['compare']!.unavailable).toBeUndefined();
  });

  it('misses nothing while memory is mapped, moved, discarded, swapped and forked', async () => {
    const restless = oneProcess(
      `    regions:
      a: { size: 2MiB, resident: 1MiB, kind: anonymous }
      b: { size: 256KiB, resident: 128KiB, kind: shared-anonymous }
      c: { size: 4MiB, resident: 4MiB, kind: huge }
    phases:
      - duration: 60ms
        writes:
          - { region: a, pattern: uniform, rate: 3000/s, bytes: 64 }
          - { region: b, pattern: uniform, rate: 1000/s, bytes: 64 }
          - { region: c, pattern: hot-cold, hot: 0.01, probability: 1, rate: 500/s, bytes: 64, spread: false }
        reads:
          - { region: a, pattern: uniform, rate: 3000/s }
        events:
          - { at: 5ms, every: 13ms, do: mremap, region: a, move: true }
          - { at: 7ms, every: 11ms, do: swap-out, region: a, share: 0.2 }
          - { at: 9ms, every: 17ms, do: madvise, advice: dontneed, region: a, from: 256KiB, span: 256KiB }
          - { at: 30ms, do: fork, program: child }
    atEnd: repeat
programs:
  child:
    phases:
      - duration: 25ms
        writes:
          - { region: a, pattern: uniform, rate: 1000/s, bytes: 64 }
`,
      'kernel: { version: "6.12", thp: madvise }\n',
    );
    const comparison = await compare(restless, { intervalMicroseconds: 10_000, intervals: 12 });
    for (const tracker of comparison.trackers) {
      expect([tracker.kind, tracker.total.missedPages]).toEqual([tracker.kind, 0]);
    }
  });

  it('can be interrupted', async () => {
    const controller = new AbortController();
    const running = compare(STEADY, { signal: controller.signal, intervals: 1000 });
    controller.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
  });
});
