import { describe, expect, it } from 'vitest';
import type { StoredVma } from '../../src/image/index.ts';
import {
  actionFlagsText,
  capabilitiesText,
  clockName,
  openFlagsText,
  signalName,
  signalSetText,
  unusualLimits,
} from '../../src/report/linux-names.ts';
import {
  formatGaps,
  formatProcessState,
  machineText,
  type StateDetail,
} from '../../src/report/state-report.ts';
import { systemCallName } from '../../src/report/system-calls.ts';
import type {
  LiveProcessState,
  LiveState,
  LiveThreadState,
  OpenFile,
  PosixTimer,
} from '../../src/target/index.ts';

const base64 = (bytes: Uint8Array | string) => Buffer.from(bytes).toString('base64');

function vma(startPage: number, endPage: number, pathname: string, offsetPages = 0): StoredVma {
  return {
    ...{ startPage, endPage, pathname, offsetPages, flags: [], inode: 0, deviceMajor: 0, deviceMinor: 0 },
    ...{ read: true, write: false, execute: true, shared: false },
  };
}

const VMAS = [
  vma(0x400, 0x410, '/usr/bin/worker'),
  vma(0x500, 0x520, '/usr/lib/libc.so.6', 0x28),
  vma(0x600, 0x601, ''),
];

/** siginfo of a signal, as far as a report looks at it. */
function siginfo(signal: number): string {
  const bytes = Buffer.alloc(128);
  bytes.writeInt32LE(signal, 0);
  return bytes.toString('base64');
}

function threadAt(address: bigint, changes: Partial<LiveThreadState> = {}): LiveThreadState {
  const general = Buffer.alloc(216);
  general.writeBigUInt64LE(address, 16 * 8);
  return {
    id: 700,
    name: 'worker',
    registers: {
      general: base64(general),
      floatingPoint: base64(Buffer.alloc(512)),
      extended: null,
      further: [],
    },
    signalMask: '0x0',
    pending: [],
    alternateStack: { start: '0x0', flags: 2, sizeBytes: 0 },
    robustList: null,
    clearChildTid: null,
    rseq: null,
    schedule: { policy: 0, priority: 0, nice: 0 },
    systemCall: null,
    ...changes,
  };
}

function file(descriptor: number, changes: Partial<OpenFile> = {}): OpenFile {
  return {
    ...{ descriptor, path: '/var/log/x', kind: 'file', deleted: false, flags: 0o102001, closeOnExec: false },
    ...{ position: '42', device: '8:1', inode: '5', sizeBytes: 42, description: 1, details: [], pipe: null },
    ...changes,
  };
}

function processWith(changes: Partial<LiveProcessState> = {}): LiveProcessState {
  return {
    ...{ pid: 700, parentPid: 0, startTicks: 1, processGroup: 690, session: 680, terminal: '/dev/pts/1' },
    ...{ name: 'worker', exe: null, commandLine: ['worker', 'two words'], auxiliaryVector: null },
    environment: base64('TOKEN=secret\0HOME=/root\0'),
    ...{ workingDirectory: '/srv', root: '/', umask: 0o22, personality: '0x0' },
    credentials: {
      ...{ userIds: [1000, 0, 0, 0], groupIds: [100, 100, 100, 100], supplementaryGroups: [4, 27] },
      capabilities: {
        inheritable: '0x0',
        permitted: '0x0',
        effective: '0x400',
        bounding: '0x0',
        ambient: '0x0',
      },
      noNewPrivileges: true,
    },
    limits: [{ resource: 7, soft: '0x4e20', hard: '0x4e20' }],
    layout: {
      ...{
        startCode: '0x0',
        endCode: '0x0',
        startData: '0x0',
        endData: '0x0',
        startBrk: '0x1000',
        brk: '0x3010',
      },
      ...{ startStack: '0x0', argumentsStart: '0x0', argumentsEnd: '0x0' },
      ...{ environmentStart: '0x0', environmentEnd: '0x0' },
    },
    signals: { caught: '0x2', ignored: '0x1000', dispositions: [], pending: [] },
    timers: { intervals: [], posix: [] },
    files: [],
    ...{ namespaces: {}, cgroup: '/', oomScoreAdjustment: 0, seccompMode: 0 },
    threads: [threadAt(0x401_234n)],
    ...changes,
  };
}

