import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { StoreLockedError, StoreUnusableError } from '../../src/core/index.ts';
import { type LockHost, type LockOwner, machineLockHost } from '../../src/store/index.ts';
import { dump, openStore, pageOf, temporaryDirectory } from './harness.ts';

const OWNER: LockOwner = { pid: 41, host: 'here', bootId: 'b', pidNamespace: 'n', startTicks: '7' };

/** A machine on which this test is process `pid`, and of which `alive` tells what is known. */
function hostOf(pid: number, alive: (owner: LockOwner) => boolean | undefined): LockHost {
  return { self: () => ({ ...OWNER, pid }), isAlive: alive };
}

describe('the lock of a store', () => {
  it('is held from opening for writing to closing, and says by whom', async () => {
    using directory = temporaryDirectory();
    const lock = join(directory.path, 'lock');
    const store = await openStore(directory.path);
    expect(JSON.parse(readFileSync(lock, 'utf8'))).toMatchObject({ pid: process.pid, command: 'test' });
    await store.close();
    expect(existsSync(lock)).toBe(false);
  });

  it('refuses a second writer and names the first', async () => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    const refused = openStore(directory.path);
    await expect(refused).rejects.toThrow(StoreLockedError);
    await expect(refused).rejects.toThrow(`in use by 'test' (pid ${process.pid}) since `);
    await store.close();
    await (await openStore(directory.path)).close();
  });

  it('is given to exactly one of several that come at once', async () => {
    using directory = temporaryDirectory();
    await (await openStore(directory.path)).close();
    const attempts = await Promise.allSettled(
      [1, 2, 3, 4].map((pid) => openStore(directory.path, { lockHost: hostOf(pid, () => true) })),
    );
    const winners = attempts.filter(({ status }) => status === 'fulfilled');
    expect(winners).toHaveLength(1);
    for (const attempt of attempts) {
      if (attempt.status === 'rejected') expect(attempt.reason).toBeInstanceOf(StoreLockedError);
      else await attempt.value.close();
    }
  });

  it('hinders no reader', async () => {
    using directory = temporaryDirectory();
    const writer = await openStore(directory.path);
    await dump(writer, new Map([[1, new Map([[5, pageOf(1)]])]]));
    const reader = await openStore(directory.path, { access: 'read' });
    expect(await reader.numbers()).toEqual([1]);
    await reader.close();
    await writer.close();
  });

  it('is taken over from a dead owner, which is reported', async () => {
    using directory = temporaryDirectory();
    await openStore(directory.path, { lockHost: hostOf(41, () => true) });
    const store = await openStore(directory.path, { lockHost: hostOf(42, ({ pid }) => pid !== 41) });
    expect(store.notices).toEqual([expect.stringContaining("took over the lock of 'test' (pid 41")]);
    await store.close();
    expect(existsSync(join(directory.path, 'lock'))).toBe(false);
  });

  it('is not taken over where nobody can tell whether its owner lives', async () => {
    using directory = temporaryDirectory();
    await openStore(directory.path, { lockHost: hostOf(41, () => undefined) });
    const refused = openStore(directory.path, { lockHost: hostOf(42, () => undefined) });
    await expect(refused).rejects.toMatchObject({
      message: expect.stringContaining('pid 41 on here'),
      hint: expect.stringContaining('if that process has ended, remove '),
    });
  });

  it('is refused, not ignored, if it is unreadable', async () => {
    using directory = temporaryDirectory();
    await (await openStore(directory.path)).close();
    for (const text of ['', '{', '[]', '{"pid": 1}']) {
      writeFileSync(join(directory.path, 'lock'), text);
      await expect(openStore(directory.path)).rejects.toThrow(StoreUnusableError);
    }
  });
});

describe('the machine as a lock host', () => {
  const self = machineLockHost.self();

  it('knows this process to be alive', () => {
    expect(machineLockHost.isAlive(self)).toBe(true);
  });

  it('knows a process that has ended to be dead', () => {
    const { pid } = spawnSync('true');
    expect(machineLockHost.isAlive({ ...self, pid })).toBe(false);
  });

  it('is not fooled by a reused PID or a restart', () => {
    expect(machineLockHost.isAlive({ ...self, startTicks: '1' })).toBe(false);
    expect(machineLockHost.isAlive({ ...self, bootId: 'another' })).toBe(false);
  });

  it('does not judge processes of other hosts and other PID namespaces', () => {
    expect(machineLockHost.isAlive({ ...self, host: 'another' })).toBeUndefined();
    expect(machineLockHost.isAlive({ ...self, pidNamespace: 'pid:[1]' })).toBeUndefined();
  });
});
