import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { digestTargetMemory, dumpTarget, runFromCheckpoint } from '../../src/checkpoint/index.ts';
import { CodecPool } from '../../src/codec/index.ts';
import { openSimulatedTarget } from '../../src/target/index.ts';
import { SMALL_WORKLOAD } from './workload.ts';

const root = mkdtempSync(join(tmpdir(), 'ckpt-simulated-test-'));
const workload = join(root, 'small.yaml');
writeFileSync(workload, SMALL_WORKLOAD);
/** The same program on a kernel that has PAGEMAP_SCAN. */
const modern = join(root, 'modern.yaml');
const MODERN_WORKLOAD = SMALL_WORKLOAD.replace('seed: 11', "seed: 11\nkernel: { version: '6.18' }");
writeFileSync(modern, MODERN_WORKLOAD);
const pool = new CodecPool({ workers: 0 });
let made = 0;

afterAll(async () => {
  await pool.close();
  rmSync(root, { recursive: true, force: true });
});

/** Digests of memory and of everything else after an uncut run. */
async function uncutRun(
  microseconds: number,
  text = SMALL_WORKLOAD,
): Promise<{ memory: string; now: number }> {
  const target = openSimulatedTarget(text, workload);
  await target.run(microseconds);
  return { memory: await digestTargetMemory(target, pool), now: target.nowMicroseconds() };
}

describe('a simulated process', () => {
  it.each([
    ['soft-dirty', workload, SMALL_WORKLOAD],
    ['soft-dirty', modern, MODERN_WORKLOAD],
    ['pagemap-scan', modern, MODERN_WORKLOAD],
    ['compare', workload, SMALL_WORKLOAD],
  ] as const)(
    'cut into checkpoints by separate commands is the one that was never cut (%s)',
    async (tracker, path, text) => {
      const step = fc.integer({ min: 1, max: 45_000 });
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 5 }), async (steps) => {
          const storeDirectory = join(root, `store-${made++}`);
          let elapsed = 0;
          for (const [index, waitMicroseconds] of steps.entries()) {
            elapsed += waitMicroseconds;
            const [dump] = await dumpTarget({
              target: `sim:${path}`,
              storeDirectory,
              incremental: index > 0,
              waitMicroseconds,
              tracker,
              workers: 0,
            });
            const uncut = await uncutRun(elapsed, text);
            expect(dump!.memoryDigest).toBe(uncut.memory);
          }
          rmSync(storeDirectory, { recursive: true });
        }),
        { numRuns: 8 },
      );
    },
  );

  it('goes on from any checkpoint to where the uncut run goes', async () => {
    const storeDirectory = join(root, 'forward');
    await dumpTarget({
      target: `sim:${workload}`,
      storeDirectory,
      incremental: false,
      everyMicroseconds: 17_000,
      count: 5,
      workers: 0,
    });
    for (const checkpoint of [1, 3, 5]) {
      const result = await runFromCheckpoint({ storeDirectory, checkpoint, runMicroseconds: 50_000 });
      const uncut = await uncutRun((checkpoint - 1) * 17_000 + 50_000);
      expect(result).toMatchObject({ memoryDigest: uncut.memory, nowMicroseconds: uncut.now });
    }
  });

  it('is refused as a parent when its workload file has changed', async () => {
    const storeDirectory = join(root, 'changed');
    const path = join(root, 'changed.yaml');
    writeFileSync(path, SMALL_WORKLOAD);
    const request = { target: `sim:${path}`, storeDirectory, workers: 0 };
    await dumpTarget({ ...request, incremental: false });
    writeFileSync(path, SMALL_WORKLOAD.replace('seed: 11', 'seed: 12'));
    await expect(dumpTarget({ ...request, incremental: true })).rejects.toThrow(
      'the workload file was changed',
    );
  });
});
