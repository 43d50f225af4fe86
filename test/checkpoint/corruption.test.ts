import { cpSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Finding, verifyStore } from '../../src/checkpoint/index.ts';
import {
  CkptError,
  formatPageAddress,
  IntegrityError,
  Random,
  StoreVersionError,
} from '../../src/core/index.ts';
import { Store } from '../../src/store/index.ts';
import {
  CODEC,
  copyOf,
  dump,
  fingerprintOf,
  openStore,
  pageOf,
  readBack,
  type TargetMemory,
  temporaryDirectory,
} from '../store/harness.ts';

/** Flips of each file: a sample that is quick at the desk and dense in CI. */
const FLIPS_A_FILE = process.env['CI'] === undefined ? 24 : 150;

const directory = temporaryDirectory();
const original = join(directory.path, 'original');
const damaged = join(directory.path, 'damaged');
const expected = new Map<number, unknown>();

/** Two processes and three checkpoints with pages of every kind: whole, shared, zero, differences, inherited. */
function memories(): TargetMemory[] {
  const first: TargetMemory = new Map([
    [
      1,
      new Map([
        [16, pageOf(1)],
        [17, pageOf(2)],
        [18, null],
        [9000, pageOf(1)],
      ]),
    ],
    [
      2,
      new Map([
        [16, pageOf(1)],
        [40_000, pageOf(3)],
      ]),
    ],
  ]);
  const second = copyOf(first);
  second.get(1)?.set(17, pageOf(2, 5));
  second.get(1)?.set(19, pageOf(8));
  const third = copyOf(second);
  third.get(1)?.set(17, pageOf(2, 6));
  third.get(2)?.set(16, null);
  third.get(1)?.delete(18);
  return [first, second, third];
}

beforeAll(async () => {
  const store = await openStore(original);
  for (const [index, memory] of memories().entries()) {
    await dump(store, memory, { parent: index === 0 ? null : index });
  }
  for (const number of await store.numbers()) expected.set(number, await everythingIn(store, number));
  await store.close();
});

afterAll(() => directory[Symbol.dispose]());

/** All that a restore takes from a checkpoint. */
async function everythingIn(store: Store, number: number): Promise<unknown> {
  const reader = await store.openCheckpoint(number);
  const trackers = [];
  for (const { pid } of reader.manifest.processes) trackers.push(await reader.trackerState(pid));
  const state = Buffer.from((await reader.state()) ?? []).toString('hex');
  return { manifest: reader.manifest, memory: fingerprintOf(await readBack(reader)), state, trackers };
}

function isExpected(cause: unknown): boolean {
  return cause instanceof IntegrityError || cause instanceof StoreVersionError;
}

/**
 * Restores everything from the damaged store and verifies it.
 * @returns what was reported: an error on opening, or findings.
 */
async function examine(): Promise<string[]> {
  let store: Store;
  try {
    store = await openStore(damaged, { access: 'read' });
  } catch (cause) {
    expect(cause).toSatisfy(isExpected);
    return [String(cause)];
  }
  for (const number of await store.numbers()) {
    try {
      expect(await everythingIn(store, number)).toEqual(expected.get(number));
    } catch (cause) {
      expect(cause).toSatisfy(isExpected);
    }
  }
  const findings: Finding[] = [];
  for await (const finding of verifyStore(store, CODEC)) findings.push(finding);
  await store.close();
  return findings.map(({ severity, place, problem }) => `${severity} ${place}: ${problem}`);
}

const filesOf = (path: string) =>
  readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((name) =>
    statSync(join(path, name)).isFile(),
  );

function resetDamaged(): void {
  rmSync(damaged, { recursive: true, force: true });
  cpSync(original, damaged, { recursive: true });
}

/** Flips a bit in block 0 of pack 1, which holds the pages of the base; returns the block's offset. */
async function damagePages(): Promise<number> {
  const store = await openStore(damaged, { access: 'read' });
  const reader = store.blocks.pack(1);
  expect(reader.read(0).header.kind).toBe('pages');
  const offset = reader.table.offsetsBytes[reader.indexOf(0)]!;
  await store.close();
  const path = join(damaged, 'packs', '000001.pack');
  const bytes = readFileSync(path);
  bytes[offset + 40]! ^= 1;
  writeFileSync(path, bytes);
  return offset;
}

