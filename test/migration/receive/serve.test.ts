import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PAGE_SIZE } from '../../../src/core/index.ts';
import type { ReceivedMigration } from '../../../src/migration/receive/request.ts';
import { receiveMigrations } from '../../../src/migration/receive/serve.ts';
import { ModelledTime } from '../../../src/migration/send/migration-time.ts';
import { sendTarget } from '../../../src/migration/send/send-target.ts';
import { connectChannel } from '../../../src/migration/wire/connect.ts';
import type { MessageOf } from '../../../src/migration/wire/messages.ts';
import type { PeerAddress } from '../../../src/migration/wire/options.ts';
import { openSimulatedTarget } from '../../../src/target/index.ts';
import { SMALL_WORKLOAD } from '../../checkpoint/workload.ts';
import { freshId, receivingBench } from './migrations.ts';

const { root, pool } = receivingBench();

const connection = { security: { kind: 'insecure' } } as const;

/** A destination that ends after one migration, where it listens, and what it has told so far. */
async function startOnce() {
  const received: ReceivedMigration[] = [];
  const failed: string[] = [];
  let served: Promise<unknown> = Promise.resolve();
  const address = await new Promise<PeerAddress>((resolve, reject) => {
    served = receiveMigrations({
      listen: { host: '127.0.0.1', port: 0 },
      connection,
      storeDirectory: join(root, freshId()),
      workers: 0,
      once: true,
      onListening: resolve,
      onReceived: (migration) => received.push(migration),
      onFailed: (error) => failed.push(error.message),
    }).catch((error: unknown) => {
      reject(error);
      return error;
    });
  });
  return { address, received, failed, served };
}

/** Says hello over a channel of its own. @returns the channel, and the answer */
async function greet(address: PeerAddress, purpose: 'migrate' | 'discard') {
  const channel = await connectChannel(address, connection);
  const target = { kind: 'simulated', name: 'sim:odd.yaml', fingerprint: 'odd' } as const;
  const rest = { strategy: 'pre-copy', target, pageSize: PAGE_SIZE, program: 'test' } as const;
  const hello: MessageOf<'hello'> = { type: 'hello', migrationId: freshId(), purpose, ...rest };
  await channel.send(hello);
  return { channel, answer: await channel.receive() };
}

async function refused(address: PeerAddress, purpose: 'migrate' | 'discard'): Promise<string> {
  const { channel, answer } = await greet(address, purpose);
  await channel.close();
  return answer?.type === 'abort' ? answer.reason : '';
}

describe('a destination of one migration', () => {
  it('goes on when it refuses one, and its end is that of the one that it takes', async () => {
    const { address, received, failed, served } = await startOnce();
    expect(await refused(address, 'discard')).toContain('only counts it');
    const target = openSimulatedTarget(SMALL_WORKLOAD, 'small.yaml');
    let meanwhile = '';
    const sent = await sendTarget(target, await connectChannel(address, connection), pool, {
      migrationId: freshId(),
      purpose: 'migrate',
      choice: { policy: 'criu' },
      program: 'test',
      scratchDirectory: root,
      time: new ModelledTime(20e6),
      onCommit: async () => {
        meanwhile = await refused(address, 'migrate');
      },
    });
    expect(await served).toBeUndefined();
    expect(meanwhile).toContain('another migration is under way');
    expect(failed).toEqual([
      expect.stringContaining('only counts it'),
      expect.stringContaining('another migration is under way'),
    ]);
    expect(received).toMatchObject([{ outcome: 'started', memoryDigest: sent.memoryDigest }]);
  });

  it('ends with the failure of the one that it takes', async () => {
    const { address, received, failed, served } = await startOnce();
    const { channel, answer } = await greet(address, 'migrate');
    expect(answer?.type).toBe('welcome');
    channel.abort(new Error('enough'));
    expect(await served).toMatchObject({ message: expect.stringContaining('enough') });
    expect([received, failed]).toEqual([[], []]);
  });
});
