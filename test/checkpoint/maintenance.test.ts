import { chmodSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  executePrune,
  executeSquash,
  type Finding,
  planPrune,
  planSquash,
  verifyStore,
} from '../../src/checkpoint/index.ts';
import { IntegrityError, Random, UsageError } from '../../src/core/index.ts';
import type { Store } from '../../src/store/index.ts';
import {
  CODEC,
  copyOf,
  dump,
  fingerprintOf,
  mutate,
  openStore,
  pageOf,
  readBack,
  type TargetMemory,
  temporaryDirectory,
} from '../store/harness.ts';

async function findingsIn(store: Store): Promise<Finding[]> {
  const findings: Finding[] = [];
  for await (const finding of verifyStore(store, CODEC)) findings.push(finding);
  return findings;
}

/** Dumps a base and deltas of changing memory; gives back what each checkpoint must hold. */
async function dumpChain(store: Store, random: Random, length: number, writes = 60): Promise<TargetMemory[]> {
  const target: TargetMemory = new Map();
  const expected: TargetMemory[] = [];
  for (let number = 1; number <= length; number++) {
    mutate(target, random, writes);
    expected.push(copyOf(target));
    await dump(store, target, { parent: number === 1 ? null : number - 1 });
  }
  return expected;
}

async function expectCheckpoint(store: Store, number: number, expected: TargetMemory): Promise<void> {
  const reader = await store.openCheckpoint(number);
  expect(fingerprintOf(await readBack(reader))).toEqual(fingerprintOf(expected));
  expect(await reader.memoryDigest()).toBe(reader.manifest.memoryDigest);
  expect(await reader.state()).toEqual(pageOf(expected.size));
}

const packBytes = async (store: Store) => {
  const sizes = (await store.packs()).map(
    (pack) => statSync(join(store.directory, 'packs', `${String(pack).padStart(6, '0')}.pack`)).size,
  );
  return sizes.reduce((sum, size) => sum + size, 0);
};

describe('prune', () => {
  it('keeps the newest checkpoints whole and frees what it promised', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.integer({ min: 1, max: 5 }), async (seed, keep) => {
        using directory = temporaryDirectory();
        const store = await openStore(directory.path);
        const expected = await dumpChain(store, new Random(seed), 5);
        const before = await packBytes(store);
        const plan = await planPrune(store, { keep });
        await executePrune(store, plan);
        expect(await store.numbers()).toEqual(plan.kept);
        expect(before - (await packBytes(store))).toBe(plan.bytesFreed);
        for (const number of plan.kept) await expectCheckpoint(store, number, expected[number - 1]!);
        expect(await findingsIn(store)).toEqual([]);
        await store.close();
      }),
      { numRuns: 15 },
    );
  });

  it('leaves a store on which dumps go on, with new numbers', async () => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    const random = new Random(3);
    const expected = await dumpChain(store, random, 4);
    await executePrune(store, await planPrune(store, { keep: 1 }));
    const target = copyOf(expected[3]!);
    mutate(target, random, 30);
    expect((await dump(store, target, { parent: 4 })).number).toBe(5);
    await expectCheckpoint(store, 4, expected[3]!);
    await expectCheckpoint(store, 5, target);
    await store.close();
  });

  it('changes nothing until it is executed, and nothing if there is nothing to do', async () => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    await dumpChain(store, new Random(4), 2);
    const before = await packBytes(store);
    const plan = await planPrune(store, { keep: 9 });
    expect(plan).toMatchObject({ kept: [1, 2], removed: [], packs: [], bytesFreed: 0 });
    await executePrune(store, plan);
    await planPrune(store, { keep: 1 });
    expect(await packBytes(store)).toBe(before);
    expect(await store.numbers()).toEqual([1, 2]);
    await store.close();
  });

  it('does not disturb who reads a kept checkpoint, and never gives wrong pages of a removed one', async () => {
    using directory = temporaryDirectory();
    const writer = await openStore(directory.path);
    const expected = await dumpChain(writer, new Random(31), 4, 200);
    const store = await openStore(directory.path, { access: 'read' });
    const readers = await Promise.all([1, 2, 3, 4].map((number) => store.openCheckpoint(number)));
    await readBack(readers[3]!);
    const late = await openStore(directory.path, { access: 'read' });
    const lateReader = await late.openCheckpoint(1);
    await executePrune(writer, await planPrune(writer, { keep: 1 }));
    expect(fingerprintOf(await readBack(readers[3]!))).toEqual(fingerprintOf(expected[3]!));
    for (const [index, reader] of [...readers, lateReader].entries()) {
      try {
        const memory = expected[index] ?? expected[0]!;
        expect(fingerprintOf(await readBack(reader))).toEqual(fingerprintOf(memory));
      } catch (cause) {
        expect(cause).toBeInstanceOf(IntegrityError);
      }
    }
    for (const open of [store, late, writer]) await open.close();
  });

  it.each([0, -1, 1.5, Number.NaN])('refuses to keep %s checkpoints', async (keep) => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    await expect(planPrune(store, { keep })).rejects.toThrow(UsageError);
    await store.close();
  });
});

