import { describe, expect, it } from 'vitest';
import type { LiveProcessState, Vma } from '../../../src/target/index.ts';
import { credentialsProblem, parseCredentials } from '../../../src/target/launch/credentials.ts';
import { findObstacles } from '../../../src/target/launch/find-obstacles.ts';
import { planSpace } from '../../../src/target/launch/plan-space.ts';
import type { LaunchWorld } from '../../../src/target/launch/world.ts';
import { CREDENTIALS, mapping, openFile, processState, threadState, world } from './samples.ts';

const PID = 10;

function obstacles(
  changes: Partial<LiveProcessState>,
  here: Partial<LaunchWorld> = {},
  vmas: readonly Vma[] = [],
  vdso = new Uint8Array(),
) {
  const state = processState(PID, changes);
  const target = {
    machine: 'x86_64' as const,
    kernelRelease: '6.18',
    bootId: '',
    processes: [state],
    gaps: [],
  };
  return findObstacles(target, [{ state, vmas, vdso }], { takenAtMilliseconds: 1000 }, world(here));
}

const messages = (...given: Parameters<typeof obstacles>) =>
  obstacles(...given).map(({ message }) => message);

describe('findObstacles()', () => {
  it('finds none for an ordinary process', () => {
    expect(obstacles({ files: [openFile(3, {})] })).toEqual([]);
  });

  it('names PIDs and thread ids that are taken', () => {
    const holderOf = (id: number) => ({ 10: 'cron', 12: 'sshd' })[id];
    const threads = [threadState(PID), threadState(12), threadState(13)];
    expect(messages({ threads }, { holderOf })).toEqual([
      'its PID is taken by cron now',
      'the id 12 of one of its threads is taken by sshd now',
    ]);
  });

  it('names files that are gone, are others, or have changed, and lets the latter be overridden', () => {
    const found = obstacles({
      files: [
        openFile(3, { path: '/gone' }),
        openFile(4, { inode: '8' }),
        openFile(5, { sizeBytes: 50 }),
        openFile(6, { kind: 'directory', path: '/', inode: '2' }),
      ],
      workingDirectory: '/lost',
    });
    expect(found).toEqual([
      { pid: PID, message: 'descriptor 3: /gone is gone', forcible: false },
      { pid: PID, message: 'descriptor 4: /data is another file now', forcible: true },
      {
        pid: PID,
        message: 'descriptor 5: /data has changed (50 bytes then, 100 now)',
        forcible: true,
      },
      { pid: PID, message: 'its working directory /lost is gone', forcible: false },
    ]);
  });

  it('names a file that has been written to since, though it has the same size', () => {
    const present = { ...world().file('/data')!, modifiedMilliseconds: 1001 };
    const file = (path: string) => (path === '/data' ? present : world().file(path));
    expect(obstacles({ files: [openFile(3, {})] }, { file })).toEqual([
      { pid: PID, message: 'descriptor 3: /data has been written to since', forcible: true },
    ]);
  });

  it('names mapped files that are gone or have changed since', () => {
    const file = { deviceMajor: 8, deviceMinor: 1, write: false };
    const vmas = [
      mapping(1, 2, { ...file, pathname: '/bin/sample', inode: 5 }),
      mapping(2, 3, { ...file, pathname: '/data', inode: 9 }),
      mapping(3, 4, { ...file, pathname: '/lib/gone.so', inode: 6 }),
    ];
    expect(messages({}, {}, vmas)).toEqual([
      'the mapped file /data is another file now',
      'the mapped file /lib/gone.so is gone',
    ]);
    const present = world().file('/bin/sample')!;
    const file5 = (path: string) =>
      path === '/bin/sample' ? { ...present, modifiedMilliseconds: 2000 } : world().file(path);
    expect(messages({}, { file: file5 }, vmas.slice(0, 1))).toEqual([
      'the mapped file /bin/sample has changed since',
    ]);
  });

  it('names what the checkpoint does not tell', () => {
    const incomplete = { ...threadState(PID), registers: null };
    expect(messages({ threads: [incomplete] })).toEqual(['its registers are not in the checkpoint']);
    const [first] = obstacles({ auxiliaryVector: null, timers: { intervals: null, posix: [] } });
    expect(first).toEqual({
      pid: PID,
      message: 'the checkpoint does not tell interval timers, the auxiliary vector',
      forcible: true,
    });
  });

  it('names another processor, kernel, root directory, seccomp and namespaces', () => {
    expect(messages({}, { architecture: 'aarch64' })).toEqual([
      'its code is for x86_64, and this is another kind of processor',
    ]);
    const vdso = mapping(5, 7, { pathname: '[vdso]' });
    expect(messages({}, { kernelMappings: [vdso] })).toEqual([
      'it has no vDSO of another kernel (here: [vdso] 2)',
    ]);
    const here = { kernelMappings: [vdso], vdso: Uint8Array.of(1) };
    expect(messages({}, here, [vdso], Uint8Array.of(1))).toEqual([]);
    expect(messages({}, here, [vdso], Uint8Array.of(2))).toEqual(['its vDSO is of another kernel']);
    expect(messages({ seccompMode: 2, root: '/jail' })).toEqual([
      'it ran under seccomp',
      'its root directory was /jail',
    ]);
    const namespaces = { ...processState(1).namespaces, pid: 'pid:[7]', user: 'user:[8]' };
    expect(messages({ namespaces })).toEqual([
      'it was in another user namespace',
      'it was in another PID namespace, so that it knew itself under other PIDs',
    ]);
    expect(
      messages(
        { namespaces: { ...namespaces, user: 'user:[1]' } },
        {
          namespace: (name) => ({ pid: 'pid:[7]', user: 'user:[1]', time: 'time:[2]' })[name],
        },
      ),
    ).toEqual([]);
  });

  it('names rights that ckpt does not have', () => {
    const { capabilities } = CREDENTIALS;
    const weak = { ...CREDENTIALS, capabilities: { ...capabilities, effective: '0x0' as const } };
    expect(messages({ credentials: weak }, { credentials: weak })).toEqual([
      'ckpt may not choose PIDs (that takes root, or CAP_CHECKPOINT_RESTORE)',
    ]);
    const poor = { ...CREDENTIALS, capabilities: { ...capabilities, bounding: '0xff' as const } };
    expect(credentialsProblem(CREDENTIALS, poor)).toContain('bounding capabilities include 0x1ffffffff00');
    expect(credentialsProblem(poor, CREDENTIALS)).toBeUndefined();
    const user = { ...CREDENTIALS, userIds: [7, 7, 7, 7] };
    expect(credentialsProblem(user, CREDENTIALS)).toBeUndefined();
    expect(credentialsProblem(CREDENTIALS, user)).toContain('others than those of ckpt');
  });
});

