import { tmpdir } from 'node:os';
import { afterAll, describe, expect, it } from 'vitest';
import { digestTargetMemory } from '../../../src/checkpoint/index.ts';
import { CodecPool } from '../../../src/codec/index.ts';
import { PeerError, TargetError, UsageError } from '../../../src/core/index.ts';
import { ModelledTime } from '../../../src/migration/send/migration-time.ts';
import { sendTarget } from '../../../src/migration/send/send-target.ts';
import type { MigrationProgress, SendOptions } from '../../../src/migration/send/send-types.ts';
import { openSimulatedTarget, type Target } from '../../../src/target/index.ts';
import { anonymousVma, MemoryProcess, MemoryTarget, patternPage } from '../../checkpoint/memory-target.ts';
import { SMALL_WORKLOAD } from '../../checkpoint/workload.ts';
import { channelPair, type PairFaults } from '../wire/channel-pair.ts';
import { type Behaviour, PlainDestination } from './destination.ts';

const pool = new CodecPool({ workers: 0 });
afterAll(() => pool.close());

interface Attempt {
  readonly options?: Partial<SendOptions>;
  readonly behaviour?: Behaviour;
  readonly faults?: PairFaults;
}

async function migrate(target: Target, { options = {}, behaviour = {}, faults = {} }: Attempt = {}) {
  const [here, there] = channelPair(faults);
  const destination = new PlainDestination(behaviour);
  const served = destination.serve(there).catch(() => undefined);
  const sending = sendTarget(target, here, pool, {
    migrationId: '0123456789abcdef',
    purpose: 'migrate',
    choice: { policy: 'fixed', options: { rounds: 2 } },
    program: 'test',
    scratchDirectory: tmpdir(),
    time: new ModelledTime(100e6),
    ...options,
  });
  const [settled] = await Promise.allSettled([sending, served]);
  if (settled.status === 'rejected') return { destination, failure: settled.reason as Error };
  return { destination, migration: settled.value };
}

/** Pages 100 to 139 of one process, of which some are zeros. */
function smallTarget(): { target: MemoryTarget; process: MemoryProcess } {
  const process = new MemoryProcess(7);
  process.mappings = [anonymousVma(100, 164)];
  for (let page = 100; page < 140; page++) process.store(page, patternPage(page % 5 === 0 ? 0 : page));
  return { target: new MemoryTarget([process], true), process };
}

