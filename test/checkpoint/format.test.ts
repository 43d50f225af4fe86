import { describe, expect, it } from 'vitest';
import { executePrune, executeSquash, planPrune, planSquash } from '../../src/checkpoint/index.ts';
import { Random } from '../../src/core/index.ts';
import { IndependentReader, openZstd } from '../image/independent-reader.ts';
import {
  dump,
  fingerprintOf,
  mutate,
  openStore,
  pageOf,
  type TargetMemory,
  temporaryDirectory,
} from '../store/harness.ts';

describe('FORMAT.md', () => {
  it('suffices for a reader that shares no code with ckpt', async () => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    const target: TargetMemory = new Map();
    const random = new Random(21);
    const expected = new Map<number, object>();
    for (let number = 1; number <= 6; number++) {
      mutate(target, random, 80);
      const { memoryDigest } = await dump(store, target, { parent: number === 1 ? null : number - 1 });
      const state = Buffer.from(pageOf(target.size)).toString('hex');
      expected.set(number, { pages: fingerprintOf(target), state, files: null, memoryDigest });
    }
    await executeSquash(store, await planSquash(store, { checkpoint: 4 }));
    await executePrune(store, await planPrune(store, { keep: 5 }));
    await store.close();
    const reader = new IndependentReader(directory.path, await openZstd());
    expect(reader.numbers()).toEqual([2, 3, 4, 5, 6]);
    for (const number of reader.numbers()) expect(reader.read(number)).toEqual(expected.get(number));
  });
});