describe('a damaged store', () => {
  it('reports every flipped bit and never restores one', async () => {
    const random = new Random(1);
    resetDamaged();
    for (const name of filesOf(original)) {
      const whole = readFileSync(join(original, name));
      const step = Math.max(1, Math.floor(whole.length / FLIPS_A_FILE));
      for (let offset = random.nextBelow(step); offset < whole.length; offset += step) {
        const flipped = Buffer.from(whole);
        flipped[offset]! ^= 1 << random.nextBelow(8);
        writeFileSync(join(damaged, name), flipped);
        const reports = await examine();
        const isReported = reports.some((report) => !report.startsWith('warning'));
        expect(`${name} at ${offset}: ${isReported ? 'reported' : 'missed'}`).toBe(
          `${name} at ${offset}: reported`,
        );
      }
      writeFileSync(join(damaged, name), whole);
    }
    expect(await examine()).toEqual([]);
  }, 600_000);

  it('reports every file that ends early, and says so', async () => {
    resetDamaged();
    for (const name of filesOf(original)) {
      const whole = readFileSync(join(original, name));
      for (const length of [0, 1, 23, 24, 60, whole.length / 2, whole.length - 33, whole.length - 1]) {
        truncateSync(join(damaged, name), Math.floor(length));
        const reports = await examine();
        expect(reports.filter((report) => !report.startsWith('warning'))).not.toEqual([]);
        writeFileSync(join(damaged, name), whole);
      }
    }
  });

  it('reports bytes behind the end of a file', async () => {
    resetDamaged();
    for (const name of filesOf(original)) {
      const whole = readFileSync(join(original, name));
      writeFileSync(join(damaged, name), Buffer.concat([whole, Buffer.from('\n')]));
      expect((await examine()).filter((report) => !report.startsWith('warning'))).not.toEqual([]);
      writeFileSync(join(damaged, name), whole);
    }
  });

  it('reports missing packs, and does not take one pack for another', async () => {
    resetDamaged();
    const pack = (number: number) => join(damaged, 'packs', `00000${number}.pack`);
    const whole = readFileSync(pack(1));
    rmSync(pack(1));
    expect(await examine()).toContain(
      'error packs/000001.pack: the file is missing; checkpoints 1, 2, 3 need it',
    );
    cpSync(pack(2), pack(1));
    expect((await examine()).join('\n')).toContain('the number of pack 000002');
    writeFileSync(pack(1), whole);
    const store = await openStore(damaged, { access: 'read' });
    expect(await store.numbers()).toEqual([1, 2, 3]);
    await store.close();
  });

  it('does not take one manifest for another', async () => {
    resetDamaged();
    cpSync(join(damaged, 'checkpoints', '000001.json'), join(damaged, 'checkpoints', '000002.json'));
    expect((await examine()).join('\n')).toContain('number must be 2, as its file name says');
  });

  it('names the pack, the block and the offset of damage, and the pages that it costs', async () => {
    resetDamaged();
    const where = `block 0 of pack 000001 (at offset ${await damagePages()})`;
    const store = await openStore(damaged, { access: 'read' });
    const readAll = async () => readBack(await store.openCheckpoint(1));
    await expect(readAll()).rejects.toThrow(where);
    await store.close();
    const reports = await examine();
    expect(reports[0]).toContain(`error packs/000001.pack: ${where} is damaged: its checksum is `);
    expect(reports).toContainEqual(
      expect.stringContaining(
        `checkpoint 1, process 1: 3 pages are lost: ${formatPageAddress(16)}-${formatPageAddress(17)}`,
      ),
    );
  });
});

describe('salvage', () => {
  async function salvaged(number: number): Promise<{ memory: TargetMemory; lost: number[] }> {
    const store = await openStore(damaged, { access: 'read' });
    const reader = await store.openDamagedCheckpoint(number);
    const memory: TargetMemory = new Map();
    const lost: number[] = [];
    for (const { pid } of reader.manifest.processes) {
      const pages = new Map<number, Uint8Array | null>();
      const onLost = (startPage: number) => lost.push(startPage);
      for await (const { startPage, pageCount, bytes } of reader.salvage(pid, onLost)) {
        for (let page = 0; page < pageCount; page++) {
          pages.set(startPage + page, bytes?.slice(page * 4096, (page + 1) * 4096) ?? null);
        }
      }
      memory.set(pid, pages);
    }
    await store.close();
    return { memory, lost };
  }

  it('gives everything if nothing is damaged', async () => {
    resetDamaged();
    const { memory, lost } = await salvaged(3);
    expect(fingerprintOf(memory)).toEqual(fingerprintOf(memories()[2]!));
    expect(lost).toEqual([]);
  });

  it('gives every page but those of a damaged block', async () => {
    resetDamaged();
    await damagePages();
    const { memory, lost } = await salvaged(3);
    const whole = fingerprintOf(memories()[2]!);
    const found = fingerprintOf(memory);
    for (const [page, digest] of Object.entries(found)) expect(digest).toBe(whole[page]);
    // Page 19 came with the second checkpoint, page 16 of process 2 is zero by the third; page 17 needs its base.
    expect(Object.keys(found).sort()).toEqual(['1:19', '2:16', '2:40000']);
    expect(lost).toEqual([16, 17, 9000]);
  });

  it('finds the blocks of a pack whose table is cut off', async () => {
    resetDamaged();
    truncateSync(
      join(damaged, 'packs', '000002.pack'),
      statSync(join(damaged, 'packs', '000002.pack')).size - 40,
    );
    const store = await openStore(damaged, { access: 'read' });
    const readAll = async () => readBack(await store.openCheckpoint(2));
    await expect(readAll()).rejects.toThrow('pack 000002 is truncated');
    await store.close();
    const { memory, lost } = await salvaged(2);
    expect(fingerprintOf(memory)).toEqual(fingerprintOf(memories()[1]!));
    expect(lost).toEqual([]);
  });

  it('finds the blocks behind one whose header is damaged as well', async () => {
    resetDamaged();
    const path = join(damaged, 'packs', '000001.pack');
    const store = await openStore(damaged, { access: 'read' });
    const { table } = store.blocks.pack(1);
    const [first, second] = [...table.offsetsBytes].sort((a, b) => a - b);
    const count = table.blocks.length;
    await store.close();
    const bytes = readFileSync(path);
    bytes[first! + 5]! ^= 1;
    writeFileSync(path, bytes.subarray(0, -40));
    const reopened = await openStore(damaged, { access: 'read' });
    const found = reopened.damagedBlocks.pack(1);
    expect(found.hasTable).toBe(false);
    expect(found.table.blocks.length).toBe(count - 1);
    expect(Math.min(...found.table.offsetsBytes)).toBe(second);
    for (const block of found.table.blocks) expect(found.read(block).header.block).toBe(block);
    await reopened.close();
  });

  it('still refuses a store of which nothing can be known', async () => {
    resetDamaged();
    writeFileSync(join(damaged, 'checkpoints', '000002.json'), '{}');
    const store = await Store.open(damaged, { access: 'read', command: 'test', codec: CODEC });
    await expect(store.openDamagedCheckpoint(2)).rejects.toThrow(CkptError);
    await store.close();
  });
});