describe('sending a target', () => {
  it('gives the destination what a simulated one holds when it stops', async () => {
    const target = openSimulatedTarget(SMALL_WORKLOAD, 'small.yaml');
    await target.run(5_000);
    const { destination, migration } = await migrate(target, { options: { choice: { policy: 'qemu' } } });
    expect(migration).toMatchObject({ end: 'moved', verdict: 'converges', policy: 'qemu' });
    expect(destination.digest()).toBe(await digestTargetMemory(target, pool));
    expect(destination.rounds.at(-1)?.final).toBe(true);
    expect(migration?.rounds).toHaveLength(destination.rounds.length);
  });

  it('sends what is written while it runs, again, and nothing twice that has not changed', async () => {
    const { target, process } = smallTarget();
    let thawed = 0;
    target.onThaw = () => {
      if (++thawed !== 2) return;
      process.store(110, patternPage(999));
      process.store(111, patternPage(111)); // As it is.
    };
    const { destination, migration } = await migrate(target);
    const held = destination.pages.get(7)!;
    expect([...held.keys()].sort((left, right) => left - right)).toEqual([...process.pages.keys()]);
    for (const [page, bytes] of process.pages) expect(Buffer.compare(held.get(page)!, bytes)).toBe(0);
    expect(migration?.pages).toMatchObject({ normal: 33, duplicate: 8 });
    // Two looks while it ran, and the last one.
    expect(target.freezes).toBe(3);
    expect(migration?.scans.count).toBe(2);
  });

  it('lets the destination drop what is gone, and misses nothing that comes back', async () => {
    const { target, process } = smallTarget();
    const steps = [
      () => undefined,
      () => {
        process.unmap(101);
        process.unmap(102);
      },
      () => process.store(101, patternPage(5)),
    ];
    target.onThaw = () => steps.shift()?.();
    const choice = { policy: 'fixed', options: { rounds: 3 } } as const;
    const { destination } = await migrate(target, { options: { choice } });
    const held = destination.pages.get(7)!;
    expect(held.has(102)).toBe(false);
    expect(Buffer.compare(held.get(101)!, patternPage(5))).toBe(0);
    expect(destination.said).toContain('gone');
  });

  it('goes on without a child that ends while it is read, however often that happens', async () => {
    const { target, process } = smallTarget();
    const children = [8, 9, 10].map((pid) => {
      const child = new MemoryProcess(pid, 7);
      child.mappings = [anonymousVma(1000, 1640)];
      for (let page = 1000; page < 1640; page++) child.store(page, patternPage(page));
      child.beforeRead = (page) => {
        if (page < 1500) return;
        target.list.splice(target.list.indexOf(child), 1);
        throw new TargetError(`process ${pid} is gone`, { data: { gone: true } });
      };
      return child;
    });
    target.list.push(...children);
    const { destination, migration } = await migrate(target);
    expect(migration?.end).toBe('moved');
    expect(destination.pages.get(7)!.size).toBe(process.pages.size);
    for (const { pid } of children) expect(destination.pages.get(pid)!.size).toBe(0);
  });

  it('takes a page that cannot be read for a moment as one that is still to be sent', async () => {
    const { target, process } = smallTarget();
    process.unreadable.add(120);
    target.onThaw = () => target.freezes > 1 && process.unreadable.clear();
    const { destination, migration } = await migrate(target);
    expect(migration?.end).toBe('moved');
    expect(Buffer.compare(destination.pages.get(7)!.get(120)!, process.pages.get(120)!)).toBe(0);
  });

  it('leaves out, and tells of, a page that cannot be read in the stop', async () => {
    const { target, process } = smallTarget();
    process.unreadable.add(121);
    const { destination, migration } = await migrate(target);
    expect(destination.pages.get(7)!.has(121)).toBe(false);
    expect(migration?.warnings).toEqual([expect.stringContaining('0x79000')]);
  });

  it.each([
    ['xen', 6],
    ['phaul', 2],
    ['criu', 2],
    ['clark', 30],
  ] as const)('stops by the rules of %s', async (policy, rounds) => {
    const { target, process } = smallTarget();
    for (let page = 140; page < 160; page++) process.store(page, patternPage(page));
    const big = new MemoryProcess(8, 7);
    big.mappings = [anonymousVma(1000, 1200)];
    for (let page = 1000; page < 1200; page++) big.store(page, patternPage(page));
    target.list.push(big);
    target.onThaw = () => {
      for (let page = 1000; page < 1100; page++) big.store(page, patternPage(page + target.freezes));
    };
    const { migration, failure } = await migrate(target, { options: { choice: { policy } } });
    expect(failure).toBeUndefined();
    expect(migration?.rounds).toHaveLength(rounds);
  });

  it('stops at once where it is told to', async () => {
    const { target } = smallTarget();
    const choice = { policy: 'fixed', options: { rounds: 0 } } as const;
    const { migration, destination } = await migrate(target, { options: { choice } });
    expect(migration).toMatchObject({ strategy: 'stop-and-copy', end: 'moved' });
    expect(target.freezes).toBe(1);
    expect(destination.hello?.strategy).toBe('stop-and-copy');
  });

  it('gives up a target that writes faster than it can be sent, and lets it go on', async () => {
    const { target, process } = smallTarget();
    let value = 0;
    target.onThaw = () => {
      for (let page = 100; page < 140; page++) process.store(page, patternPage(++value));
    };
    const { migration, destination } = await migrate(target, {
      options: {
        choice: { policy: 'qemu', options: { downtimeLimitMicroseconds: 1 } },
        giveUpAfterMicroseconds: 1e6,
      },
    });
    expect(migration).toMatchObject({
      end: 'given-up',
      verdict: 'does-not-converge',
      downtimeMicroseconds: 0,
    });
    expect(target.frozen).toBe(false);
    expect(destination.committed).toBe(false);
    expect(destination.said.at(-1)).toBe('abort');
  });

  it('goes on here where the destination cannot run it, or was not to', async () => {
    const { target } = smallTarget();
    const obstacles = ['it has a window open'];
    const refused = await migrate(target, { behaviour: { obstacles } });
    expect(refused.migration).toMatchObject({ end: 'not-runnable', obstacles, checkpoint: 3 });
    expect(refused.destination.committed).toBe(false);
    const { migration, destination } = await migrate(target, { options: { purpose: 'discard' } });
    expect(migration?.end).toBe('rehearsed');
    expect(destination.committed).toBe(false);
    expect(target.frozen).toBe(false);
  });

  it('tells in the words of QEMU where it is', async () => {
    const { target } = smallTarget();
    const seen: MigrationProgress[] = [];
    await migrate(target, { options: { onProgress: (progress) => seen.push(progress) } });
    const statuses = seen.map(({ status }) => status);
    expect([...new Set(statuses)]).toEqual(['setup', 'active', 'device', 'completed']);
    expect(seen.at(-1)).toMatchObject({ remainingBytes: 0, round: 3 });
  });
});

