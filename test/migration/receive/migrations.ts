import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestTargetMemory, runFromCheckpoint, verifyStore } from '../../../src/checkpoint/index.ts';
import type { CodecPool } from '../../../src/codec/index.ts';
import { Destination } from '../../../src/migration/receive/destination.ts';
import type { ReceivedMigration, ReceiveOptions } from '../../../src/migration/receive/request.ts';
import { ModelledTime } from '../../../src/migration/send/migration-time.ts';
import { sendTarget } from '../../../src/migration/send/send-target.ts';
import type { Migration, SendOptions } from '../../../src/migration/send/send-types.ts';
import { Store } from '../../../src/store/index.ts';
import { openSimulatedTarget, type Target } from '../../../src/target/index.ts';
import { channelPair, type PairFaults } from '../wire/channel-pair.ts';

let made = 0;

/** A directory that is removed by `done`. */
export function scratchRoot(): { readonly root: string; readonly done: () => void } {
  const root = mkdtempSync(join(tmpdir(), 'ckpt-receive-'));
  return { root, done: () => rmSync(root, { recursive: true, force: true }) };
}

/** An id that no other migration of this run has. */
export const freshId = () => `migration-${made++}`;

/** What both ends say of one migration. */
export interface BothEnds {
  readonly sent: Migration | undefined;
  readonly sendFailure: Error | undefined;
  readonly received: ReceivedMigration | undefined;
  readonly receiveFailure: Error | undefined;
}

/** Migrates a target between two ends in this process. */
export async function migrate(
  target: Target,
  pool: CodecPool,
  receiving: ReceiveOptions,
  sending: Partial<SendOptions> = {},
  faults: PairFaults = {},
): Promise<BothEnds> {
  const [here, there] = channelPair(faults);
  const destination = new Destination({ workers: 0, ...receiving });
  try {
    await destination.recover();
    const [sent, received] = await Promise.allSettled([
      sendTarget(target, here, pool, {
        migrationId: freshId(),
        purpose: 'migrate',
        choice: { policy: 'qemu' },
        program: 'test',
        scratchDirectory: tmpdir(),
        time: new ModelledTime(20e6),
        ...sending,
      }),
      destination.serve(there),
    ]);
    return {
      sent: sent.status === 'fulfilled' ? sent.value : undefined,
      sendFailure: sent.status === 'rejected' ? asError(sent.reason) : undefined,
      received: received.status === 'fulfilled' ? received.value : undefined,
      receiveFailure: received.status === 'rejected' ? asError(received.reason) : undefined,
    };
  } finally {
    await destination.close();
  }
}

const asError = (reason: unknown) => (reason instanceof Error ? reason : new Error(String(reason)));

/** The memory of the same workload that was never stopped nor moved, at an instant of its own time. */
export async function neverMoved(
  text: string,
  path: string,
  microseconds: number,
  pool: CodecPool,
): Promise<{ readonly memoryDigest: string; readonly processes: unknown }> {
  const target = openSimulatedTarget(text, path);
  await target.run(microseconds);
  const { summary } = target.captureState();
  return { memoryDigest: await digestTargetMemory(target, pool), processes: summary['processes'] };
}

/** The same of the one that lives in a store, after it has run on. */
export async function movedAndRun(storeDirectory: string, checkpoint: number, runMicroseconds: number) {
  const { memoryDigest, nowMicroseconds, summary } = await runFromCheckpoint({
    storeDirectory,
    checkpoint,
    runMicroseconds,
  });
  return { memoryDigest, nowMicroseconds, processes: summary['processes'] };
}

/** What is wrong with a store, in words, and which checkpoints it has. */
export async function inspectStore(directory: string, pool: CodecPool) {
  const store = await Store.open(directory, { access: 'read', command: 'test', codec: pool });
  try {
    const findings: string[] = [];
    for await (const { place, problem } of verifyStore(store, pool)) findings.push(`${place}: ${problem}`);
    return { findings, checkpoints: await store.manifests(), packs: await store.packs() };
  } finally {
    await store.close();
  }
}
