import { fstatSync, mkdtempSync, openSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeLiveState } from '../../src/target/index.ts';
import { encodeLiveState } from '../../src/target/live-state-codec.ts';
import {
  describeProcess,
  type ProcessEvidence,
  signalsOf,
  signalsToAsk,
} from '../../src/target/live-state-describe.ts';
import { describeFile, terminalPath } from '../../src/target/live-state-file.ts';
import { gapsOfProcess } from '../../src/target/live-state-gaps.ts';
import type { RawFile, RawProcess, RawThread } from '../../src/target/live-state-raw.ts';
import { holdersOf, numberDescriptions } from '../../src/target/live-state-sharing.ts';
import type { TracedThread } from '../../src/target/live-state-trace.ts';
import type { Native } from '../../src/target/native/calls.ts';

const STAT =
  '700 (worker) t 1 690 680 34817 690 4194560 0 0 0 0 1 2 0 0 20 0 2 0 4711 9 9 18446744073709551615 ' +
  '1048576 1052672 140737488347136 0 0 0 0 4096 82432 0 0 0 17 0 0 0 0 0 0 1060864 1064960 2097152 ' +
  '140737488350000 140737488350010 140737488350010 140737488351000 0';

function statusWith(lines: Readonly<Record<string, string>> = {}): string {
  const fields = {
    Umask: '0077',
    Uid: '1000 1000 1000 1000',
    Gid: '100 100 100 100',
    Groups: '100 27',
    SigPnd: '0000000000000000',
    ShdPnd: '0000000000000000',
    SigBlk: '0000000000010000',
    SigIgn: '0000000000001000',
    SigCgt: '0000000180000002',
    CapInh: '0',
    CapPrm: '0',
    CapEff: '0',
    CapBnd: '1ffffffffff',
    CapAmb: '0',
    NoNewPrivs: '0',
    Seccomp: '0',
    ...lines,
  };
  return Object.entries(fields)
    .map(([name, value]) => `${name}:\t${value}\n`)
    .join('');
}

function threadWith(
  id: number,
  lines: Readonly<Record<string, string>> = {},
  systemCall = 'running',
): RawThread {
  return { id, stat: STAT.replace('700', String(id)), status: statusWith(lines), systemCall };
}

function rawWith(changes: Partial<RawProcess> = {}): RawProcess {
  return {
    pid: 700,
    parentPid: 0,
    stat: STAT,
    status: statusWith(),
    commandLine: 'worker\0--name\0\0',
    environment: Buffer.from('A=1\0B=\0'),
    auxiliaryVector: Buffer.from([6, 0]),
    limits: 'Max open files            1024                 4096                 files     \n',
    cgroup: '1:cpu:/other\n0::/user.slice/a b\n',
    personality: '00040000\n',
    oomScoreAdjustment: '-17\n',
    timers: 'ID: 5\nsignal: 34/0000000000000009\nnotify: signal/tid.701\nClockID: 1\n',
    exe: { path: '/usr/bin/worker', stat: undefined },
    workingDirectory: '/tmp',
    root: '/',
    namespaces: [['pid', 'pid:[7]']],
    files: [],
    threads: [threadWith(700, {}, '0 0x3 0x7f 0x20 0x0 0x0 0x0 0x7ffc 0x7fd3'), threadWith(701)],
    ...changes,
  };
}

function evidenceOf(raw: RawProcess, changes: Partial<ProcessEvidence> = {}): ProcessEvidence {
  return { raw, asked: undefined, traced: new Map(), askedThreads: new Map(), pending: [], ...changes };
}

const NO_FILES = { descriptions: new Map(), pipes: new Map() };