describe('a migration that fails', () => {
  it.each([3, 6, 9, 12])(
    'because the destination gives up at message %i leaves the target running',
    async (abortsAt) => {
      const { target } = smallTarget();
      const { failure } = await migrate(target, { behaviour: { abortsAt } });
      expect(failure).toBeInstanceOf(PeerError);
      expect(failure?.message).toContain('it was told to');
      expect(target.frozen).toBe(false);
    },
  );

  it.each([
    { autoConverge: true },
    { xbzrle: true },
    { maxPostcopyBandwidth: 1e6 },
    { postcopyPreempt: true },
    { clearLog: 'before-send' },
  ] as const)('before it has begun, over %j, lets the destination go', async (options) => {
    const { target } = smallTarget();
    const choice = { policy: 'qemu', options } as const;
    const { failure, destination } = await migrate(target, { options: { choice } });
    expect(failure).toBeInstanceOf(UsageError);
    expect(destination.said).toEqual([]);
    expect(target.freezes).toBe(0);
  });

  it('because other memory arrived than was sent leaves the target running', async () => {
    const { target } = smallTarget();
    const { failure, destination } = await migrate(target, { behaviour: { wrongDigest: true } });
    expect(failure?.message).toContain('the digests differ');
    expect(target.frozen).toBe(false);
    expect(destination.committed).toBe(false);
  });

  it('by Ctrl-C in any look lets the target go on and never says commit', async () => {
    for (const stop of [1, 2, 3]) {
      const { target } = smallTarget();
      const controller = new AbortController();
      const reason = new Error('Ctrl-C');
      target.onFreeze = () => target.freezes === stop && controller.abort(reason);
      const { failure, destination } = await migrate(target, { options: { signal: controller.signal } });
      expect(failure).toBe(reason);
      expect(target.frozen).toBe(false);
      expect(destination.committed).toBe(false);
    }
  });

  it('after commit leaves the target stopped, and says that it is in doubt', async () => {
    const { target } = smallTarget();
    const { failure, destination } = await migrate(target, { behaviour: { silentAfterCommit: true } });
    expect(destination.committed).toBe(true);
    expect(failure).toMatchObject({ data: { inDoubt: true, migrationId: '0123456789abcdef' } });
    expect(failure?.message).toContain('stays stopped here');
    expect(failure).toMatchObject({ hint: expect.stringContaining('--resolve 0123456789abcdef') });
    expect(target.frozen).toBe(true);
  });

  it('after commit leaves nothing of a simulated target to resolve here', async () => {
    const target = openSimulatedTarget(SMALL_WORKLOAD, 'small.yaml');
    const { failure } = await migrate(target, { behaviour: { silentAfterCommit: true } });
    expect(failure).toMatchObject({ data: { inDoubt: true } });
    expect(failure).not.toMatchObject({ hint: expect.stringContaining('--resolve') });
  });

  it('because the destination says after commit that it could not start it leaves the target running', async () => {
    const { target } = smallTarget();
    const { failure } = await migrate(target, { behaviour: { failsToStart: true } });
    expect(failure?.message).toContain('no room to run');
    expect(target.frozen).toBe(false);
  });
});
