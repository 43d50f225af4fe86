import { tmpdir } from 'node:os';
import { afterAll, describe, expect, it } from 'vitest';
import { digestTargetMemory, readWorkloadFile } from '../../../src/checkpoint/index.ts';
import { CodecPool } from '../../../src/codec/index.ts';
import { ModelledTime } from '../../../src/migration/send/migration-time.ts';
import { sendTarget } from '../../../src/migration/send/send-target.ts';
import type { SendOptions } from '../../../src/migration/send/send-types.ts';
import { openSimulatedTarget, type Target } from '../../../src/target/index.ts';
import { type Behaviour, PlainDestination } from './destination.ts';
import { memoryChannels } from './memory-channel.ts';

const pool = new CodecPool({ workers: 0 });
afterAll(() => pool.close());

function simulated(name = 'kv-store'): Target {
  const path = `fixtures/${name}.yaml`;
  return openSimulatedTarget(readWorkloadFile(path), path);
}

async function migrate(target: Target, options: Partial<SendOptions> = {}, behaviour: Behaviour = {}) {
  const [here, there] = memoryChannels();
  const destination = new PlainDestination(behaviour);
  const served = destination.serve(there).catch(() => undefined);
  const sending = sendTarget(target, here, pool, {
    migrationId: 'm1',
    purpose: 'migrate',
    choice: { policy: 'qemu' },
    program: 'test',
    scratchDirectory: tmpdir(),
    time: new ModelledTime(100e6),
    ...options,
  });
  const settled = await Promise.allSettled([sending, served]);
  if (settled[0].status === 'rejected') return { destination, failure: settled[0].reason as Error };
  return { destination, migration: settled[0].value };
}

describe('sending a simulated target', () => {
  it('gives the destination the memory that it has when it stops', async () => {
    const target = simulated();
    await target.run(200_000);
    const { destination, migration, failure } = await migrate(target);
    expect(failure).toBeUndefined();
    console.log(JSON.stringify(migration, undefined, 1));
    expect(migration).toMatchObject({ end: 'moved', verdict: 'converges', policy: 'qemu' });
    expect(destination.digest()).toBe(await digestTargetMemory(target, pool));
  });
});