describe('parseCredentials()', () => {
  it('reads the lines of status', () => {
    const status =
      'Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t27 4 \nCapInh:\t0000000000000001\n' +
      'CapPrm:\t000001ffffffffff\nCapEff:\t0000000000000002\nCapBnd:\t0000000000000003\nCapAmb:\t0000000000000000\n' +
      'NoNewPrivs:\t1\n';
    expect(parseCredentials(status)).toEqual({
      userIds: [1, 2, 3, 4],
      groupIds: [5, 6, 7, 8],
      supplementaryGroups: [27, 4],
      capabilities: {
        inheritable: '0x0000000000000001',
        permitted: '0x000001ffffffffff',
        effective: '0x0000000000000002',
        bounding: '0x0000000000000003',
        ambient: '0x0000000000000000',
      },
      noNewPrivileges: true,
    });
  });
});

describe('planSpace()', () => {
  const plan = (...vmas: Vma[]) => planSpace([{ state: processState(PID), vmas, vdso: new Uint8Array() }]);
  const file = { pathname: '/data', deviceMajor: 8, deviceMinor: 1, inode: 7 };

  it('opens each file once for reading, and once more for shared mappings that may be written', () => {
    const { recipes, sources } = plan(
      mapping(1, 2, file),
      mapping(2, 3, { ...file, offsetPages: 1, execute: true }),
      mapping(3, 4, { ...file, shared: true }),
      mapping(4, 5),
    );
    const open = { kind: 'open', path: '/data', position: 0n };
    expect(recipes).toEqual([
      { ...open, flags: 0o100000 },
      { ...open, flags: 0o100002 },
    ]);
    expect([...sources.values()]).toEqual([0, 1]);
  });

  it('makes shared memory once, as long as its furthest mapping reaches', () => {
    const memory = { pathname: '/dev/zero (deleted)', shared: true, deviceMinor: 1, inode: 77 };
    const { recipes, obstacles } = plan(
      mapping(1, 3, memory),
      mapping(8, 9, { ...memory, offsetPages: 4 }),
      mapping(10, 12, { ...memory, inode: 78 }),
    );
    expect(obstacles).toEqual([]);
    expect(recipes).toEqual([
      { kind: 'memory', bytes: 5 * 4096 },
      { kind: 'memory', bytes: 2 * 4096 },
    ]);
  });

  it('names mappings that cannot be made anew', () => {
    const { obstacles } = plan(
      mapping(1, 2, { pathname: '/SYSV00000000 (deleted)', shared: true, inode: 3 }),
      mapping(2, 3, { pathname: '/memfd:x (deleted)', shared: true, inode: 4 }),
      mapping(3, 4, { pathname: '/lib/old.so (deleted)', inode: 5 }),
      mapping(4, 5, { pathname: '/dev/fb0', shared: true, inode: 6, flags: ['io'] }),
      mapping(5, 6, { flags: ['ss'] }),
    );
    expect(obstacles.map(({ message }) => message)).toEqual([
      expect.stringContaining('the System V segment /SYSV00000000'),
      expect.stringContaining('the memory file /memfd:x'),
      expect.stringContaining('/lib/old.so (deleted) has been deleted'),
      expect.stringContaining('the device memory /dev/fb0'),
      expect.stringContaining('a shadow stack'),
    ]);
  });
});
