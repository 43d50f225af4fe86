import { tmpdir } from 'node:os';
import { afterAll, describe, expect, it } from 'vitest';
import { CodecPool } from '../../../src/codec/index.ts';
import { openSimulatedMemory } from '../../../src/migration/index.ts';
import { type PolicyChoice, rehearseOnce } from '../../../src/migration/rehearse-once.ts';
import { ModelledTime } from '../../../src/migration/send/migration-time.ts';
import { sendTarget } from '../../../src/migration/send/send-target.ts';
import { openSimulatedTarget } from '../../../src/target/index.ts';
import { parseWorkload } from '../../../src/workload/index.ts';
import { channelPair } from '../wire/channel-pair.ts';
import { PlainDestination } from './destination.ts';

const pool = new CodecPool({ workers: 0 });
afterAll(() => pool.close());

const BYTES_PER_SECOND = 20e6;
const WARM_UP = 100_000;

const WORKLOAD = `
version: 1
name: skewed
seed: 3
processes:
  - name: server
    cpu: 30%
    regions:
      heap: { size: 12MiB, kind: anonymous, content: { kind: random } }
      spare: { size: 2MiB, kind: anonymous, content: { kind: zero } }
    phases:
      - duration: 60s
        writes:
          - { region: heap, pattern: hot-cold, hot: 10%, probability: 90%, rate: 2500/s, bytes: 64 }
`;

/** What a migration in modelled time costs: the bytes, and nothing else. */
const NOTHING = {
  setupMicroseconds: 0,
  pageNanoseconds: 0,
  firstShare: 1,
  again: [{ microseconds: 1e6, share: 1, unchanged: 0 }],
  mappingsBytes: 200,
  lookMicroseconds: 0,
  lookFrozenMicroseconds: 0,
  storeMicroseconds: 0,
  prepareMicroseconds: 0,
};

async function send(choice: PolicyChoice) {
  const target = openSimulatedTarget(WORKLOAD, 'skewed.yaml');
  await target.run(WARM_UP);
  const [here, there] = channelPair();
  const served = new PlainDestination().serve(there);
  const migration = await sendTarget(target, here, pool, {
    migrationId: '0123456789abcdef',
    purpose: 'migrate',
    choice,
    program: 'test',
    compression: 'none',
    scratchDirectory: tmpdir(),
    time: new ModelledTime(BYTES_PER_SECOND),
  });
  await served;
  return migration;
}

async function rehearseSame(choice: PolicyChoice, stateBytes: number) {
  const memory = await openSimulatedMemory(parseWorkload(WORKLOAD, 'skewed.yaml'), {
    warmUpMicroseconds: WARM_UP,
  });
  return rehearseOnce(memory, {
    link: {
      bytesPerSecond: BYTES_PER_SECOND,
      roundTripMicroseconds: 0,
      setupMicroseconds: 0,
      backlogBytes: 1e5,
    },
    choice,
    costs: { stopMicroseconds: 0, stateBytes },
    sending: NOTHING,
  });
}

describe('a rehearsal of sending', () => {
  it.each<PolicyChoice>([
    { policy: 'fixed' },
    { policy: 'qemu', options: { maxBandwidth: 0, downtimeLimitMicroseconds: 60_000 } },
    { policy: 'qemu', options: { maxBandwidth: 8e6, downtimeLimitMicroseconds: 150_000 } },
    { policy: 'xen' },
    { policy: 'phaul' },
    { policy: 'criu', options: { preDumps: 2 } },
    { policy: 'clark', options: { maxRate: 15e6, minRate: 10e6 } },
  ])('by the rules of $policy comes to what sending the same program comes to: %#', async (choice) => {
    const sent = await send(choice);
    const last = sent.rounds.at(-1)!;
    const stateBytes = last.sentBytes - last.sentPages * 4096;
    const rehearsed = await rehearseSame(choice, Math.max(0, stateBytes));
    expect(rehearsed.verdict).toBe('converges');
    expect(Math.abs(rehearsed.rounds.length - sent.rounds.length)).toBeLessThanOrEqual(1);
    const within = (name: 'totalMicroseconds' | 'transferredBytes', share: number) => {
      const error = Math.abs(rehearsed[name] / sent[name] - 1);
      expect.soft(error, `${name}: ${rehearsed[name]} rehearsed, ${sent[name]} sent`).toBeLessThan(share);
    };
    within('totalMicroseconds', 0.05);
    within('transferredBytes', 0.05);
    const downtimes = [rehearsed.downtimeMicroseconds, sent.downtimeMicroseconds];
    expect
      .soft(Math.abs(downtimes[0]! - downtimes[1]!), `${downtimes}`)
      .toBeLessThan(Math.max(30_000, downtimes[1]! * 0.2));
    expect.soft(Math.abs(rehearsed.pages.duplicate - sent.pages.duplicate)).toBeLessThan(20);
  });
});
