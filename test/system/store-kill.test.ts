import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { verifyStore } from '../../src/checkpoint/index.ts';
import type { FaultPoint } from '../../src/store/index.ts';
import { CODEC, openStore, readBack, temporaryDirectory } from '../store/harness.ts';

const WRITER = join(import.meta.dirname, 'killed-writer.mjs');

/** Runs the writer in a process of its own; gives back the signal that ended it. */
function runWriter(directory: string, point: FaultPoint | 'never'): string | null {
  const { signal, status, stderr } = spawnSync(process.execPath, [WRITER, directory, point], {
    encoding: 'utf8',
  });
  if (signal === null && status !== 0) throw new Error(stderr);
  return signal;
}

describe('a writer that gets SIGKILL', () => {
  it.each([
    ['lock-create', 1],
    ['pack-create', 1],
    ['pack-write', 1],
    ['pack-sync', 1],
    ['pack-rename', 1],
    ['pack-sync-directory', 1],
    ['manifest-write', 1],
    ['manifest-sync', 1],
    ['manifest-rename', 1],
    ['manifest-sync-directory', 2],
    ['lock-release', 2],
  ] as const)('at %s leaves a store that the next command finds whole', async (point, survivors) => {
    using directory = temporaryDirectory();
    const path = join(directory.path, 'store');
    expect(runWriter(path, 'never')).toBeNull();
    expect(runWriter(path, point)).toBe('SIGKILL');
    expect(existsSync(join(path, 'lock'))).toBe(point !== 'lock-create');
    const store = await openStore(path, { access: 'write' });
    const tookOver = store.notices.filter((notice) => notice.startsWith("took over the lock of 'killed'"));
    expect(tookOver).toHaveLength(point === 'lock-create' ? 0 : 1);
    expect(await store.numbers()).toHaveLength(survivors);
    for (const number of await store.numbers()) {
      const memory = await readBack(await store.openCheckpoint(number));
      expect(memory.get(1)?.get(16)).toEqual(new Uint8Array(4096).fill(number));
    }
    for await (const finding of verifyStore(store, CODEC)) expect(finding).toBeUndefined();
    await store.close();
    expect(runWriter(path, 'never')).toBeNull();
  });

  it('while it creates the store leaves a directory that the next command makes one', async () => {
    for (const point of [
      'store-create',
      'store-file-write',
      'store-file-sync',
      'store-file-rename',
    ] as const) {
      using directory = temporaryDirectory();
      const path = join(directory.path, 'store');
      expect(runWriter(path, point)).toBe('SIGKILL');
      expect(runWriter(path, 'never')).toBeNull();
      const store = await openStore(path, { access: 'read' });
      expect(await store.numbers()).toEqual([1]);
      await store.close();
    }
  });
});
