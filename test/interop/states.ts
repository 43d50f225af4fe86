import type { HexNumber, LiveProcessState, LiveState, LiveThreadState } from '../../src/target/index.ts';

/** A thread that stood in system call 35, with registers of the right lengths for x86-64. */
export function threadState(id: number, given: Partial<LiveThreadState> = {}): LiveThreadState {
  return {
    id,
    name: 'specimen',
    registers: {
      general: registerBytes(216, id),
      floatingPoint: registerBytes(512, id + 1),
      extended: registerBytes(2688, id + 2),
      further: [],
    },
    signalMask: '0x0',
    pending: [],
    alternateStack: null,
    robustList: null,
    clearChildTid: null,
    rseq: null,
    schedule: { policy: 0, priority: 0, nice: 0 },
    systemCall: 35,
    ...given,
  };
}

/** Bytes in base64 that tell their seed. */
export function registerBytes(lengthBytes: number, seed: number): string {
  return Buffer.from(
    Uint8Array.from({ length: lengthBytes }, (_, index) => (index * 7 + seed) & 255),
  ).toString('base64');
}

const ZERO: HexNumber = '0x0';

/** A process with nothing special about it. */
export function processState(pid: number, given: Partial<LiveProcessState> = {}): LiveProcessState {
  return {
    pid,
    parentPid: 0,
    startTicks: 1,
    processGroup: pid,
    session: pid,
    terminal: null,
    name: 'specimen',
    exe: null,
    commandLine: ['./specimen'],
    environment: null,
    auxiliaryVector: Buffer.alloc(16).toString('base64'),
    workingDirectory: '/',
    root: '/',
    umask: 18,
    personality: ZERO,
    credentials: {
      userIds: [1000, 1000, 1000, 1000],
      groupIds: [100, 100, 100, 100],
      supplementaryGroups: [],
      capabilities: { inheritable: ZERO, permitted: ZERO, effective: ZERO, bounding: ZERO, ambient: ZERO },
      noNewPrivileges: false,
    },
    limits: [],
    layout: {
      startCode: ZERO,
      endCode: ZERO,
      startData: ZERO,
      endData: ZERO,
      startBrk: ZERO,
      brk: null,
      startStack: ZERO,
      argumentsStart: ZERO,
      argumentsEnd: ZERO,
      environmentStart: ZERO,
      environmentEnd: ZERO,
    },
    signals: { caught: ZERO, ignored: ZERO, dispositions: null, pending: [] },
    timers: { intervals: null, posix: [] },
    files: [],
    namespaces: {},
    cgroup: null,
    oomScoreAdjustment: null,
    seccompMode: 0,
    threads: [threadState(pid)],
    ...given,
  };
}

/** The state of a target of these processes. */
export function liveState(...processes: readonly LiveProcessState[]): LiveState {
  return { machine: 'x86_64', kernelRelease: '6.18.0', bootId: 'boot', processes, gaps: [] };
}
