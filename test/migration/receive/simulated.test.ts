import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ModelledTime } from '../../../src/migration/send/migration-time.ts';
import { openSimulatedTarget } from '../../../src/target/index.ts';
import { SMALL_WORKLOAD } from '../../checkpoint/workload.ts';
import {
  anySteadyWorkload,
  freshId,
  inspectStore,
  migrate,
  movedAndRun,
  neverMoved,
  receivingBench,
  withoutMarks,
} from './migrations.ts';

const { root, pool } = receivingBench();

describe('a simulated process that is migrated', () => {
  it('is in the store of the destination, and goes on from the very instant at which it stopped', async () => {
    const path = 'small.yaml';
    const text = SMALL_WORKLOAD;
    const target = openSimulatedTarget(text, path);
    await target.run(15_000);
    const storeDirectory = join(root, freshId());
    const { sent, received, sendFailure } = await migrate(
      target,
      pool,
      { storeDirectory, runMicroseconds: 50_000 },
      { time: new ModelledTime(100e6) },
    );
    expect(sendFailure).toBeUndefined();
    const stopped = target.nowMicroseconds();
    expect(sent).toMatchObject({ end: 'moved', memoryDigest: received!.memoryDigest });
    expect(received).toMatchObject({ outcome: 'started', pid: null });
    expect(received!.run).toMatchObject({ nowMicroseconds: stopped + 50_000 });
    const { findings, checkpoints } = await inspectStore(storeDirectory, pool);
    expect(findings).toEqual([]);
    expect(checkpoints.map(({ preDump }) => preDump)).toEqual([
      ...checkpoints.slice(0, -2).map(() => true),
      false,
      false,
    ]);
    const { checkpoint, run } = received!;
    for (const [number, later] of [
      [checkpoint!, 0],
      [checkpoint!, 120_000],
      [run!.checkpoint, 0],
    ] as const) {
      const moved = await movedAndRun(storeDirectory, number, later, pool);
      expect(moved).toEqual(await neverMoved(text, path, moved.nowMicroseconds));
    }
  });

  it('is the one that never moved, whatever it does, over any link, whenever that breaks, by any policy and tracker', async () => {
    await fc.assert(
      fc.asyncProperty(
        anySteadyWorkload,
        fc.record({
          before: fc.integer({ min: 0, max: 5000 }),
          after: fc.integer({ min: 1, max: 5000 }),
          bytesPerSecond: fc.constantFrom(50e6, 300e6, 3e9),
          tracker: fc.constantFrom('auto', 'soft-dirty', 'compare'),
          connections: fc.integer({ min: 1, max: 3 }),
          cutsAfterBytes: fc.array(fc.integer({ min: 1, max: 40_000 }), { maxLength: 5 }),
          choice: fc.constantFrom(
            { policy: 'qemu' },
            { policy: 'qemu', options: { downtimeLimitMicroseconds: 500 } },
            { policy: 'xen' },
            { policy: 'clark' },
            { policy: 'phaul' },
            { policy: 'criu' },
            { policy: 'fixed' },
          ),
        } as const),
        async (text, { before, after, bytesPerSecond, tracker, choice, ...faults }) => {
          const path = 'random.yaml';
          const target = openSimulatedTarget(text, path);
          await target.run(before);
          const storeDirectory = join(root, freshId());
          const { sent, sendFailure, received } = await migrate(
            target,
            pool,
            { storeDirectory },
            { time: new ModelledTime(bytesPerSecond), tracker, choice, giveUpAfterMicroseconds: 30_000 },
            faults,
          );
          if (sendFailure !== undefined) throw sendFailure;
          if (sent!.end === 'given-up') return;
          const stopped = target.nowMicroseconds();
          expect(sent!.end).toBe('moved');
          expect(received!.memoryDigest).toBe(sent!.memoryDigest);
          for (const later of [0, after]) {
            const moved = await movedAndRun(storeDirectory, received!.checkpoint!, later, pool);
            const uncut = await neverMoved(text, path, stopped + later);
            expect(withoutMarks(moved, sent!.tracker)).toEqual(withoutMarks(uncut, sent!.tracker));
          }
          expect((await inspectStore(storeDirectory, pool)).findings).toEqual([]);
        },
      ),
      { numRuns: Number(process.env['CKPT_MIGRATION_RUNS'] ?? 4), endOnFailure: true },
    );
  }, 600_000);
});
