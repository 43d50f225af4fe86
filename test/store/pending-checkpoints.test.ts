import { describe, expect, it } from 'vitest';
import { StoreUnusableError } from '../../src/core/index.ts';
import {
  dump,
  fingerprintOf,
  openStore,
  pageOf,
  readBack,
  type TargetMemory,
  temporaryDirectory,
} from './harness.ts';

const targetOf = (seed: number): TargetMemory =>
  new Map([
    [seed + 1, new Map(Array.from({ length: 40 }, (_, page) => [page * 3, pageOf(seed * 100 + page)]))],
  ]);

describe('several checkpoints at once', () => {
  it('get numbers and packs of their own, and each can be read', async () => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    const targets = Array.from({ length: 6 }, (_, seed) => targetOf(seed));
    const manifests = await Promise.all(targets.map((target) => dump(store, target)));
    expect(new Set(manifests.map(({ number }) => number)).size).toBe(6);
    expect(new Set(manifests.map(({ pack }) => pack)).size).toBe(6);
    for (const [at, { number }] of manifests.entries()) {
      expect(fingerprintOf(await readBack(await store.openCheckpoint(number)))).toEqual(
        fingerprintOf(targets[at]!),
      );
    }
    await store.close();
  });

  it.each([
    'pack-create',
    'pack-write',
    'pack-sync',
    'pack-rename',
    'manifest-write',
    'manifest-rename',
  ] as const)('lose nothing when some of them fail at %s', async (failing) => {
    using directory = temporaryDirectory();
    let reached = 0;
    const faults = {
      reached: (point: string) => {
        if (point === failing && reached++ % 3 === 1) throw new StoreUnusableError('injected');
      },
    };
    const store = await openStore(directory.path, { faults });
    const targets = Array.from({ length: 12 }, (_, seed) => targetOf(seed));
    const results = await Promise.allSettled(
      targets.map(async (target, at) => {
        // Not all in step: some begin while others end.
        await new Promise((resolve) => setTimeout(resolve, (at * 7) % 11));
        return dump(store, target);
      }),
    );
    const numbers = new Set<number>();
    for (const [at, result] of results.entries()) {
      if (result.status === 'rejected') continue;
      numbers.add(result.value.number);
      const { number } = result.value;
      expect(fingerprintOf(await readBack(await store.openCheckpoint(number)))).toEqual(
        fingerprintOf(targets[at]!),
      );
    }
    expect(reached).toBeGreaterThan(3);
    expect(numbers.size).toBeGreaterThan(3);
    expect(numbers.size).toBeLessThan(12);
    expect(await store.numbers()).toEqual([...numbers].sort((a, b) => a - b));
    expect(await store.packs()).toHaveLength(numbers.size);
    await store.close();
  });
});
