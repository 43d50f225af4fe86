import {
  cpSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CkptError } from '../../../../src/core/index.ts';
import { importImages } from '../../../../src/interop/index.ts';
import { unpackCriuImages } from '../../../cases/criu/unpack.ts';
import { damageOf, withStore } from './stored-memory.ts';

/** How often a mutated directory is imported; `CKPT_IMPORT_RUNS` for a long campaign. */
const RUNS = Number(process.env['CKPT_IMPORT_RUNS'] ?? 15);
/** No import of these small images may take longer, however busy the machine is. */
const MOST_MICROSECONDS = 20_000_000;
/** Nor may it make so much of a megabyte of images. */
const MOST_BYTES = 256 * 1024 * 1024;

/** Directories of each archive, oldest first. */
const CHAINS = { braid: ['1', '2', '3', '4'], zoo: ['.'] } as const;
type Name = keyof typeof CHAINS;
const NAMES: readonly Name[] = ['braid', 'zoo'];

let work = '';
const unpacked = new Map<Name, string>();
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-import-fuzz-'));
  for (const name of NAMES) unpacked.set(name, unpackCriuImages(name));
});
afterAll(() => {
  for (const directory of [work, ...unpacked.values()]) rmSync(directory, { recursive: true, force: true });
});

const imagesOf = (name: Name) => join(unpacked.get(name)!, name);

type Mutation = (path: string, random: readonly number[]) => void;

const rewrite =
  (change: (bytes: Buffer, random: readonly number[]) => Buffer): Mutation =>
  (path, random) => {
    writeFileSync(path, change(readFileSync(path), random));
  };
const place = (bytes: Buffer, number: number) => (bytes.length === 0 ? 0 : number % bytes.length);

const MUTATIONS: Readonly<Record<string, Mutation>> = {
  'flip a bit': rewrite((bytes, [at, bit]) => {
    const changed = Buffer.from(bytes);
    if (bytes.length > 0) changed[place(bytes, at!)]! ^= 1 << (bit! % 8);
    return changed;
  }),
  'flip a bit near the front': rewrite((bytes, [at, bit]) => {
    const changed = Buffer.from(bytes);
    if (bytes.length > 0) changed[place(bytes, at! % 64)]! ^= 1 << (bit! % 8);
    return changed;
  }),
  'write all ones': rewrite((bytes, [at, count]) => {
    const changed = Buffer.from(bytes);
    return changed.fill(
      0xff,
      place(bytes, at!),
      Math.min(bytes.length, place(bytes, at!) + 1 + (count! % 12)),
    );
  }),
  'cut off': rewrite((bytes, [at]) => bytes.subarray(0, place(bytes, at!))),
  'lose a piece': rewrite((bytes, [at, count]) =>
    Buffer.concat([bytes.subarray(0, place(bytes, at!)), bytes.subarray(place(bytes, at!) + (count! % 40))]),
  ),
  'repeat a piece': rewrite((bytes, [at, count]) => {
    const from = place(bytes, at!);
    const piece = bytes.subarray(from, from + (count! % 40));
    return Buffer.concat([bytes.subarray(0, from), piece, bytes.subarray(from)]);
  }),
  'swap two pieces': rewrite((bytes, [at, other]) => {
    const [first, second] = [place(bytes, at!), place(bytes, other!)].sort((a, b) => a - b);
    return Buffer.concat([
      bytes.subarray(second!),
      bytes.subarray(first!, second!),
      bytes.subarray(0, first!),
    ]);
  }),
  remove: (path) => unlinkSync(path),
  empty: rewrite(() => Buffer.alloc(0)),
  'make a link of': (path) => {
    unlinkSync(path);
    symlinkSync('/etc/hostname', path);
  },
  'make a directory of': (path) => {
    renameSync(path, `${path}.old`);
    cpSync(join(imagesOf('braid'), '1'), path, { recursive: true });
  },
};

interface Drawn {
  readonly level: number;
  readonly file: number;
  readonly how: string;
  readonly random: readonly number[];
}
const mutation: fc.Arbitrary<Drawn> = fc.record({
  level: fc.nat(),
  file: fc.nat(),
  how: fc.constantFrom(...Object.keys(MUTATIONS)),
  random: fc.tuple(fc.nat(), fc.nat()),
});

/** Changes a file of one of the directories. */
function mutate(directories: readonly string[], { level, file, how, random }: Drawn): void {
  const directory = directories[level % directories.length]!;
  const names = readdirSync(directory)
    .filter((name) => lstatSync(join(directory, name)).isFile())
    .sort();
  MUTATIONS[how]!(join(directory, names[file % names.length]!), random);
}

describe('mutated images of real CRIU', () => {
  it('are imported as a whole or refused as a whole, soon and within bounds', async () => {
    const highest = process.memoryUsage().rss + MOST_BYTES;
    let imported = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...NAMES),
        fc.array(mutation, { minLength: 1, maxLength: 2 }),
        async (name, mutations) => {
          const run = mkdtempSync(join(work, 'run-'));
          cpSync(imagesOf(name), join(run, 'images'), { recursive: true, verbatimSymlinks: true });
          const directories = CHAINS[name].map((directory) => join(run, 'images', directory));
          for (const one of mutations) mutate(directories, one);
          const storeDirectory = join(run, 'store');
          const started = performance.now();
          const path = directories.at(-1)!;
          const request = { storeDirectory, path, chain: true, workers: 0 } as const;
          const outcome = await importImages(request).catch((error: unknown) => error);
          expect((performance.now() - started) * 1000).toBeLessThan(MOST_MICROSECONDS);
          expect(process.memoryUsage().rss).toBeLessThan(highest);
          if (outcome instanceof Error) expect(outcome).toBeInstanceOf(CkptError);
          else imported++;
          const left = await withStore(storeDirectory, async (store, codec) => ({
            numbers: await store.numbers(),
            damage: await damageOf(store, codec),
          })).catch(() => ({ numbers: [], damage: [] }));
          expect(left).toEqual({
            numbers: outcome instanceof Error ? [] : directories.map((_, level) => level + 1),
            damage: [],
          });
          rmSync(run, { recursive: true });
        },
      ),
      // Those that nobody has changed must come through.
      {
        numRuns: RUNS,
        examples: [
          ['braid', []],
          ['zoo', []],
        ],
      },
    );
    expect(imported).toBeGreaterThan(1);
  }, 600_000);
});
