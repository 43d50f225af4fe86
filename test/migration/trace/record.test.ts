import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PageRangeList } from '../../../src/core/index.ts';
import { recordTrace, TraceReader, type TraceStep } from '../../../src/migration/index.ts';
import { differenceSize } from '../../../src/migration/trace/difference.ts';
import { recordSteps } from '../../../src/migration/trace/recorder.ts';
import { openSimulatedTarget } from '../../../src/target/index.ts';
import { chooseTracker, TRACKER_KINDS } from '../../../src/tracker/index.ts';

const WORKLOAD = `
version: 1
name: two-regions
seed: 5
processes:
  - name: writer
    regions:
      heap: { size: 4MiB, resident: 2MiB, kind: anonymous, content: { kind: records } }
      idle: { size: 1MiB, resident: 1MiB, kind: anonymous, content: { kind: zero } }
    phases:
      - duration: 10s
        writes:
          - { region: heap, pattern: zipf, theta: 0.9, rate: 2000/s, bytes: 32 }
        events:
          - { at: 700ms, do: madvise, advice: dontneed, region: heap, from: 0MiB, span: 1MiB }
`;

let directory = '';
let workload = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ckpt-record-'));
  workload = join(directory, 'workload.yaml');
  writeFileSync(workload, WORKLOAD);
});
afterEach(() => rmSync(directory, { recursive: true }));

/** The pages that exist after all steps. */
function existing(steps: readonly TraceStep[]): PageRangeList {
  let pages = new PageRangeList();
  for (const { resident, written, gone } of steps.flatMap(({ processes }) => processes)) {
    pages = pages.difference(gone).union(resident).union(written);
  }
  return pages;
}

describe('a recording', () => {
  for (const kind of TRACKER_KINDS) {
    it(`misses no write of a simulated process with ${kind}`, async () => {
      const target = openSimulatedTarget(WORKLOAD, workload, { version: '6.18' });
      let stored = new Set<number>();
      target.simulation.kernel.listener = { store: (_pid, page) => stored.add(page) };
      const steps: TraceStep[] = [];
      const { tracker } = chooseTracker(target, kind);
      const request = { intervalMicroseconds: 100_000, durationMicroseconds: 1_500_000 };
      const recording = recordSteps(target, tracker, request);
      let next = await recording.next();
      for (; next.done !== true; next = await recording.next()) {
        const step = next.value;
        steps.push(step);
        const { written, gone, resident } = step.processes[0]!;
        // The first step comes before anything was written.
        if (steps.length > 1) {
          expect([...stored].filter((page) => !written.has(page) && !gone.has(page))).toEqual([]);
          expect(resident.pageCount).toBe(0);
          // Few enough to be those that were written, and not everything that exists.
          if (steps.length > 2) expect(written.pageCount).toBeLessThanOrEqual(stored.size);
        }
        stored = new Set();
      }
      expect(next.value).toBe('duration');
      expect(steps.map(({ atMicroseconds }) => atMicroseconds)).toEqual(
        Array.from({ length: 16 }, (_, index) => index * 100_000),
      );
      const opening = steps[0]!.processes[0]!;
      expect(opening.zero.pageCount).toBeGreaterThanOrEqual(256);
      expect(opening.mapped.length).toBeGreaterThan(1);
      expect(steps.some(({ processes }) => processes[0]!.gone.pageCount > 0)).toBe(true);
      const differences = steps
        .flatMap(({ processes }) => processes[0]!.samples)
        .flatMap(({ differenceBytes }) => (differenceBytes === undefined ? [] : [differenceBytes]));
      expect(differences.length).toBeGreaterThan(100);
      expect(Math.max(...differences)).toBeLessThan(4096);
    });
  }

  it('is a file for its owner alone, the same for the same input', async () => {
    const request = {
      target: `sim:${workload}`,
      intervalMicroseconds: 50_000,
      durationMicroseconds: 1_000_000,
    };
    const [first, second] = [join(directory, 'a.trace'), join(directory, 'b.trace')];
    const result = await recordTrace({ ...request, outputFile: first });
    const again = await recordTrace({ ...request, outputFile: second });
    expect(again).toEqual({ ...result, file: second });
    expect(statSync(first).mode & 0o777).toBe(0o600);
    expect(statSync(first).size).toBe(result.fileBytes);
    expect(result).toMatchObject({
      intervals: 20,
      microseconds: 1_000_000,
      end: 'duration',
      kind: 'simulated',
    });
    const reader = await TraceReader.open(first);
    const steps: TraceStep[] = [];
    for await (const step of reader.steps()) steps.push(step);
    expect(reader.seal).toEqual({ steps: 21, end: 'duration' });
    expect(existing(steps).pageCount).toBeGreaterThan(0);
    await expect(recordTrace({ ...request, outputFile: first })).rejects.toThrow(/exists already/);
  });

  it('is whole when it is interrupted, and leaves nothing behind when it fails', async () => {
    const controller = new AbortController();
    const outputFile = join(directory, 'cut.trace');
    let steps = 0;
    const result = await recordTrace({
      target: `sim:${workload}`,
      outputFile,
      intervalMicroseconds: 100_000,
      signal: controller.signal,
      onStep: () => {
        if (++steps === 4) controller.abort(new Error('enough'));
      },
    });
    expect(result).toMatchObject({ end: 'interrupted', intervals: 3 });
    const reader = await TraceReader.open(outputFile);
    for await (const step of reader.steps()) expect(step.started.length).toBeLessThan(2);
    expect(reader.seal).toEqual({ steps: 4, end: 'interrupted' });
    rmSync(outputFile);
    const early = {
      target: `sim:${workload}`,
      outputFile,
      intervalMicroseconds: 1,
      signal: controller.signal,
    };
    await expect(recordTrace(early)).rejects.toThrow('enough');
    await expect(recordTrace({ ...early, intervalMicroseconds: 0 })).rejects.toThrow(/above zero/);
    expect(readdirSync(directory)).toEqual(['workload.yaml']);
  });
});

describe('the size of a difference', () => {
  it('counts runs with their places and lengths', () => {
    const before = new Uint8Array(4096);
    const after = new Uint8Array(4096);
    expect(differenceSize(before, after)).toBe(0);
    after.fill(1, 10, 20);
    expect(differenceSize(before, after)).toBe(2 + 10);
    after[4095] = 1;
    expect(differenceSize(before, after)).toBe(2 + 10 + 3 + 1);
    expect(differenceSize(before, new Uint8Array(4096).fill(9))).toBe(3 + 4096);
  });
});