describe('squash', () => {
  it('makes any checkpoint of a chain a base that holds the same memory, and leaves the others alone', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.integer({ min: 2, max: 4 }), async (seed, checkpoint) => {
        using directory = temporaryDirectory();
        const store = await openStore(directory.path);
        const expected = await dumpChain(store, new Random(seed), 4);
        const before = await store.manifest(checkpoint);
        const plan = await planSquash(store, { checkpoint });
        expect(plan.chain).toEqual([1, 2, 3, 4].slice(0, checkpoint));
        const result = await executeSquash(store, plan);
        const after = await store.manifest(checkpoint);
        expect(after).toMatchObject({
          kind: 'base',
          parent: null,
          packs: [result.pack],
          memoryDigest: before.memoryDigest,
          createdAt: before.createdAt,
        });
        for (const [index, memory] of expected.entries()) await expectCheckpoint(store, index + 1, memory);
        expect(await findingsIn(store)).toEqual([]);
        await executePrune(store, await planPrune(store, { keep: 5 - checkpoint }));
        for (let number = checkpoint; number <= 4; number++) {
          await expectCheckpoint(store, number, expected[number - 1]!);
        }
        await store.close();
      }),
      { numRuns: 12 },
    );
  });

  it('refuses a base, and a store without checkpoints', async () => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    await expect(planSquash(store)).rejects.toThrow('is empty');
    await dumpChain(store, new Random(1), 1);
    await expect(planSquash(store)).rejects.toThrow('checkpoint 1 is a base already');
    await store.close();
  });
});

describe('verify', () => {
  it('finds nothing wrong with a store that is whole', async () => {
    using directory = temporaryDirectory();
    const store = await openStore(directory.path);
    await dumpChain(store, new Random(8), 6);
    expect(await findingsIn(store)).toEqual([]);
    await store.close();
  });

  it('warns of foreign files, leftovers and files that others may read', async () => {
    using directory = temporaryDirectory();
    const writer = await openStore(directory.path);
    await dumpChain(writer, new Random(8), 2);
    await writer.close();
    writeFileSync(join(directory.path, 'notes.txt'), '', { mode: 0o600 });
    writeFileSync(join(directory.path, 'packs', '000009.pack'), '', { mode: 0o600 });
    writeFileSync(join(directory.path, 'tmp', '000003.pack'), '', { mode: 0o600 });
    writeFileSync(join(directory.path, 'checkpoints', 'x'), '', { mode: 0o600 });
    chmodSync(join(directory.path, 'packs', '000001.pack'), 0o644);
    const store = await openStore(directory.path, { access: 'read' });
    const findings = (await findingsIn(store)).map(({ severity, place }) => `${severity} ${place}`);
    expect(findings.sort()).toEqual([
      'error packs/000009.pack',
      'warning checkpoints/x',
      'warning notes.txt',
      'warning packs/000001.pack',
      'warning packs/000009.pack',
      'warning tmp/000003.pack',
    ]);
    await store.close();
  });

  it('names the checkpoints and pages that a missing pack takes with it', async () => {
    using directory = temporaryDirectory();
    const writer = await openStore(directory.path);
    const target: TargetMemory = new Map([
      [
        7,
        new Map([
          [16, pageOf(1)],
          [17, pageOf(2)],
          [40, null],
        ]),
      ],
    ]);
    await dump(writer, target);
    target.get(7)?.set(17, pageOf(3));
    await dump(writer, target, { parent: 1 });
    await writer.close();
    rmSync(join(directory.path, 'packs', '000001.pack'));
    const store = await openStore(directory.path, { access: 'read' });
    const findings = await findingsIn(store);
    expect(findings[0]).toMatchObject({
      severity: 'error',
      place: 'packs/000001.pack',
      problem: 'the file is missing; checkpoints 1, 2 need it',
    });
    expect(findings.map(({ place }) => place)).toContain('checkpoint 2, process 7');
    await store.close();
  });
});
