import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Random } from '../../src/core/index.ts';
import {
  copyOf,
  dump,
  fingerprintOf,
  mutate,
  openStore,
  pageOf,
  readBack,
  type TargetMemory,
  temporaryDirectory,
} from './harness.ts';

describe('a chain in a store', () => {
  it('gives back what every checkpoint held, whatever happened in between', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.integer({ min: 1, max: 6 }), async (seed, length) => {
        using directory = temporaryDirectory();
        const store = await openStore(directory.path);
        const random = new Random(seed);
        const target: TargetMemory = new Map();
        const expected: TargetMemory[] = [];
        for (let number = 1; number <= length; number++) {
          mutate(target, random, 60);
          expected.push(copyOf(target));
          const manifest = await dump(store, target, { parent: number === 1 ? null : number - 1 });
          expect(manifest.number).toBe(number);
        }
        await store.close();
        const reopened = await openStore(directory.path, { access: 'read' });
        for (const [index, memory] of expected.entries()) {
          const reader = await reopened.openCheckpoint(index + 1);
          expect(fingerprintOf(await readBack(reader))).toEqual(fingerprintOf(memory));
          expect(await reader.memoryDigest()).toBe(reader.manifest.memoryDigest);
          expect(await reader.state()).toEqual(pageOf(memory.size));
          for (const pid of memory.keys()) expect(await reader.trackerState(pid)).toEqual(pageOf(pid));
        }
        await reopened.close();
      }),
      { numRuns: 25 },
    );
  });
});
