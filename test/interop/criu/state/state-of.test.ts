import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { IntegrityError } from '../../../../src/core/index.ts';
import { openImageDirectory } from '../../../../src/interop/criu/images/directory.ts';
import { memoryOfImages } from '../../../../src/interop/criu/state/memory-of-images.ts';
import { stateOf } from '../../../../src/interop/criu/state/state-of.ts';
import type { MemoryReader } from '../../../../src/interop/criu/state/types.ts';
import { decodeLiveState, type LiveProcessState } from '../../../../src/target/index.ts';
import { type DirectoryModel, type ProcessModel, writeImageDirectory } from '../image-directory.ts';
import { entry, filesImage, image, pstreeImage, registersOf, VMA_STATUS } from '../image-encoder.ts';
import { nested, number, numbers, repeated, signed, text } from '../protobuf.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ckpt-state-of-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const page = (fill: number) => new Uint8Array(4096).fill(fill);
const pages = (startPage: number, pageCount: number, flags = 4) => ({ startPage, pageCount, flags });
const task = (pid: number, given: Partial<ProcessModel> = {}): ProcessModel => ({
  pid,
  entries: [pages(0x400, 4)],
  content: page,
  ...given,
});

async function read(model: Partial<DirectoryModel>, memory?: MemoryReader) {
  await writeImageDirectory(directory, { processes: [task(10)], ...model });
  const found = await stateOf(await openImageDirectory(directory), memory);
  const bytes = found.state?.bytes;
  return { ...found, live: bytes === undefined ? undefined : decodeLiveState(bytes, 'the state') };
}

async function firstProcess(
  model: Partial<DirectoryModel>,
  memory?: MemoryReader,
): Promise<LiveProcessState> {
  return (await read(model, memory)).live!.processes[0]!;
}

const threadInfo = nested(
  2,
  number(1, 0x7000),
  nested(2, numbers(...registersOf(10))),
  nested(
    3,
    numbers(...Array<number>(8).fill(0)),
    repeated(9, Array(32).fill(1)),
    repeated(10, Array(64).fill(2)),
  ),
);

