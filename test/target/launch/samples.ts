import type { LiveProcessState, LiveThreadState, OpenFile, Vma } from '../../../src/target/index.ts';
import type { LaunchWorld } from '../../../src/target/launch/world.ts';

/** A thread that can be made anew. */
export function threadState(id: number): LiveThreadState {
  return {
    id,
    name: 'sample',
    registers: { general: '', floatingPoint: '', extended: null, further: [] },
    signalMask: '0x0',
    pending: [],
    alternateStack: null,
    robustList: null,
    clearChildTid: '0x0',
    rseq: null,
    schedule: { policy: 0, priority: 0, nice: 0 },
    systemCall: null,
  };
}

/** A process that can be made anew, but for what `changes` says. */
export function processState(pid: number, changes: Partial<LiveProcessState> = {}): LiveProcessState {
  return {
    pid,
    parentPid: 0,
    startTicks: 1,
    processGroup: 10,
    session: 9,
    terminal: null,
    name: 'sample',
    exe: { path: '/bin/sample', device: '8:1', inode: '5', sizeBytes: 10, modifiedNanoseconds: '0' },
    commandLine: ['sample'],
    environment: '',
    auxiliaryVector: '',
    workingDirectory: '/',
    root: '/',
    umask: 0o22,
    personality: '0x0',
    credentials: CREDENTIALS,
    limits: [],
    layout: {
      startCode: '0x0',
      endCode: '0x0',
      startData: '0x0',
      endData: '0x0',
      startBrk: '0x0',
      brk: '0x0',
      startStack: '0x0',
      argumentsStart: '0x0',
      argumentsEnd: '0x0',
      environmentStart: '0x0',
      environmentEnd: '0x0',
    },
    signals: { caught: '0x0', ignored: '0x0', dispositions: [], pending: [] },
    timers: { intervals: [], posix: [] },
    files: [],
    namespaces: { pid: 'pid:[4026531836]', user: 'user:[1]', time: 'time:[2]', mnt: 'mnt:[3]' },
    cgroup: null,
    oomScoreAdjustment: null,
    seccompMode: 0,
    threads: [threadState(pid)],
    ...changes,
  };
}

export const CREDENTIALS: LiveProcessState['credentials'] = {
  userIds: [0, 0, 0, 0],
  groupIds: [0, 0, 0, 0],
  supplementaryGroups: [],
  capabilities: {
    inheritable: '0x0',
    permitted: '0x1ffffffffff',
    effective: '0x1ffffffffff',
    bounding: '0x1ffffffffff',
    ambient: '0x0',
  },
  noNewPrivileges: false,
};

export function openFile(descriptor: number, changes: Partial<OpenFile>): OpenFile {
  return {
    descriptor,
    path: '/data',
    kind: 'file',
    deleted: false,
    flags: 0,
    closeOnExec: false,
    position: '0',
    device: '8:1',
    inode: '7',
    sizeBytes: 100,
    description: descriptor + 1,
    details: [],
    pipe: null,
    ...changes,
  };
}

/** A mapping of private memory, but for what `changes` says. */
export function mapping(startPage: number, endPage: number, changes: Partial<Vma> = {}): Vma {
  return {
    startPage,
    endPage,
    read: true,
    write: true,
    execute: false,
    shared: false,
    offsetPages: 0,
    deviceMajor: 0,
    deviceMinor: 0,
    inode: 0,
    pathname: '',
    flags: ['rd', 'wr', 'mr', 'mw', 'me', 'ac'],
    ...changes,
  };
}

/** A machine on which the samples can live: their program and `/data` are there, and no PID is taken. */
export function world(changes: Partial<LaunchWorld> = {}): LaunchWorld {
  const files = new Map([
    ['/', { kind: 'directory' as const, inode: '2', sizeBytes: 0 }],
    ['/bin/sample', { kind: 'file' as const, inode: '5', sizeBytes: 10 }],
    ['/data', { kind: 'file' as const, inode: '7', sizeBytes: 100 }],
  ]);
  return {
    architecture: 'x86_64',
    credentials: CREDENTIALS,
    rootDirectory: '/',
    bootId: '',
    kernelMappings: [],
    vdso: new Uint8Array(),
    file(path) {
      const file = files.get(path);
      return file === undefined ? undefined : { device: '8:1', modifiedMilliseconds: 0, ...file };
    },
    holderOf: () => undefined,
    namespace: (name) => processState(1).namespaces[name],
    ...changes,
  };
}
