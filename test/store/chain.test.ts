import { statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Random } from '../../src/core/index.ts';
import { blockOfPosition, MAX_PACK_BLOCKS, SEGMENT_PAGES } from '../../src/image/index.ts';
import type { CheckpointReader, Store } from '../../src/store/index.ts';
import {
  dump,
  fingerprintOf,
  openStore,
  pageOf,
  readBack,
  type TargetMemory,
  temporaryDirectory,
} from './harness.ts';

const PAGES = 600;
const LENGTH = 100;

/** A process that changes a few dozen bytes of some pages between two checkpoints. */
async function dumpLongChain(store: Store, length: number, changes: number): Promise<TargetMemory> {
  const random = new Random(99);
  const memory = new Map([...Array(PAGES).keys()].map((page) => [page * 40, pageOf(page)] as const));
  const target: TargetMemory = new Map([[1, new Map(memory)]]);
  for (let number = 1; number <= length; number++) {
    for (let change = 0; change < changes && number > 1; change++) {
      const page = random.nextBelow(PAGES);
      target.get(1)?.set(page * 40, pageOf(page, 1 + random.nextBelow(900)));
    }
    await dump(store, target, { parent: number === 1 ? null : number - 1 });
  }
  return target;
}

/** The blocks that hold pages and differences of a checkpoint. */
async function blocksNeededBy(reader: CheckpointReader): Promise<Set<number>> {
  const index = await reader.index(1);
  const blocks = new Set<number>();
  for (const reference of index.segments) {
    const { segment } = await index.load(reference);
    for (let entry = 0; entry < segment.count; entry++) {
      const whole = segment.packs[entry]!;
      const delta = segment.deltaPacks[entry]!;
      if (whole !== 0) blocks.add(whole * MAX_PACK_BLOCKS + blockOfPosition(segment.positions[entry]!));
      if (delta !== 0) blocks.add(delta * MAX_PACK_BLOCKS + blockOfPosition(segment.deltaPositions[entry]!));
    }
  }
  return blocks;
}

describe('a long chain', () => {
  it('is not replayed: the hundredth checkpoint reads every block that it needs once', async () => {
    using directory = temporaryDirectory();
    const writer = await openStore(directory.path);
    const target = await dumpLongChain(writer, LENGTH, 20);
    await writer.close();
    const store = await openStore(directory.path, { access: 'read' });
    const reader = await store.openCheckpoint(LENGTH);
    const needed = await blocksNeededBy(reader);
    const before = store.blocks.statistics.blocksRead;
    expect(fingerprintOf(await readBack(reader))).toEqual(fingerprintOf(target));
    expect(store.blocks.statistics.blocksRead - before).toBe(needed.size);
    expect(needed.size).toBeGreaterThan(LENGTH / 2);
    await store.close();
  });

  it('of small changes has deltas more than five times smaller than the same pages stored whole', async () => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    const target = await dumpLongChain(store, 12, 200);
    const deltas = [...Array(11).keys()].map((index) => packBytes(store, index + 2));
    const changed = new Map([...(target.get(1) ?? [])].slice(0, 170));
    const whole = await dump(store, new Map([[1, changed]]), { parent: null });
    for (const bytes of deltas) expect(bytes * 5).toBeLessThan(whole.bytes.stored);
    await store.close();
  });

  it('costs next to nothing where nothing changed', async () => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    const target = await dumpLongChain(store, 1, 0);
    const { bytes } = await dump(store, target, { parent: 1 });
    expect(bytes.stored).toBeLessThan(1500);
    const { segments } = await (await store.openCheckpoint(2)).index(1);
    expect(segments.length).toBe(Math.ceil((PAGES * 40) / SEGMENT_PAGES));
    expect(new Set(segments.map(({ location }) => location.pack))).toEqual(new Set([1]));
    await store.close();
  });

  function packBytes(store: Store, pack: number): number {
    return statSync(join(store.directory, 'packs', `${String(pack).padStart(6, '0')}.pack`)).size;
  }
});