describe('the state of a dump', () => {
  it('has processes and threads with their registers, the root first', async () => {
    const { live, processes, state } = await read({
      processes: [
        task(10, { name: 'root', threads: [10, 12, 11] }),
        task(20, { name: 'child', parentPid: 10 }),
        task(15, { name: 'grandchild', parentPid: 20 }),
      ],
    });
    expect(processes.map(({ pid, parentPid, name }) => [pid, parentPid, name])).toEqual([
      [10, 0, 'root'],
      [20, 10, 'child'],
      [15, 20, 'grandchild'],
    ]);
    const threads = live?.processes.flatMap((process) => process.threads) ?? [];
    expect(threads.map(({ id }) => id)).toEqual([10, 12, 11, 20, 15]);
    for (const { id, registers, clearChildTid } of threads) {
      const general = Buffer.from(registers!.general, 'base64');
      expect(registersOf(id)).toEqual(
        Array.from({ length: 27 }, (_, word) => general.readBigUInt64LE(word * 8)),
      );
      expect(clearChildTid).toBe(`0x${(0x7000_0000 + id).toString(16)}`);
    }
    expect(live).toMatchObject({ machine: 'x86_64', kernelRelease: '', bootId: '' });
    expect(state?.summary).toMatchObject({ pid: 10, processes: 3, threads: 5, exe: '/usr/bin/program' });
  });

  it('has what the images say of a process', async () => {
    const process = await firstProcess({ processes: [task(10, { name: 'ten' })] });
    expect(process).toMatchObject({
      ...{ pid: 10, parentPid: 0, processGroup: 10, session: 10, terminal: null, name: 'ten' },
      exe: { path: '/usr/bin/program', device: '0:0', inode: '0' },
      ...{ commandLine: [], environment: null, workingDirectory: '/usr/bin/program', umask: 0o22 },
      credentials: {
        userIds: [1000, 1000, 1000, 1000],
        groupIds: [100, 100, 100, 100],
        supplementaryGroups: [100],
        capabilities: { bounding: '0x1ffffffffff', effective: '0x0' },
      },
      timers: { intervals: [], posix: [] },
      files: [{ descriptor: 0, path: '/usr/bin/program', description: 1 }],
      ...{ namespaces: {}, seccompMode: 0 },
    });
    expect(process.limits).toHaveLength(16);
    expect(process.limits[7]).toEqual({ resource: 7, soft: '0x400', hard: '0x1000' });
    expect(Buffer.from(process.auxiliaryVector ?? '', 'base64').readBigUInt64LE(8)).toBe(4096n);
    expect(process.threads[0]).toMatchObject({
      robustList: { head: '0x71000000', lengthBytes: 24 },
      schedule: { policy: 0, priority: 0, nice: 0 },
      ...{ alternateStack: null, rseq: null, pending: [] },
    });
  });

  it('takes what older CRIU kept in files of their own', async () => {
    const action = (handler: number) => entry(numbers(handler, 4, 5, 6));
    const process = await firstProcess({
      files: {
        // 1 to 8, 10: SIGKILL is left out.
        'sigacts-10.img': image(0x55344201, ...[0, 1, 0, 0, 0, 0, 0, 0, 0x4000].map(action)),
        'ids-10.img': image(0x54432030, entry(numbers(1, 10, 1, 1, 7, 8))),
        'cgroup.img': image(
          0x59383330,
          entry(nested(1, number(1, 1), nested(2, text(1, ''), text(2, '/user.slice')))),
        ),
      },
    });
    expect(process.signals.dispositions?.filter(({ handler }) => handler !== '0x0')).toEqual([
      { signal: 2, handler: '0x1', flags: '0x4', restorer: '0x5', mask: '0x6' },
      { signal: 10, handler: '0x4000', flags: '0x4', restorer: '0x5', mask: '0x6' },
    ]);
    expect(process.signals).toMatchObject({ ignored: '0x2', caught: '0x200' });
    expect(process).toMatchObject({ namespaces: { pid: 'pid:[7]', net: 'net:[8]' }, cgroup: '/user.slice' });
  });

  it('has timers, pending signals and whatever else a thread has', async () => {
    const siginfo = (signal: number) => nested(1, nested(1, Buffer.alloc(128, signal)));
    const leader = nested(
      3,
      ...[numbers(1, 0, 0x40000, 0, 0), text(6, 'timed')],
      nested(
        7,
        ...[nested(1, numbers(1, 2, 3, 4)), nested(2, numbers(0, 0, 0, 0)), nested(3, numbers(0, 0, 0, 7))],
        nested(4, numbers(3, 0xfffffffe, 14, 4, 0x77, 5, 1, 2, 3, 4), number(11, 10)),
      ),
      nested(10, siginfo(2)),
      number(14, -500),
      ...Array.from({ length: 62 }, (_, index) => nested(15, numbers(index === 61 ? 1 : 0, 0, 0, 0))),
    );
    const thread = nested(
      5,
      ...[number(1, 0), number(2, 0), signed(3, -5), number(4, 1), number(5, 50), number(6, 0x200)],
      ...[nested(7, numbers(0x5000, 8192, 1)), nested(9, siginfo(10), siginfo(12)), number(11, 2)],
      ...[text(13, 'timed'), nested(15, numbers(0x6000, 32, 0x53053053))],
    );
    const process = await firstProcess({
      files: { 'core-10.img': image(0x55053847, entry(number(1, 1), threadInfo, leader, thread)) },
    });
    expect(process.timers).toEqual({
      intervals: [
        { which: 0, valueMicroseconds: 3_000_004, intervalMicroseconds: 1_000_002 },
        { which: 2, valueMicroseconds: 7, intervalMicroseconds: 0 },
      ],
      posix: [
        {
          ...{ id: 3, clock: -2, signal: 14, notify: 4, notifyThread: 10, value: '0x77', overrun: 5 },
          ...{ remainingNanoseconds: '3000000004', intervalNanoseconds: '1000000002' },
        },
      ],
    });
    expect(process.signals.pending).toEqual([Buffer.alloc(128, 2).toString('base64')]);
    expect(process.signals.dispositions).toMatchObject([{ signal: 64, handler: '0x1' }]);
    expect(process).toMatchObject({ oomScoreAdjustment: -500, seccompMode: 2, personality: '0x40000' });
    expect(process.threads[0]).toMatchObject({
      name: 'timed',
      ...{ signalMask: '0x200', robustList: null },
      pending: [10, 12].map((signal) => Buffer.alloc(128, signal).toString('base64')),
      alternateStack: { start: '0x5000', sizeBytes: 8192, flags: 1 },
      rseq: { pointer: '0x6000', sizeBytes: 32, signature: 0x53053053, flags: 0 },
      schedule: { policy: 1, priority: 50, nice: -5 },
    });
  });

  it('has arguments and environment out of memory', async () => {
    const strings = Buffer.from('prog\0a b\0HOME=/\0X=\0');
    const [start, between, end] = [0x400_fff, 0x400_fff + 9, 0x400_fff + strings.length];
    const mm = image(
      0x57492820,
      entry(
        numbers(0, 0, 0, 0, 0, 0, 0, start, between, between, end, 1),
        nested(
          14,
          numbers(0x400_000, 0x402_000, 0, 0, 3, 0x22, 1 | VMA_STATUS.anonymousPrivate),
          signed(8, -1),
        ),
      ),
    );
    const inMemory = Buffer.alloc(2 * 4096);
    strings.copy(inMemory, 0xfff);
    const halves = (number: number) => inMemory.subarray((number - 0x400) * 4096, (number - 0x3ff) * 4096);
    const parent = join(directory, '1');
    const child = join(directory, '2');
    const mapped = { vmas: [], files: { 'mm-10.img': mm } };
    await writeImageDirectory(parent, {
      preDump: true,
      processes: [task(10, { entries: [pages(0x400, 1)], content: halves })],
    });
    await writeImageDirectory(child, {
      ...mapped,
      parent: '../1',
      processes: [task(10, { entries: [pages(0x400, 1, 1), pages(0x401, 1)], content: halves })],
    });
    const chain = [await openImageDirectory(child), await openImageDirectory(parent)];
    const { state } = await stateOf(chain[0]!, memoryOfImages(chain));
    const [process] = decodeLiveState(state!.bytes, 'it').processes;
    expect(process?.commandLine).toEqual(['prog', 'a b']);
    expect(Buffer.from(process?.environment ?? '', 'base64').toString()).toBe('HOME=/\0X=\0');
    expect(await memoryOfImages(chain)(10, 0x900_000, 10)).toBeUndefined();
    expect(await memoryOfImages(chain)(11, 0x400_000, 10)).toBeUndefined();
  });

  it('has processes that have ended, which have nothing', async () => {
    const { live, processes } = await read({
      processes: [task(10), task(11, { parentPid: 10, name: 'gone', state: 6, entries: [] })],
    });
    expect(processes[1]).toMatchObject({ pid: 11, name: 'gone', vmas: [], sharedRanges: [] });
    expect(live?.processes[1]).toMatchObject({
      pid: 11,
      name: 'gone',
      exe: null,
      files: [],
      environment: null,
    });
    expect(live?.gaps.join()).toMatch(/process 11 had ended/);
    expect(live?.gaps.join()).not.toMatch(/arguments and environment of process 11/);
    expect(live?.gaps.join()).toMatch(/arguments and environment of process 10/);
  });

  it('names the objects that processes share, and who shows which pages', async () => {
    const shared = { startPage: 0x500, endPage: 0x504, status: 1 | VMA_STATUS.anonymousShared, shmid: 77 };
    const unknown = { ...shared, startPage: 0x600, endPage: 0x604, shmid: 78 };
    const { processes, objects } = await read({
      processes: [
        task(10, { entries: [], vmas: [shared, unknown] }),
        task(11, { parentPid: 10, entries: [], vmas: [{ ...shared, offsetPages: 4 }] }),
      ],
      shared: [{ id: '77', entries: [pages(1, 2)], content: page }],
    });
    expect(objects).toEqual([{ id: '77', name: '/dev/zero', pageCount: 8 }]);
    const range = { startPage: 0x500, endPage: 0x504, objectId: '77' };
    expect(processes.map(({ sharedRanges }) => sharedRanges)).toEqual([
      [{ ...range, objectPage: 0 }],
      [{ ...range, objectPage: 4 }],
    ]);
  });

  it('knows again the files that are mapped, if CRIU does', async () => {
    const owner = nested(5, numbers(0, 0, 0, 0, 0));
    const known = (id: number, name: string, ...more: Buffer[]) =>
      entry(
        ...[number(1, 1), number(2, id)],
        nested(3, number(1, id), number(2, 0), number(3, 0), owner, text(6, name), ...more),
      );
    const mapped = (startPage: number, shmid: number, status: number = VMA_STATUS.filePrivate) => ({
      ...{ startPage, endPage: startPage + 1, status: 1 | status, shmid },
    });
    const { live } = await read({
      processes: [
        task(10, {
          entries: [],
          vmas: [mapped(1, 1), mapped(2, 1), mapped(3, 2, VMA_STATUS.fileShared), mapped(4, 3), mapped(5, 9)],
        }),
      ],
      files: {
        'files.img': filesImage(
          known(1, '/bin/a', number(8, 7), repeated(11, [1])),
          known(2, '/b', number(8, 7)),
          known(3, '/c'),
          known(4, '/d', number(8, 7)),
        ),
      },
    });
    expect(live?.mappedFiles).toEqual([
      { path: '/bin/a', sizeBytes: 7, buildId: '01000000' },
      { path: '/b', sizeBytes: 7, buildId: null },
    ]);
  });

  it('is unknown for other machines, whose mappings are known all the same', async () => {
    const leader = nested(3, numbers(1, 0, 0, 0, 0), text(6, 'riscv'));
    const { state, processes } = await read({
      files: { 'core-10.img': image(0x55053847, entry(number(1, 8), leader)) },
    });
    expect(state).toBeUndefined();
    expect(processes[0]).toMatchObject({ name: 'riscv', vmas: [{ startPage: 0x400, endPage: 0x404 }] });
  });

  it('needs the images that every process has', async () => {
    await writeImageDirectory(directory, { processes: [task(10, { threads: [10, 11] })] });
    const source = await openImageDirectory(directory);
    for (const name of ['core-11', 'mm-10']) {
      rmSync(join(directory, `${name}.img`));
      await expect(stateOf(source)).rejects.toThrow(new RegExp(`${name}\\.img is missing or empty`));
      await expect(stateOf(source)).rejects.toThrow(IntegrityError);
    }
  });

  it.each([
    ['a root with a parent', [[10, 5]]],
    [
      'two roots',
      [
        [10, 0],
        [11, 0],
      ],
    ],
    [
      'a child before its parent',
      [
        [10, 0],
        [12, 11],
        [11, 10],
      ],
    ],
    [
      'a process that is there twice',
      [
        [10, 0],
        [11, 10],
        [11, 10],
      ],
    ],
  ])('is of one tree: not %s', async (_what, tree) => {
    await writeImageDirectory(directory, {
      processes: [task(10), task(11, { parentPid: 10 }), task(12, { parentPid: 10 })],
    });
    const tasks = tree.map(([pid = 0, parentPid = 0]) => ({ pid, parentPid, threads: [pid] }));
    writeFileSync(join(directory, 'pstree.img'), pstreeImage(tasks));
    await expect(openImageDirectory(directory)).rejects.toThrow(
      /pstree\.img is damaged at byte \d+: process \d+ with the parent/,
    );
  });

  it('is refused if an image is larger than any can be', async () => {
    await writeImageDirectory(directory, {
      processes: [task(10)],
      files: { 'cgroup.img': new Uint8Array(16 * 1024 * 1024 + 1) },
    });
    await expect(stateOf(await openImageDirectory(directory))).rejects.toThrow(
      /cgroup\.img has 16777217 bytes/,
    );
  });
});