describe('the record of a process from /proc alone', () => {
  it('has what /proc tells, and null where nobody could ask', () => {
    expect(describeProcess(evidenceOf(rawWith()), NO_FILES)).toMatchObject({
      pid: 700,
      startTicks: 4711,
      processGroup: 690,
      session: 680,
      terminal: '/dev/pts/1',
      commandLine: ['worker', '--name', ''],
      environment: Buffer.from('A=1\0B=\0').toString('base64'),
      umask: 0o77,
      personality: '0x40000',
      credentials: { userIds: [1000, 1000, 1000, 1000], supplementaryGroups: [100, 27] },
      limits: [{ resource: 7, soft: '0x400', hard: '0x1000' }],
      layout: { startCode: '0x100000', startBrk: '0x200000', brk: null, startStack: '0x7fffffffe000' },
      signals: { caught: '0x180000002', ignored: '0x1000', dispositions: null, pending: [] },
      timers: {
        intervals: null,
        posix: [
          { id: 5, signal: 34, notify: 4, notifyThread: 701, value: '0x9', remainingNanoseconds: null },
        ],
      },
      namespaces: { pid: 'pid:[7]' },
      cgroup: '/user.slice/a b',
      oomScoreAdjustment: -17,
      threads: [
        { id: 700, registers: null, signalMask: '0x10000', systemCall: 0, alternateStack: null },
        { id: 701, registers: null, systemCall: null, schedule: { policy: 0, priority: 0, nice: 0 } },
      ],
    });
  });

  it('may lack every file that a kernel or its rights can withhold', () => {
    const nothing = rawWith({
      environment: undefined,
      auxiliaryVector: undefined,
      limits: undefined,
      cgroup: undefined,
      personality: undefined,
      oomScoreAdjustment: undefined,
      timers: undefined,
      exe: undefined,
      workingDirectory: undefined,
      root: undefined,
      namespaces: [],
      files: undefined,
    });
    const process = describeProcess(evidenceOf(nothing), NO_FILES);
    const state = {
      machine: 'x86_64',
      kernelRelease: '6',
      bootId: 'b',
      gaps: [],
      processes: [process],
    } as const;
    expect(decodeLiveState(encodeLiveState(state), 'the state').processes).toEqual([process]);
  });

  it('asks for the dispositions of signals that are not at their default, and SIGCHLD', () => {
    expect(signalsToAsk(rawWith())).toEqual([2, 13, 17, 32, 33]);
  });

  it('keeps what ptrace and the process itself told before what /proc says', () => {
    const traced: TracedThread = {
      registers: {
        general: new Uint8Array(216).fill(1),
        floatingPoint: new Uint8Array(512),
        extended: undefined,
        further: [{ type: 0x401, content: Uint8Array.of(1, 2) }],
        systemCall: 202,
      },
      signalMask: 4n,
      pending: [new Uint8Array(128)],
      rseq: undefined,
      robustList: { head: 0x7f00n, lengthBytes: 24 },
    };
    const action = { signal: 17, handler: 0n, flags: 2n, restorer: 0n, mask: 0n };
    const evidence = evidenceOf(rawWith(), {
      traced: new Map([[701, traced]]),
      askedThreads: new Map([
        [701, { alternateStack: { start: 0n, flags: 2, sizeBytes: 0 }, clearChildTid: 0x80n }],
      ]),
      asked: {
        brk: 0x201000n,
        actions: [action, { ...action, signal: 2, flags: 0n }],
        intervals: [
          { which: 0, intervalMicroseconds: 5, valueMicroseconds: 9 },
          { which: 1, intervalMicroseconds: 0, valueMicroseconds: 0 },
        ],
        timers: new Map([[5, { intervalNanoseconds: 1n, remainingNanoseconds: 2n, overrun: 3 }]]),
      },
    });
    const process = describeProcess(evidence, NO_FILES);
    expect(process.layout.brk).toBe('0x201000');
    expect(process.signals.dispositions).toEqual([
      { signal: 17, handler: '0x0', flags: '0x2', restorer: '0x0', mask: '0x0' },
    ]);
    expect(process.timers.intervals).toEqual([{ which: 0, intervalMicroseconds: 5, valueMicroseconds: 9 }]);
    expect(process.timers.posix[0]).toMatchObject({
      remainingNanoseconds: '2',
      intervalNanoseconds: '1',
      overrun: 3,
    });
    expect(process.threads[1]).toMatchObject({
      signalMask: '0x4',
      systemCall: 202,
      registers: { further: [{ type: 0x401, content: 'AQI=' }] },
      robustList: { head: '0x7f00', lengthBytes: 24 },
      clearChildTid: '0x80',
      alternateStack: { start: '0x0', flags: 2 },
    });
  });
});

describe('gaps', () => {
  const gapsOf = (raw: RawProcess, changes: Partial<ProcessEvidence> = {}) => {
    const evidence = evidenceOf(raw, changes);
    return gapsOfProcess(describeProcess(evidence, NO_FILES), evidence);
  };

  it('are none for an ordinary process', () => {
    expect(gapsOf(rawWith())).toEqual([]);
  });

  it.each([
    [{ files: undefined }, /open files of process 700 may not be looked at/],
    [{ status: statusWith({ Seccomp: '2' }) }, /seccomp filters of process 700/],
    [{ threads: [threadWith(700), threadWith(701, { Uid: '5 5 5 5' })] }, /thread 701 has credentials/],
    [
      { threads: [threadWith(700), threadWith(701, { SigPnd: '200' })] },
      /of signals 10, pending in process 700/,
    ],
    [{ threads: [threadWith(700, { ShdPnd: '1' })] }, /of signals 1, pending/],
    [{ workingDirectory: '/tmp/\ufffd' }, /not UTF-8/],
    [
      {
        threads: [
          { ...threadWith(700), stat: STAT.replace('17 0 0 0 0 0 0 1060864', '17 0 0 6 0 0 0 1060864') },
        ],
      },
      /SCHED_DEADLINE/,
    ],
  ])('name what %o lacks', (changes, gap) => {
    expect(gapsOf(rawWith(changes))).toEqual([expect.stringMatching(gap)]);
  });

  it('name threads of 32-bit code', () => {
    const traced = {
      registers: undefined,
      signalMask: 0n,
      pending: [],
      rseq: undefined,
      robustList: undefined,
    };
    const gaps = gapsOf(rawWith({ threads: [threadWith(700)] }), { traced: new Map([[700, traced]]) });
    expect(gaps).toEqual([
      expect.stringMatching(/registers of thread 700 are not recorded: it runs 32-bit code/),
    ]);
  });
});

