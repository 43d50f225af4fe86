import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PAGE_SIZE, PeerError } from '../../../src/core/index.ts';
import { Destination } from '../../../src/migration/receive/destination.ts';
import { MigrationRecords } from '../../../src/migration/receive/records.ts';
import type { MessageOf } from '../../../src/migration/wire/messages.ts';
import { openSimulatedTarget } from '../../../src/target/index.ts';
import { channelPair, type PairFaults } from '../wire/channel-pair.ts';
import { freshId, inspectStore, migrate, movedAndRun, neverMoved, receivingBench } from './migrations.ts';

const { root, pool } = receivingBench();

const PATH = 'tiny.yaml';
const TINY_WORKLOAD = `
version: 1
name: tiny
seed: 5
processes:
  - name: main
    regions:
      heap: { size: 256KiB, resident: 128KiB, kind: anonymous, content: { kind: records } }
    phases:
      - duration: 10ms
        writes:
          - { region: heap, pattern: uniform, rate: 9000/s, bytes: 64 }
`;

/** What the destination says of a migration, after it was started anew. */
async function ask(storeDirectory: string, migrationId: string): Promise<MessageOf<'outcome'>['status']> {
  const destination = new Destination({ storeDirectory, workers: 0 });
  try {
    await destination.recover();
    const [here, there] = channelPair();
    const served = destination.serve(there);
    const target = { kind: 'simulated', name: PATH, fingerprint: '' } as const;
    const hello = { migrationId, purpose: 'resolve', strategy: 'pre-copy', target } as const;
    await here.send({ type: 'hello', ...hello, pageSize: PAGE_SIZE, program: 'test' });
    const answer = await here.receive();
    await here.close();
    await served;
    return answer?.type === 'outcome' ? answer.status : 'unknown';
  } finally {
    await destination.close();
  }
}

/** Migrates over a connection that is lost, and asks afterwards where it had been told to run. */
async function migrateAndLose(faults: PairFaults) {
  const target = openSimulatedTarget(TINY_WORKLOAD, PATH);
  await target.run(3000);
  const storeDirectory = join(root, freshId());
  const migrationId = freshId();
  const ends = await migrate(
    target,
    pool,
    { storeDirectory },
    { migrationId, choice: { policy: 'criu' } },
    faults,
  );
  const inDoubt = ends.sendFailure instanceof PeerError && ends.sendFailure.data['inDoubt'] === true;
  const status = await ask(storeDirectory, migrationId);
  const runsThere = status === 'started';
  const runsHere = inDoubt ? !runsThere : ends.sent?.end !== 'moved' && !target.frozen;
  return { target, storeDirectory, migrationId, ends, inDoubt, status, runsHere, runsThere };
}

describe('a migration whose connection is lost for good', () => {
  it('leaves exactly one process, wherever it happens, and a whole store', async () => {
    const undisturbed = await migrateAndLose({});
    expect(undisturbed).toMatchObject({ runsHere: false, runsThere: true, inDoubt: false });
    const outcomes = { here: 0, there: 0, inDoubt: 0 };
    for (const kind of ['lostAfterSent', 'lostAfterReceived', 'lostAfterAnswered'] as const) {
      for (let messages = 0; ; messages++) {
        const { target, storeDirectory, migrationId, ends, inDoubt, status, runsHere, runsThere } =
          await migrateAndLose({ [kind]: messages });
        if (ends.sendFailure === undefined) break;
        expect([kind, messages, runsHere, runsThere, status]).toEqual([
          kind,
          messages,
          runsHere,
          !runsHere,
          status,
        ]);
        if (runsThere) {
          const checkpoint = (await inspectStore(storeDirectory, pool)).checkpoints.at(-1)!.number;
          const stopped = target.nowMicroseconds();
          expect(await movedAndRun(storeDirectory, checkpoint, 4000, pool)).toEqual(
            await neverMoved(TINY_WORKLOAD, PATH, stopped + 4000),
          );
          outcomes.there++;
        } else {
          if (!inDoubt) await target.run(1000);
          outcomes.here++;
        }
        if (inDoubt) outcomes.inDoubt++;
        const record = await new MigrationRecords(storeDirectory).read(migrationId);
        if (record === undefined) continue;
        const { findings, checkpoints, packs } = await inspectStore(storeDirectory, pool);
        expect(findings).toEqual([]);
        // What failed has left nothing.
        if (!runsThere) expect([checkpoints, packs]).toEqual([[], []]);
      }
    }
    expect(outcomes.here).toBeGreaterThan(10);
    expect(outcomes.there).toBeGreaterThan(0);
    expect(outcomes.inDoubt).toBeGreaterThanOrEqual(outcomes.there);
  }, 120_000);
});
