import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runWorkload } from '../../src/workload/index.ts';
import { fixture, oneProcess } from './helpers.ts';

const FIXTURES = readdirSync(resolve(import.meta.dirname, '../../fixtures')).filter((name) =>
  name.endsWith('.yaml'),
);

describe('runWorkload()', () => {
  it('tells what each process did', async () => {
    const workload = oneProcess(`    regions:
      a: { size: 1MiB, resident: 64KiB, kind: anonymous }
    phases:
      - duration: 100ms
        writes:
          - { region: a, pattern: sequential, rate: 1000/s, bytes: 8 }
        events:
          - { at: 50ms, do: fork, program: child }
programs:
  child:
    phases:
      - duration: 10ms
        writes:
          - { region: a, pattern: sequential, rate: 1000/s, bytes: 8 }
`);
    const seen: number[] = [];
    let now = 0;
    const report = await runWorkload(workload, {
      durationMicroseconds: 100_000,
      onProgress: (virtual) => seen.push(virtual),
      clock: () => (now += 50_000),
    });
    expect(report).toMatchObject({
      workload: 'test',
      kernel: '6.1',
      virtualMicroseconds: 100_000,
      machineMicroseconds: 50_000,
      writesPerSecond: 110 / 0.05,
    });
    expect(report.processes).toHaveLength(1);
    expect(report.processes[0]).toMatchObject({
      name: 'p',
      parentPid: 0,
      writes: 100,
      writtenPages: 100,
      refused: 0,
      status: 'running',
    });
    expect(report.exited['child']).toMatchObject({ processes: 1, writes: 10 });
    // 16 pages filled, 84 touched for the first time; the program's own pages come on top.
    expect(report.processes[0]!.residentPages).toBeGreaterThanOrEqual(100);
    expect(report.faults.anonymousNew).toBeGreaterThanOrEqual(100);
    expect(report.kernelMicroseconds).toBeGreaterThan(0);
    expect(seen.at(-1)).toBe(100_000);
  });

  it.each(FIXTURES)('runs %s, whose every event succeeds', async (name) => {
    const report = await runWorkload(fixture(name), { durationMicroseconds: 2_500_000 });
    expect(report.processes.length).toBeGreaterThan(0);
    for (const process of [...report.processes, ...Object.values(report.exited)]) {
      expect(process.failedEvents).toBe(0);
      expect(process.refused).toBe(0);
    }
    const resident = report.processes.reduce((sum, process) => sum + process.residentPages, 0);
    expect(resident * 4096).toBeGreaterThan(32 * 2 ** 20);
    expect(resident * 4096).toBeLessThan(600 * 2 ** 20);
  });

  it('can be interrupted', async () => {
    const controller = new AbortController();
    const running = runWorkload(fixture('hot-counter.yaml'), {
      durationMicroseconds: 3600e6,
      signal: controller.signal,
    });
    controller.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
  });
});
