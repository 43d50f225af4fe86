import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  executePrune,
  executeSquash,
  planPrune,
  planSquash,
  verifyStore,
} from '../../src/checkpoint/index.ts';
import { Random } from '../../src/core/index.ts';
import { FAULT_POINTS, type FaultPoint, type FaultPoints, type Store } from '../../src/store/index.ts';
import {
  CODEC,
  copyOf,
  dump,
  fingerprintOf,
  mutate,
  openStore,
  readBack,
  type TargetMemory,
  temporaryDirectory,
} from '../store/harness.ts';

/** Stands for SIGKILL: from the chosen point on nothing more happens to the disk. */
class Crash extends Error {}

class CrashAt implements FaultPoints {
  readonly passed: FaultPoint[] = [];
  readonly #survive: number;

  /** @param survive how many points are passed before the end; infinite to survive. */
  constructor(survive: number) {
    this.#survive = survive;
  }

  reached(point: FaultPoint): void {
    if (this.passed.length >= this.#survive) throw new Crash(`killed before ${point}`);
    this.passed.push(point);
  }
}

/** A store as a reader sees it: number to everything that the checkpoint holds. */
type Contents = Record<number, Record<string, string>>;

/** What a store holds, and the memory that the next dump finds. */
interface World {
  contents: Contents;
  target: TargetMemory;
}

/** Something that a command does to a store; it gives back the world afterwards. */
type Operation = (store: Store, world: World, random: Random) => Promise<World>;

const OPERATIONS: Readonly<Record<string, Operation>> = {
  base: (store, world, random) => dumpOn(store, world, random, null),
  delta: (store, world, random) => dumpOn(store, world, random, newestOf(world)),
  series: async (store, world, random) => {
    const series = await store.beginSeries(2);
    const first = await dumpOn(store, world, random, null);
    const second = await dumpOn(store, first, random, newestOf(first));
    await series.reveal();
    return second;
  },
  'abandoned series': async (store, world, random) => {
    const series = await store.beginSeries(2);
    await dumpOn(store, world, random, null);
    await series.abandon();
    return world;
  },
  prune: async (store, world, random) => {
    const plan = await planPrune(store, { keep: 1 + random.nextBelow(2) });
    await executePrune(store, plan);
    const kept = Object.entries(world.contents).filter(([number]) => plan.kept.includes(Number(number)));
    return { ...world, contents: Object.fromEntries(kept) };
  },
  squash: async (store, world) => {
    const deltas = (await store.manifests()).filter(({ kind }) => kind === 'delta');
    const newest = deltas.at(-1);
    if (newest !== undefined)
      await executeSquash(store, await planSquash(store, { checkpoint: newest.number }));
    return world;
  },
};

const newestOf = ({ contents }: World) => Object.keys(contents).map(Number).at(-1) ?? null;

async function dumpOn(store: Store, world: World, random: Random, parent: number | null): Promise<World> {
  const target = copyOf(world.target);
  mutate(target, random, 12);
  const { number } = await dump(store, target, { parent });
  return { target, contents: { ...world.contents, [number]: fingerprintOf(target) } };
}

async function contentsOf(store: Store): Promise<Contents> {
  const contents: Contents = {};
  for (const number of await store.numbers()) {
    const reader = await store.openCheckpoint(number);
    contents[number] = fingerprintOf(await readBack(reader));
    expect(await reader.memoryDigest()).toBe(reader.manifest.memoryDigest);
  }
  return contents;
}

let nextPid = 1;

/** Opens a store as a process of its own; every other process is dead. */
function openAs(path: string, faults: FaultPoints): Promise<Store> {
  const pid = nextPid++;
  const self = { pid, host: 'h', bootId: 'b', pidNamespace: 'n', startTicks: '1' };
  return openStore(path, { faults, lockHost: { self: () => self, isAlive: (owner) => owner.pid === pid } });
}

/** Runs a command that may be killed; undefined if it was. */
async function runCommand(
  path: string,
  faults: CrashAt,
  operation: Operation,
  world: World,
  random: Random,
): Promise<World | undefined> {
  let store: Store | undefined;
  try {
    store = await openAs(path, faults);
    const after = await operation(store, world, random);
    await store.close();
    return after;
  } catch (cause) {
    expect(cause).toBeInstanceOf(Crash);
    store?.blocks.close();
    return undefined;
  }
}

/** What a reader finds after a crash, which must be what the next writer finds, and its store must be clean. */
async function recoveredContents(path: string): Promise<Contents> {
  const reader = await openStore(path, { access: 'read' });
  const seen = await contentsOf(reader);
  await reader.close();
  const writer = await openAs(path, new CrashAt(Number.POSITIVE_INFINITY));
  expect(await contentsOf(writer)).toEqual(seen);
  const findings = [];
  for await (const finding of verifyStore(writer, CODEC)) findings.push(finding);
  expect(findings).toEqual([]);
  await writer.close();
  return seen;
}

async function prepareChain(path: string, seed: number): Promise<World> {
  const random = new Random(seed);
  let world: World = { contents: {}, target: new Map() };
  for (const name of ['base', 'delta', 'delta']) {
    const after = await runCommand(
      path,
      new CrashAt(Number.POSITIVE_INFINITY),
      OPERATIONS[name]!,
      world,
      random,
    );
    world = after ?? expect.fail('a command without faults failed');
  }
  return world;
}

describe('a command that is killed', () => {
  it.each(Object.keys(OPERATIONS))('%s: leaves the store as before or as after, whenever', async (name) => {
    using directory = temporaryDirectory();
    const template = join(directory.path, 'template');
    const world = await prepareChain(template, 11);
    const reference = join(directory.path, 'whole');
    cpSync(template, reference, { recursive: true });
    const whole = new CrashAt(Number.POSITIVE_INFINITY);
    const after = await runCommand(reference, whole, OPERATIONS[name]!, world, new Random(5));
    let sawBefore = false;
    let sawAfter = false;
    for (let survive = 0; ; survive++) {
      const path = join(directory.path, `killed-${survive}`);
      cpSync(template, path, { recursive: true });
      const killed = await runCommand(path, new CrashAt(survive), OPERATIONS[name]!, world, new Random(5));
      const found = await recoveredContents(path);
      expect([world.contents, after?.contents]).toContainEqual(found);
      if (JSON.stringify(found) === JSON.stringify(world.contents)) sawBefore = true;
      else sawAfter = true;
      if (killed !== undefined) break;
      expect(survive).toBeLessThan(whole.passed.length);
      rmSync(path, { recursive: true });
    }
    expect(sawBefore).toBe(true);
    // A squash changes how a checkpoint is stored and nothing of what it holds; what is abandoned never was.
    expect(sawAfter).toBe(!['squash', 'abandoned series'].includes(name));
  });

  it('at any point of any sequence of commands loses nothing', async () => {
    const step = fc.record({
      name: fc.constantFrom(...Object.keys(OPERATIONS)),
      survive: fc.oneof(fc.integer({ min: 0, max: 45 }), fc.constant(Number.POSITIVE_INFINITY)),
      seed: fc.integer(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 8 }), async (steps) => {
        using directory = temporaryDirectory();
        const path = join(directory.path, 'store');
        await (await openStore(path)).close();
        let world: World = { contents: {}, target: new Map() };
        for (const { name, survive, seed } of steps) {
          const operation = newestOf(world) === null ? OPERATIONS['base']! : OPERATIONS[name]!;
          const copy = join(directory.path, `copy-${nextPid}`);
          cpSync(path, copy, { recursive: true });
          const killed = await runCommand(path, new CrashAt(survive), operation, world, new Random(seed));
          const whole = new CrashAt(Number.POSITIVE_INFINITY);
          const after =
            killed ?? (await runCommand(copy, whole, operation, world, new Random(seed))) ?? expect.fail();
          const found = await recoveredContents(path);
          expect([world.contents, after.contents]).toContainEqual(found);
          if (killed !== undefined) expect(found).toEqual(after.contents);
          if (JSON.stringify(found) === JSON.stringify(after.contents)) world = after;
        }
      }),
      { numRuns: 12 },
    );
  });

  it('meets every fault point there is', async () => {
    using directory = temporaryDirectory();
    const path = join(directory.path, 'store');
    const met = new Set<FaultPoint>();
    const random = new Random(2);
    let world: World = { contents: {}, target: new Map() };
    for (const name of ['base', 'delta', 'delta', 'squash', 'prune', 'delta', 'delta', 'prune']) {
      const faults = new CrashAt(Number.POSITIVE_INFINITY);
      world = (await runCommand(path, faults, OPERATIONS[name]!, world, random)) ?? expect.fail();
      for (const point of faults.passed) met.add(point);
    }
    const killed = new CrashAt(12);
    await runCommand(path, killed, OPERATIONS['delta']!, world, random);
    const faults = new CrashAt(Number.POSITIVE_INFINITY);
    await runCommand(path, faults, OPERATIONS['delta']!, world, random);
    for (const point of faults.passed) met.add(point);
    expect([...met].sort()).toEqual([...FAULT_POINTS].sort());
  });
});

describe('the order of a commit', () => {
  it('makes every byte durable before a name that promises it', async () => {
    using directory = temporaryDirectory();
    const faults = new CrashAt(Number.POSITIVE_INFINITY);
    const store = await openAs(join(directory.path, 'store'), faults);
    faults.passed.length = 0;
    const target: TargetMemory = new Map();
    mutate(target, new Random(1), 20);
    await dump(store, target);
    expect(faults.passed.filter((point) => point !== 'clean-up')).toEqual([
      'pack-create',
      'pack-write',
      'pack-sync',
      'pack-rename',
      'pack-sync-directory',
      'manifest-write',
      'manifest-sync',
      'manifest-rename',
      'manifest-sync-directory',
    ]);
    await store.close();
  });
});
