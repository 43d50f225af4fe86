import { describe, expect, it } from 'vitest';
import { UsageError, WorkloadError } from '../../src/core/index.ts';
import {
  type MemorySource,
  type RehearsalOptions,
  recordWorkload,
  rehearse,
} from '../../src/migration/index.ts';
import { parseWorkload } from '../../src/workload/index.ts';

const TEXT = `version: 1
name: small
seed: 11
processes:
  - name: server
    regions:
      heap: { size: 16MiB, resident: 16MiB, kind: anonymous, content: { kind: records } }
    phases:
      - duration: 1h
        writes:
          - { region: heap, pattern: uniform, rate: 2k/s, bytes: 64 }
`;
const workload: MemorySource = {
  kind: 'workload',
  path: 'small.yaml',
  text: TEXT,
  warmUpMicroseconds: 100_000,
};
const options: RehearsalOptions = { link: { bytesPerSecond: 20e6 }, choice: { policy: 'qemu' } };

describe('rehearsals on several threads', () => {
  it('predict what one thread predicts, however many there are', async () => {
    const recording = await recordWorkload(parseWorkload(TEXT, 'small.yaml'), { durationMicroseconds: 2e6 });
    for (const source of [workload, { kind: 'recording', recording } as const]) {
      const alone = await rehearse(source, options, { runs: 6, workers: 0 });
      for (const workers of [1, 3]) {
        expect(await rehearse(source, options, { runs: 6, workers })).toEqual(alone);
      }
    }
  });

  it('find the same advice', async () => {
    const missed = { ...options, link: { bytesPerSecond: 6e6 }, giveUpAfterMicroseconds: 20e6 };
    const alone = await rehearse(workload, missed, { runs: 2, workers: 0 });
    expect(alone.advice.length).toBeGreaterThan(0);
    expect(await rehearse(workload, missed, { runs: 2, workers: 2 })).toEqual(alone);
  });

  it('say what is wrong with what they are given as one thread does', async () => {
    const impossible = { ...options, link: { bytesPerSecond: 0 } };
    await expect(rehearse(workload, impossible, { runs: 2, workers: 2 })).rejects.toThrow(UsageError);
    const broken = { ...workload, text: 'version: 1\nprocesses: 3\n' };
    await expect(rehearse(broken, options, { runs: 2, workers: 2 })).rejects.toThrow(WorkloadError);
  });

  it('end when they are told to', async () => {
    const abort = new AbortController();
    const rehearsal = rehearse(workload, options, {
      runs: 5000,
      workers: 2,
      signal: abort.signal,
      onDone: (done) => {
        if (done === 3) abort.abort(new Error('enough'));
      },
    });
    await expect(rehearsal).rejects.toThrow('enough');
  });

  it('start where it pays only, and then all the same', async () => {
    const done: number[] = [];
    const rehearsal = await rehearse(workload, options, { runs: 4, onDone: (count) => done.push(count) });
    expect(done).toEqual([1, 2, 3, 4]);
    expect(rehearsal.runs).toBe(4);
  });
});