function show(changes: Partial<LiveProcessState> = {}, detail: Partial<StateDetail> = {}): string {
  const process = processWith(changes);
  const state: LiveState = {
    machine: 'x86_64',
    kernelRelease: '6',
    bootId: 'b',
    gaps: [],
    processes: [process],
  };
  return formatProcessState(state, process, VMAS, { environment: false, registers: false, ...detail });
}

describe('a process for people', () => {
  it('is told by what is unusual about it', () => {
    const text = show();
    expect(text).toMatch(/^command +worker 'two words'$/m);
    expect(text).toMatch(/^user +1000 \(effective 0, saved 0, file system 0\), group 100$/m);
    expect(text).toMatch(/^groups +4 27$/m);
    expect(text).toMatch(/^capabilities +net_bind_service$/m);
    expect(text).toMatch(/^no new privileges +yes$/m);
    expect(text).toMatch(/^umask +0022$/m);
    expect(text).toMatch(/^limits +open files 20,000$/m);
    expect(text).toMatch(/^layout +code 0x0-0x0, data 0x0-0x0, heap 0x1000-0x3010, .*, stack 0x0$/m);
    for (const usual of ['cgroup', 'root', 'oom', 'seccomp', 'pending ', 'schedule']) {
      expect(text).not.toMatch(new RegExp(`^${usual}`, 'm'));
    }
  });

  it('keeps its environment to itself unless it is asked for', () => {
    expect(show()).toMatch(/^environment +2 variables$/m);
    expect(show()).not.toContain('secret');
    expect(show({}, { environment: true })).toContain('TOKEN=secret\nHOME=/root\n');
    expect(show({ environment: null })).toMatch(/^environment +not known$/m);
  });

  it('leaves out the arguments that a title has covered', () => {
    expect(show({ commandLine: ['server: *:1', '', '', ''] })).toMatch(/^command +'server: \*:1'$/m);
    expect(show({ commandLine: ['a', ''] })).toMatch(/^command +a ''$/m);
  });

  it('shows the auxiliary vector beside the environment', () => {
    const words = BigUint64Array.of(6n, 4096n, 33n, 0x7ffcn, 99n, 1n, 0n, 0n);
    const auxiliaryVector = base64(new Uint8Array(words.buffer));
    const text = show({ auxiliaryVector }, { environment: true });
    expect(text).toContain(
      'AT_PAGESZ        0x1000\nAT_SYSINFO_EHDR  0x7ffc\nAT_99            0x1\n\nTOKEN=',
    );
    expect(show({ auxiliaryVector })).not.toContain('AT_PAGESZ');
  });

  it('cannot write control characters to the terminal', () => {
    const hostile = 'a\u001b]0;x\u0007\n\u009b31m';
    const text = show(
      {
        commandLine: [hostile],
        environment: base64(`X=${hostile}`),
        files: [file(3, { path: hostile })],
        threads: [threadAt(0n, { name: hostile })],
      },
      { environment: true },
    );
    expect(text.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
    expect(text.split('\n').filter((line) => line.includes(']0;x'))).toHaveLength(4);
  });

  it('shows where its threads are', () => {
    const threads = [
      threadAt(0x401_234n),
      threadAt(0x501_000n, { id: 701 }),
      threadAt(0x600_010n, { id: 702 }),
      threadAt(0xdead_beefn, { id: 703 }),
      threadAt(0n, { id: 704, systemCall: 232, signalMask: '0x201', pending: [siginfo(34), siginfo(10)] }),
      threadAt(0n, {
        id: 705,
        registers: null,
        alternateStack: { start: '0x7000', flags: 0, sizeBytes: 8192 },
      }),
    ];
    const rows = show({ threads }).split('\n');
    const row = (id: number) => rows.find((line) => line.includes(` ${id} `));
    expect(row(700)).toMatch(/worker {2}at worker\+0x1234 +none +none +none$/);
    expect(row(701)).toMatch(/at libc\.so\.6\+0x29000 /);
    expect(row(702)).toMatch(/at 0x600000 \(anonymous\)\+0x10 /);
    expect(row(703)).toMatch(/at 0xdeadbeef /);
    expect(row(704)).toMatch(/epoll_wait +none +SIGHUP, SIGUSR1 +signal 34, SIGUSR1$/);
    expect(row(705)).toMatch(/\? +0x7000, 8,192 B /);
  });

  it('shows how its threads are scheduled where that is not as usual', () => {
    const schedule = { policy: 1, priority: 5, nice: 0 };
    const text = show({ threads: [threadAt(0n), threadAt(0n, { id: 701, schedule })] });
    expect(text).toMatch(/^ +701 .* fifo 5 /m);
    expect(text).toMatch(/^ +700 .* other, nice 0 /m);
  });

  it('shows what signals do', () => {
    const action = { handler: '0x401000', flags: '0x14000000', restorer: '0x0', mask: '0x2' } as const;
    const dispositions = [
      { ...action, signal: 15 },
      { ...action, signal: 13, handler: '0x1', flags: '0x0', mask: '0x0' } as const,
      { ...action, signal: 17, handler: '0x0', flags: '0x2', mask: '0x0' } as const,
    ];
    const text = show({ signals: { caught: '0x0', ignored: '0x0', dispositions, pending: [siginfo(12)] } });
    expect(text).toMatch(/^SIGTERM +worker\+0x1000 +RESTART +SIGINT$/m);
    expect(text).toMatch(/^SIGPIPE +ignored +none +none$/m);
    expect(text).toMatch(/^SIGCHLD +default +NOCLDWAIT +none$/m);
    expect(text).toMatch(/^pending +SIGUSR2$/m);
  });

  it('shows which signals are caught and ignored where the dispositions are not known', () => {
    const text = show({ signals: { caught: '0x2', ignored: '0x1000', dispositions: null, pending: [] } });
    expect(text).toMatch(/^caught +SIGINT$/m);
    expect(text).toMatch(/^ignored +SIGPIPE$/m);
  });

  it('shows timers', () => {
    const posix: PosixTimer = {
      ...{ id: 2, clock: 1, signal: 14, notify: 4, notifyThread: 701, value: '0x0', overrun: 3 },
      ...{ remainingNanoseconds: '2500000000', intervalNanoseconds: '1000000' },
    };
    const text = show({
      timers: {
        intervals: [{ which: 0, valueMicroseconds: 1_500_000, intervalMicroseconds: 0 }],
        posix: [posix, { ...posix, id: 3, remainingNanoseconds: null, intervalNanoseconds: null, notify: 1 }],
      },
    });
    expect(text).toMatch(/^ITIMER_REAL +in 1\.5\d* s$/m);
    expect(text).toMatch(
      /^2 \(CLOCK_MONOTONIC\) +in 2\.5\d* s, then every 1\.0\d* ms, SIGALRM, to thread 701, 3 overruns$/m,
    );
    expect(text).toMatch(/^3 \(CLOCK_MONOTONIC\) +times not known, no signal/m);
  });

  it('shows open files, and which are one', () => {
    const files = [
      file(1),
      file(2, { closeOnExec: true }),
      file(5, {
        description: 2,
        kind: 'pipe',
        flags: 0o4000,
        pipe: { unread: base64('hello'), capacityBytes: 65536 },
      }),
    ];
    const text = show({ files });
    expect(text).toMatch(/^ +1 {2}file +write append +42 +\/var\/log\/x$/m);
    expect(text).toMatch(/^ +2 {2}file +write append close-on-exec +42 {2}1 +\/var\/log\/x$/m);
    expect(text).toMatch(/^ +5 {2}pipe +read non-blocking +42 +\/var\/log\/x \(5 B unread\)$/m);
    expect(text).not.toContain('hello');
  });

  it('names the process with which a file is shared', () => {
    const [parent, child] = [processWith({ files: [file(3)] }), processWith({ pid: 701, files: [file(4)] })];
    const state: LiveState = {
      ...{ machine: 'x86_64', kernelRelease: '6', bootId: 'b', gaps: [] },
      processes: [parent, child],
    };
    const text = formatProcessState(state, child, VMAS, { environment: false, registers: false });
    expect(text).toMatch(/^ +4 {2}file .* 3 of 700 +\/var\/log\/x$/m);
  });

  it('shows registers if they are asked for', () => {
    const threads = [
      threadAt(0x401_234n, {
        robustList: { head: '0x7001', lengthBytes: 24 },
        rseq: { pointer: '0x7002', sizeBytes: 32, signature: 1, flags: 0 },
        clearChildTid: '0x7003',
      }),
      threadAt(0n, { id: 701, registers: null }),
    ];
    const text = show({ threads }, { registers: true });
    expect(text).toMatch(
      /^thread 700\nrobust list +0x7001\nrseq +0x7002, 32 B\ncleared at its end +0x7003\n/m,
    );
    expect(text).toMatch(/\brip +0x0000000000401234\b/);
    expect(text.match(/\b(?:r15|gs|orig_rax|fs_base) +0x0{16}\b/g)).toHaveLength(4);
    expect(text).toMatch(/^thread 701\nrobust list +none\nrseq +none\ncleared at its end +\?\n/m);
    expect(show({ threads })).not.toContain('0x7001');
  });

  it('comes from a machine', () => {
    const state: LiveState = {
      machine: 'aarch64',
      kernelRelease: '6.1',
      bootId: 'b-1',
      gaps: [],
      processes: [],
    };
    expect(machineText(state)).toBe('aarch64, Linux 6.1, boot b-1');
    expect(machineText({ ...state, kernelRelease: '', bootId: '' })).toBe('aarch64');
  });

  it('tells of a socket what CRIU says of it, and not what the kernel does', () => {
    const socket = { kind: 'socket', path: 'socket:[9]', inode: '9' } as const;
    const files = [
      file(3, { ...socket, details: ['tcp 127.0.0.1:6379 listening'] }),
      file(4, { ...socket, details: ['scm_fds: 0'] }),
    ];
    expect(show({ files })).toMatch(/ socket:\[9\] \(tcp 127\.0\.0\.1:6379 listening\)\n.* socket:\[9\]\n/);
  });

  it('is followed by what is missing', () => {
    expect(formatGaps([])).toBe('');
    expect(formatGaps(['a', 'b'])).toBe('not recorded: a\nnot recorded: b\n');
  });
});

describe('names', () => {
  it('of system calls depend on the machine', () => {
    expect(
      [0, 1, 202, 219, 281, 334, 435, 449, 462].map((number) => systemCallName('x86_64', number)),
    ).toEqual([
      ...[
        'read',
        'write',
        'futex',
        'restart_syscall',
        'epoll_pwait',
        'rseq',
        'clone3',
        'futex_waitv',
        'mseal',
      ],
    ]);
    expect([22, 63, 98, 128, 222, 435].map((number) => systemCallName('aarch64', number))).toEqual([
      ...['epoll_pwait', 'read', 'futex', 'restart_syscall', 'mmap', 'clone3'],
    ]);
    expect(systemCallName('x86_64', 9999)).toBe('system call 9999');
  });

  it('of signals and sets of them', () => {
    expect([1, 9, 17, 31, 32, 64].map(signalName)).toEqual([
      ...['SIGHUP', 'SIGKILL', 'SIGCHLD', 'SIGSYS', 'signal 32', 'signal 64'],
    ]);
    expect(signalSetText(0n)).toBe('none');
    expect(signalSetText(0xffff_ffff_ffff_ffffn)).toBe('all');
    expect(signalSetText(0xffff_ffff_ffff_fffdn)).toBe('all but SIGINT');
    expect(signalSetText(0x4002n)).toBe('SIGINT, SIGTERM');
  });

  it('of flags, capabilities, clocks and limits', () => {
    expect(actionFlagsText(0x5c000004n)).toBe('SIGINFO ONSTACK RESTART NODEFER');
    expect(openFlagsText(0o100002, 'x86_64')).toBe('read-write');
    expect(openFlagsText(0o304000, 'x86_64')).toBe('read non-blocking directory');
    expect(openFlagsText(0o204000, 'aarch64')).toBe('read non-blocking direct');
    expect(openFlagsText(0o4110001, 'x86_64')).toBe('write sync');
    expect(openFlagsText(0o110001, 'x86_64')).toBe('write data-sync');
    expect(openFlagsText(0o12000000, 'x86_64')).toBe('path');
    expect(capabilitiesText(0n)).toBe('none');
    expect(capabilitiesText(0x1ff_ffff_ffffn)).toBe('all');
    expect(capabilitiesText(0x1ff_feff_ffffn)).toBe('all but sys_resource');
    expect(capabilitiesText(0x2000c0n)).toBe('setgid setuid sys_admin');
    expect([0, 7, 11, 99, -6].map(clockName)).toEqual([
      ...['CLOCK_REALTIME', 'CLOCK_BOOTTIME', 'CLOCK_TAI', 'clock 99', 'the CPU time of a process or thread'],
    ]);
    const unlimited = 0xffff_ffff_ffff_ffffn;
    const limit = (resource: number, soft: bigint, hard = soft) => ({ resource, soft, hard });
    expect(unusualLimits([limit(6, 500n), limit(11, 500n), limit(3, 8n << 20n, unlimited)])).toEqual([]);
    expect(unusualLimits([limit(6, 400n), limit(11, 500n), limit(0, 60n, unlimited)])).toEqual([
      'processes 400',
      'pending signals 500',
      'cpu time 60 s (hard unlimited)',
    ]);
  });
});
