import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PageRangeList, PeerError } from '../../../src/core/index.ts';
import { MigrationRecords } from '../../../src/migration/receive/records.ts';
import { ModelledTime } from '../../../src/migration/send/migration-time.ts';
import { sendTarget } from '../../../src/migration/send/send-target.ts';
import { openSimulatedTarget } from '../../../src/target/index.ts';
import { compareTracker } from '../../../src/tracker/index.ts';
import { SMALL_WORKLOAD } from '../../checkpoint/workload.ts';
import { channelPair } from '../wire/channel-pair.ts';
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

const postCopy = (rounds: number) => ({ policy: 'qemu', options: { postcopyAfter: { rounds } } }) as const;

describe('a simulated process that runs before its memory is there', () => {
  it('is the one that never moved, whatever it does', async () => {
    await fc.assert(
      fc.asyncProperty(
        anySteadyWorkload,
        fc.record({
          before: fc.integer({ min: 0, max: 5000 }),
          run: fc.integer({ min: 1000, max: 6000 }),
          rounds: fc.integer({ min: 0, max: 2 }),
          cutsAfterBytes: fc.array(fc.integer({ min: 1, max: 40_000 }), { maxLength: 3 }),
          tracker: fc.constantFrom('auto', 'soft-dirty', 'compare'),
        } as const),
        async (text, { before, run, rounds, tracker, cutsAfterBytes }) => {
          const path = 'random.yaml';
          const target = openSimulatedTarget(text, path);
          await target.run(before);
          const storeDirectory = join(root, freshId());
          const { sent, sendFailure, received, receiveFailure } = await migrate(
            target,
            pool,
            { storeDirectory, runMicroseconds: run },
            { time: new ModelledTime(300e6), tracker, choice: postCopy(rounds) },
            { cutsAfterBytes },
          );
          if (receiveFailure !== undefined) throw receiveFailure;
          if (sendFailure !== undefined) throw sendFailure;
          const stopped = target.nowMicroseconds();
          const digest = received!.memoryDigest;
          expect(sent).toMatchObject({ end: 'moved', memoryDigest: digest });
          expect(received!.outcome).toBe('started');
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
      { numRuns: Number(process.env['CKPT_MIGRATION_RUNS'] ?? 4), endOnFailure: true },
    );
  }, 600_000);

  it('stops for good where the rest of its memory cannot come any more, and the source keeps its copy', async () => {
    for (const lostAfterAnswered of [2, 3, 4]) {
      const target = openSimulatedTarget(SMALL_WORKLOAD, 'small.yaml');
      await target.run(15_000);
      const storeDirectory = join(root, freshId());
      const migrationId = freshId();
      const { sendFailure, receiveFailure } = await migrate(
        target,
        pool,
        { storeDirectory, runMicroseconds: 50_000 },
        { migrationId, choice: postCopy(0) },
        { lostAfterAnswered },
      );
      expect(sendFailure).toBeInstanceOf(PeerError);
      expect(target.frozen).toBe(true);
      expect(receiveFailure?.message).toMatch(/has stopped for good after .*s here/);
      expect((await inspectStore(storeDirectory, pool)).checkpoints).toEqual([]);
      const record = await new MigrationRecords(storeDirectory).read(migrationId);
      expect(record).toMatchObject({ status: 'failed' });
    }
  });

  it('stops in front of pages that have not come, until they have', async () => {
    const target = openSimulatedTarget(SMALL_WORKLOAD, 'small.yaml');
    await target.run(15_000);
    const storeDirectory = join(root, freshId());
    const { received, sendFailure } = await migrate(
      target,
      pool,
      { storeDirectory, runMicroseconds: 20_000 },
      { choice: postCopy(0) },
      { delayMilliseconds: 10 },
    );
    expect(sendFailure).toBeUndefined();
    const { faults, stalledMicroseconds, longestStallMicroseconds } = received!.fetched!;
    expect(faults).toBeGreaterThan(0);
    expect(longestStallMicroseconds).toBeGreaterThan(10_000);
    expect(stalledMicroseconds).toBeGreaterThanOrEqual(longestStallMicroseconds);
  });

  it('gets a page that it asks for before those that come by themselves', async () => {
    const target = openSimulatedTarget(SMALL_WORKLOAD, 'small.yaml');
    await target.run(15_000);
    const [here, there] = channelPair();
    const sending = sendTarget(target, here, pool, {
      migrationId: freshId(),
      purpose: 'migrate',
      choice: postCopy(0),
      program: 'test',
      scratchDirectory: root,
      time: new ModelledTime(20e6),
    });
    const [view] = target.processes();
    const pages = compareTracker.collect(view!, view!.vmas(), undefined).suspects;
    const last = pages.endPage(pages.rangeCount - 1) - 1;
    const wanted = PageRangeList.of({ startPage: last, endPage: last + 1 });
    const ready = { type: 'ready', checkpoint: 0, canRun: true, obstacles: [] } as const;
    const order: boolean[] = [];
    for await (const message of there) {
      if (message.type === 'hello') await there.send({ type: 'welcome', program: '', storeName: '' });
      else if (message.type === 'state' && message.last) await there.send({ ...ready, memoryDigest: '' });
      else if (message.type === 'pages') order.push(message.ranges.has(last));
      else if (message.type === 'prepared-digest') await there.send({ ...ready, ...message, type: 'ready' });
      else if (message.type === 'commit') {
        order.length = 0;
        await there.send({ type: 'started', migrationId: message.migrationId, pid: 0 });
        await there.send({ type: 'request-pages', pid: view!.pid, ranges: wanted });
      }
    }
    const { service } = await sending;
    expect(service.faultedPages).toBe(1);
    expect(order.filter(Boolean)).toEqual([true]);
    expect(order.indexOf(true)).toBeLessThan(order.length / 2);
  });

  it('runs at the pace of the clock until its memory is there, if nobody says how long', async () => {
    const target = openSimulatedTarget(SMALL_WORKLOAD, 'small.yaml');
    await target.run(15_000);
    const storeDirectory = join(root, freshId());
    const { received, sendFailure } = await migrate(
      target,
      pool,
      { storeDirectory },
      { choice: postCopy(0) },
      { delayMilliseconds: 5 },
    );
    expect(sendFailure).toBeUndefined();
    const { run, checkpoint, fetched } = received!;
    expect(fetched).toMatchObject({ missingPages: expect.any(Number) });
    expect(run!.microseconds).toBeGreaterThan(0);
    expect(run!.nowMicroseconds).toBe(target.nowMicroseconds() + run!.microseconds);
    const moved = await movedAndRun(storeDirectory, run!.checkpoint, 0, pool);
    expect(moved).toEqual(await neverMoved(SMALL_WORKLOAD, 'small.yaml', run!.nowMicroseconds));
    expect(run!.checkpoint).toBe(checkpoint! + 1);
  });
});
