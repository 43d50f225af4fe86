import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Random, StoreFullError, StoreUnusableError } from '../../src/core/index.ts';
import {
  dump,
  fingerprintOf,
  openStore,
  readBack,
  type TargetMemory,
  temporaryDirectory,
} from '../store/harness.ts';
import { isRoot, lacking } from './programs.ts';

function run(program: string, ...parameters: string[]): void {
  const { status, stderr } = spawnSync(program, parameters, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${parameters.join(' ')}: ${stderr}`);
}

/** Pages that do not compress, so that a small file system is soon full. */
function denseMemory(pages: number, seed: number): TargetMemory {
  const memory = new Map<number, Uint8Array>();
  const random = new Random(seed);
  for (let page = 0; page < pages; page++) {
    memory.set(page, new Uint8Array(Uint32Array.from({ length: 1024 }, () => random.nextUint32()).buffer));
  }
  return new Map([[1, memory]]);
}

describe.skipIf(lacking(isRoot))('a store on a file system of its own', () => {
  let directory: ReturnType<typeof temporaryDirectory>;
  let mounted: string;
  let path: string;

  beforeEach(() => {
    directory = temporaryDirectory();
    mounted = join(directory.path, 'mounted');
    path = join(mounted, 'store');
    mkdirSync(mounted);
    run('mount', '-t', 'tmpfs', '-o', 'size=1m,mode=700', 'ckpt-test', mounted);
  });

  afterEach(() => {
    // Lazily, because a test that failed may have left a store open.
    run('umount', '-l', mounted);
    directory[Symbol.dispose]();
  });

  it('that is full says so, stays whole, and goes on when there is room', async () => {
    const first = denseMemory(20, 1);
    const store = await openStore(path);
    await dump(store, first);
    const refused = dump(store, denseMemory(2000, 77), { parent: 1 });
    await expect(refused).rejects.toThrow(StoreFullError);
    await expect(refused).rejects.toThrow(/no space is left on its file system$/);
    expect(readdirSync(join(path, 'tmp'))).toEqual([]);
    expect(await store.packs()).toEqual([1]);
    expect(fingerprintOf(await readBack(await store.openCheckpoint(1)))).toEqual(fingerprintOf(first));
    run('mount', '-o', 'remount,size=64m', mounted);
    const { number } = await dump(store, denseMemory(2000, 77), { parent: 1 });
    expect(number).toBe(2);
    await store.close();
  });

  it('that is full to the last byte fails at any later step the same way', async () => {
    const store = await openStore(path);
    const first = denseMemory(10, 1);
    await dump(store, first);
    for (let freeBytes = 0; freeBytes < 130_000; freeBytes += 4096) {
      const filler = join(mounted, 'filler');
      const { bavail, bsize } = statfsSync(mounted);
      writeFileSync(filler, new Uint8Array(bavail * bsize - freeBytes));
      try {
        await dump(store, denseMemory(20, 5), { parent: 1 });
      } catch (cause) {
        expect(cause).toBeInstanceOf(StoreFullError);
      }
      rmSync(filler);
      expect(fingerprintOf(await readBack(await store.openCheckpoint(1)))).toEqual(fingerprintOf(first));
      expect(readdirSync(join(path, 'tmp'))).toEqual([]);
      for (const number of await store.numbers()) await readBack(await store.openCheckpoint(number));
    }
    await store.close();
  });

  it('that is read-only can be read, and refuses writers with the way out', async () => {
    const memory = denseMemory(10, 1);
    const writer = await openStore(path);
    await dump(writer, memory);
    await writer.close();
    run('mount', '-o', 'remount,ro', mounted);
    const reader = await openStore(path, { access: 'read' });
    expect(fingerprintOf(await readBack(await reader.openCheckpoint(1)))).toEqual(fingerprintOf(memory));
    await reader.close();
    const refused = openStore(path, { access: 'write' });
    await expect(refused).rejects.toThrow(StoreUnusableError);
    await expect(refused).rejects.toMatchObject({
      message: expect.stringContaining('the file system is read-only'),
      hint: 'give -D a directory on a writable file system',
    });
    await expect(openStore(join(mounted, 'new'))).rejects.toThrow('the file system is read-only');
  });

  it('of another owner refuses with the reason', async () => {
    const writer = await openStore(path);
    await dump(writer, denseMemory(10, 1));
    await writer.close();
    chmodSync(directory.path, 0o755);
    chmodSync(mounted, 0o755);
    const seteuid = process.seteuid;
    if (seteuid === undefined) throw new Error('no seteuid on this platform');
    seteuid.call(process, 65_534);
    try {
      for (const access of ['read', 'write', 'create'] as const) {
        const refused = openStore(path, { access });
        await expect(refused).rejects.toThrow(StoreUnusableError);
        await expect(refused).rejects.toThrow('permission denied');
      }
    } finally {
      seteuid.call(process, 0);
    }
  });
});