describe('a pre-dump', () => {
  it('has mappings around its pages, and no state', async () => {
    const { state, processes, objects } = await read({
      preDump: true,
      processes: [task(10, { entries: [pages(0x400, 2), pages(0x402, 3, 1), pages(0x500, 1)] })],
      shared: [{ id: '9', entries: [pages(3, 2)], content: page }],
    });
    expect(state).toBeUndefined();
    expect(processes).toMatchObject([{ pid: 10, parentPid: 0, name: '', sharedRanges: [] }]);
    expect(processes[0]?.vmas.map(({ startPage, endPage }) => [startPage, endPage])).toEqual([
      [0x400, 0x405],
      [0x500, 0x501],
    ]);
    expect(objects).toEqual([{ id: '9', name: 'shared memory 9', pageCount: 5 }]);
  });

  it('has few mappings, however scattered its pages are', async () => {
    const entries = Array.from({ length: 5000 }, (_, index) => pages(0x400 + index * 2, 1));
    const { processes } = await read({ preDump: true, processes: [task(10, { entries })] });
    const vmas = processes[0]!.vmas;
    expect(vmas.length).toBeLessThanOrEqual(4096);
    const isIn = (wanted: number) =>
      vmas.some(({ startPage, endPage }) => startPage <= wanted && wanted < endPage);
    expect(entries.every(({ startPage }) => isIn(startPage))).toBe(true);
  });
});
