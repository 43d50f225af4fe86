import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { CodecPool } from '../../../src/codec/index.ts';
import { ModelledTime } from '../../../src/migration/send/migration-time.ts';
import { openSimulatedTarget } from '../../../src/target/index.ts';
import {
  anySteadyWorkload,
  freshId,
  inspectStore,
  migrate,
  movedAndRun,
  neverMoved,
  scratchRoot,
  withoutMarks,
} from './migrations.ts';

const pool = new CodecPool({ workers: 0 });
const { root, done } = scratchRoot();

afterAll(async () => {
  await pool.close();
  done();
});

const postCopy = (rounds: number) => ({ policy: 'qemu', options: { postcopyAfter: { rounds } } }) as const;

describe('a simulated process that runs before its memory is there', () => {
  it('is the one that never moved, whatever it does, and stops for pages that have not come', async () => {
    let faults = 0;
    await fc.assert(
      fc.asyncProperty(
        anySteadyWorkload,
        fc.record({
          before: fc.integer({ min: 0, max: 5000 }),
          run: fc.integer({ min: 1000, max: 6000 }),
          rounds: fc.integer({ min: 0, max: 2 }),
          tracker: fc.constantFrom('auto', 'soft-dirty', 'compare'),
        } as const),
        async (text, { before, run, rounds, tracker }) => {
          const path = 'random.yaml';
          const target = openSimulatedTarget(text, path);
          await target.run(before);
          const storeDirectory = join(root, freshId());
          const { sent, sendFailure, received, receiveFailure } = await migrate(
            target,
            pool,
            { storeDirectory, runMicroseconds: run },
            { time: new ModelledTime(300e6), tracker, choice: postCopy(rounds) },
          );
          if (receiveFailure !== undefined) throw receiveFailure;
          if (sendFailure !== undefined) throw sendFailure;
          const stopped = target.nowMicroseconds();
          const digest = received!.memoryDigest;
          expect(sent).toMatchObject({ end: 'moved', memoryDigest: digest });
          expect(received!.outcome).toBe('started');
          faults += received!.fetched!.faults;
          for (const [checkpoint, later] of [
            [received!.checkpoint!, run],
            [received!.run!.checkpoint, 0],
          ] as const) {
            const moved = await movedAndRun(storeDirectory, checkpoint, later, pool);
            const uncut = await neverMoved(text, path, stopped + run);
            expect(withoutMarks(moved, sent!.tracker)).toEqual(withoutMarks(uncut, sent!.tracker));
          }
          expect((await inspectStore(storeDirectory, pool)).findings).toEqual([]);
        },
      ),
      { numRuns: Number(process.env['CKPT_MIGRATION_RUNS'] ?? 6), endOnFailure: true },
    );
    expect(faults).toBeGreaterThan(0);
  }, 600_000);
});
