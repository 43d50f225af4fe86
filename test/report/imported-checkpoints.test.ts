import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeCheckpoint, diffCheckpoints, listCheckpoints } from '../../src/checkpoint/index.ts';
import {
  checkpointJson,
  checkpointsJson,
  diffJson,
  formatCheckpoint,
  formatCheckpoints,
  formatDiff,
} from '../../src/report/index.ts';
import { BARE_PROCESSES, openIncoming, type Step, writeStep } from '../checkpoint/kept-state.ts';
import { openStore, temporaryDirectory } from '../store/harness.ts';

const STEP: Step = {
  own: [[1, 1]],
  shared: [
    [5, 1],
    [6, 0],
  ],
  goneShared: [],
  fileBytes: 2000,
};

const directory = temporaryDirectory();
const storeDirectory = join(directory.path, 'store');

beforeAll(async () => {
  const store = await openStore(storeDirectory);
  const incoming = openIncoming(store);
  await writeStep(incoming, STEP);
  await writeStep(incoming, {
    ...STEP,
    own: [],
    shared: [
      [5, 2],
      [9, 1],
    ],
  });
  await writeStep(incoming, STEP, BARE_PROCESSES, 'pages-only');
  incoming.close();
  await store.close();
});

afterAll(() => directory[Symbol.dispose]());

describe('the report of a checkpoint with files and shared memory', () => {
  it('lists objects apart from processes', async () => {
    const description = await describeCheckpoint(storeDirectory, 2);
    const text = formatCheckpoint(description, { environment: false, registers: false });
    expect(text).toMatch(/^target +redis-server \(criu\)$/m);
    expect(text).toMatch(/^files +2\.0 KiB beside memory, kept byte for byte \(test-1\)$/m);
    expect(text).toMatch(/^process 7 \(first\), parent 0$/m);
    expect(text).not.toContain('4194304');
    expect(text).toMatch(/^42 +32 +3 +1 +2 +\/dev\/zero$/m);
    expect(checkpointJson(description)).toMatchObject({
      files: { format: 'test-1', bytes: 2000 },
      notRestorable: null,
      processes: [{ pid: 7 }, { pid: 8 }],
      sharedMemory: [{ id: '42', name: '/dev/zero', pages: { mapped: 32, present: 3, zero: 1, own: 2 } }],
    });
  });

  it('tells of a checkpoint of pages alone nothing that is not known', async () => {
    const detail = { environment: false, registers: false };
    const alone = formatCheckpoint(await describeCheckpoint(storeDirectory, 3), detail);
    expect(alone).toMatch(/^range +pages +present +zero +own\n[0-9a-f]+-[0-9a-f]+ +\d+ +\d+ +\d+ +\d+$/m);
    expect(alone).toMatch(/^not recorded: mappings, registers, files and all else but pages/m);
    const whole = formatCheckpoint(await describeCheckpoint(storeDirectory, 2), detail);
    expect(whole).not.toMatch(/^not recorded|^range/m);
    expect(whole).toMatch(/^time +stopped .*, taken in .*$/m);
  });

  it('says in the list which one is not whole', async () => {
    const manifests = await listCheckpoints(storeDirectory);
    const lines = formatCheckpoints(manifests).trim().split('\n');
    expect(lines.map((line) => line.trim().split(/\s+/)[1])).toEqual(['kind', 'base', 'delta', 'pages-only']);
    expect(checkpointsJson(manifests)).toMatchObject([
      { notRestorable: null },
      { notRestorable: null },
      { notRestorable: 'pages-only', files: null },
    ]);
  });

  it('tells what differs in an object, and in the processes that map it', async () => {
    const difference = await diffCheckpoints({ storeDirectory, a: 1, b: 2, bytes: false });
    const text = formatDiff(difference);
    expect(text).toMatch(/^process 8 \(second\)\n.*\n.* same +1 +1 +0 /m);
    expect(text).toMatch(/^shared memory 42 \(\/dev\/zero\)\n.*\n.* same +1 +1 +0 /m);
    expect(diffJson(difference)).toMatchObject({
      processes: [{ pid: 7 }, { pid: 8 }],
      sharedMemory: [{ id: '42', presence: 'both', mappings: [{ pages: { changed: 1, appeared: 1 } }] }],
    });
  });
});