describe('open files', () => {
  const info = 'pos:\t7\nflags:\t0100002\nmnt_id:\t1\nino:\t2\n';
  const kindOf = (path: string, of?: string) => {
    const stat = of === undefined ? undefined : statSync(of, { bigint: true });
    return describeFile({ descriptor: 3, path, stat, info }, undefined, undefined)!.kind;
  };

  it.each([
    ['anon_inode:[eventfd]', 'eventfd'],
    ['anon_inode:[eventpoll]', 'epoll'],
    ['anon_inode:inotify', 'inotify'],
    ['anon_inode:[io_uring]', 'io_uring'],
    ['anon_inode:[userfaultfd]', 'userfaultfd'],
    ['anon_inode:[pidfd]', 'pidfd'],
    ['pidfd:[77]', 'pidfd'],
    ['anon_inode:[perf_event]', 'other'],
    ['/gone/from/sight', 'other'],
  ])('that have no inode to look at: %s is %s', (path, kind) => {
    expect(kindOf(path)).toBe(kind);
  });

  it.each([
    ['/dev/null', 'null'],
    ['/dev/zero', 'device'],
    ['/dev/tty', 'terminal'],
    ['/proc', 'directory'],
    ['/proc/self/stat', 'file'],
  ])('with one: %s is %s', (path, kind) => {
    expect(kindOf(path, path)).toBe(kind);
  });

  it('tell memory files and deleted ones by their links', () => {
    const directory = mkdtempSync(`${tmpdir()}/ckpt-kinds-`);
    const stat = fstatSync(openSync(`${directory}/x`, 'w'), { bigint: true });
    rmSync(directory, { recursive: true });
    const describeAs = (path: string) => describeFile({ descriptor: 3, path, stat, info }, 4, undefined);
    expect(describeAs('/memfd:a (deleted)')).toMatchObject({ kind: 'memfd', deleted: true, description: 4 });
    expect(describeAs(`${directory}/x (deleted)`)).toMatchObject({
      kind: 'file',
      deleted: true,
      position: '7',
    });
    expect(describeFile({ descriptor: 3, path: '/x', stat, info: '' }, undefined, undefined)).toBeUndefined();
  });

  it('are compared by the kernel only where path, inode and flags agree', () => {
    const file = (descriptor: number, path: string, position = 0): RawFile => ({
      descriptor,
      path,
      stat: undefined,
      info: `pos:\t${position}\nflags:\t02\n`,
    });
    const processes = [
      rawWith({ files: [file(0, 'a'), file(1, 'a', 7), file(2, 'b'), file(3, 'c')] }),
      rawWith({ pid: 800, files: [file(0, 'a'), file(5, 'a')] }),
    ];
    const compared: string[] = [];
    const call = (...[, , pid, otherPid, , one, other]: Parameters<Native['call']>) => {
      compared.push(`${pid}/${one} ${otherPid}/${other}`);
      return Number(other) > 1 ? 1 : 0;
    };
    const holders = holdersOf(processes, () => 2);
    const numbers = numberDescriptions({ call }, holders);
    expect(holders.map(({ file: raw }) => numbers.get(raw))).toEqual([1, 1, 2, 3, 1, 4]);
    expect(compared).toEqual(['700/0 700/1', '700/0 800/0', '700/0 800/5']);
  });

  it('are told apart as the kernel orders them, with few comparisons', () => {
    const identities = fc.array(fc.nat(30), { maxLength: 80 });
    fc.assert(
      fc.property(identities, (identity) => {
        const files = identity.map((_, descriptor) => ({ descriptor, path: 'x', stat: undefined, info: '' }));
        let calls = 0;
        const call = (...[, , , , , one, other]: Parameters<Native['call']>) => {
          calls++;
          const [left, right] = [identity[Number(one)]!, identity[Number(other)]!];
          return left === right ? 0 : left < right ? 1 : 2;
        };
        const numbers = numberDescriptions(
          { call },
          holdersOf([rawWith({ files })], () => 0),
        );
        const seen = [...new Set(identity)];
        expect(files.map((each) => numbers.get(each))).toEqual(identity.map((one) => seen.indexOf(one) + 1));
        expect(calls).toBeLessThanOrEqual(identity.length * 5);
      }),
    );
  });
});

describe('numbers', () => {
  it('of terminals become paths', () => {
    expect([0, 0x8800, 0x8803, 0x8901, 0x0401, 0x0440].map(terminalPath)).toEqual([
      null,
      '/dev/pts/0',
      '/dev/pts/3',
      '/dev/pts/257',
      '/dev/tty1',
      '/dev/ttyS0',
    ]);
    expect(terminalPath(0x100_8803)).toBe('/dev/pts/4099');
    expect(terminalPath(0x2a05)).toBe('device 42:5');
  });

  it('of signals come from the bits of a set', () => {
    expect(signalsOf(0n)).toEqual([]);
    expect(signalsOf(0x8000_0000_0000_0001n)).toEqual([1, 64]);
  });
});
