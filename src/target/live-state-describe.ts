import {
  NOTIFY_THREAD_ID,
  parseLimits,
  parseTaskDetails,
  parseTaskStatus,
  parseTimers,
  type TaskDetails,
  type TaskStatus,
} from '../procfs/index.ts';
import type { AskedProcess, AskedThread, AskedTimer } from './live-state-ask.ts';
import { describeFile, deviceOf, terminalPath } from './live-state-file.ts';
import type {
  Base64,
  Credentials,
  FileIdentity,
  HexNumber,
  LiveProcessState,
  LiveThreadState,
  MemoryLayout,
  PosixTimer,
  ProcessTimers,
  SignalDisposition,
} from './live-state-format.ts';
import type { RawFile, RawLink, RawProcess, RawThread } from './live-state-raw.ts';
import type { RawPipe } from './live-state-sharing.ts';
import type { TracedThread } from './live-state-trace.ts';

/** All that was gathered of one process while it stood still. */
export interface ProcessEvidence {
  readonly raw: RawProcess;
  readonly asked: AskedProcess | undefined;
  /** By thread ids. */
  readonly traced: ReadonlyMap<number, TracedThread>;
  readonly askedThreads: ReadonlyMap<number, AskedThread>;
  /** siginfo of the signals pending for the process. */
  readonly pending: readonly Uint8Array[];
}

/** What was gathered of the open files of all processes. */
export interface FileEvidence {
  readonly descriptions: ReadonlyMap<RawFile, number>;
  readonly pipes: ReadonlyMap<RawFile, RawPipe>;
}

/** Makes the record of a process from what was gathered. @throws TargetError if a text of /proc cannot be parsed */
export function describeProcess(evidence: ProcessEvidence, files: FileEvidence): LiveProcessState {
  const { raw, asked } = evidence;
  const stat = parseTaskDetails(raw.stat);
  const status = parseTaskStatus(raw.status);
  return {
    pid: raw.pid,
    parentPid: raw.parentPid,
    startTicks: stat.startTicks,
    processGroup: stat.processGroup,
    session: stat.session,
    terminal: terminalPath(stat.terminalNumber),
    name: stat.name,
    exe: raw.exe === undefined ? null : identityOf(raw.exe),
    commandLine: raw.commandLine.split('\0').slice(0, -1),
    environment: raw.environment === undefined ? null : base64(raw.environment),
    auxiliaryVector: raw.auxiliaryVector === undefined ? null : base64(raw.auxiliaryVector),
    workingDirectory: raw.workingDirectory ?? null,
    root: raw.root ?? null,
    umask: status.umask,
    personality: raw.personality === undefined ? null : hex(BigInt(`0x${raw.personality.trim()}`)),
    credentials: credentialsOf(status),
    limits: parseLimits(raw.limits ?? '').map(({ resource, soft, hard }) => ({
      resource,
      soft: hex(soft),
      hard: hex(hard),
    })),
    layout: layoutOf(stat, asked?.brk),
    signals: {
      caught: hex(status.signals.caught),
      ignored: hex(status.signals.ignored),
      dispositions: asked === undefined ? null : dispositionsOf(asked),
      pending: evidence.pending.map(base64),
    },
    timers: timersOf(raw, asked),
    files: (raw.files ?? []).flatMap(
      (file) => describeFile(file, files.descriptions.get(file), files.pipes.get(file)) ?? [],
    ),
    namespaces: Object.fromEntries(raw.namespaces),
    cgroup: /^0::(.*)$/m.exec(raw.cgroup ?? '')?.[1] ?? null,
    oomScoreAdjustment: raw.oomScoreAdjustment === undefined ? null : Number(raw.oomScoreAdjustment),
    seccompMode: status.seccompMode,
    threads: raw.threads.map((thread) =>
      describeThread(thread, evidence.traced.get(thread.id), evidence.askedThreads.get(thread.id)),
    ),
  };
}

/** Signals whose dispositions are worth asking for: those that are not at their default, and SIGCHLD for its flags. */
export function signalsToAsk(raw: RawProcess): number[] {
  const { caught, ignored } = parseTaskStatus(raw.status).signals;
  return signalsOf(caught | ignored | (1n << BigInt(SIGCHLD - 1)));
}

/** The numbers of the signals in a set. */
export function signalsOf(set: bigint): number[] {
  return Array.from({ length: 64 }, (_, index) => index + 1).filter(
    (signal) => (set >> BigInt(signal - 1)) & 1n,
  );
}

const SIGCHLD = 17;

function identityOf({ path, stat }: RawLink): FileIdentity {
  return {
    path,
    device: deviceOf(stat),
    inode: String(stat?.ino ?? 0),
    sizeBytes: Number(stat?.size ?? 0),
    modifiedNanoseconds: String(stat?.mtimeNs ?? 0),
  };
}

function credentialsOf(status: TaskStatus): Credentials {
  const { capabilities } = status;
  return {
    userIds: status.userIds,
    groupIds: status.groupIds,
    supplementaryGroups: status.supplementaryGroups,
    capabilities: {
      inheritable: hex(capabilities.inheritable),
      permitted: hex(capabilities.permitted),
      effective: hex(capabilities.effective),
      bounding: hex(capabilities.bounding),
      ambient: hex(capabilities.ambient),
    },
    noNewPrivileges: status.noNewPrivileges,
  };
}

function layoutOf(stat: TaskDetails, brk: bigint | undefined): MemoryLayout {
  return {
    startCode: hex(stat.code.start),
    endCode: hex(stat.code.end),
    startData: hex(stat.data.start),
    endData: hex(stat.data.end),
    startBrk: hex(stat.startBrk),
    brk: brk === undefined ? null : hex(brk),
    startStack: hex(stat.stack),
    argumentsStart: hex(stat.arguments.start),
    argumentsEnd: hex(stat.arguments.end),
    environmentStart: hex(stat.environment.start),
    environmentEnd: hex(stat.environment.end),
  };
}

function dispositionsOf(asked: AskedProcess): SignalDisposition[] {
  return asked.actions
    .filter(({ handler, flags, mask }) => handler !== 0n || flags !== 0n || mask !== 0n)
    .map(({ signal, handler, flags, restorer, mask }) => ({
      signal,
      handler: hex(handler),
      flags: hex(flags),
      restorer: hex(restorer),
      mask: hex(mask),
    }));
}

function timersOf(raw: RawProcess, asked: AskedProcess | undefined): ProcessTimers {
  return {
    intervals:
      asked === undefined
        ? null
        : asked.intervals.filter((timer) => timer.valueMicroseconds + timer.intervalMicroseconds > 0),
    posix: parseTimers(raw.timers ?? '').map((timer): PosixTimer => {
      const times: AskedTimer | undefined = asked?.timers.get(timer.id);
      return {
        id: timer.id,
        clock: timer.clock,
        signal: timer.signal,
        notify: timer.notify,
        notifyThread: (timer.notify & NOTIFY_THREAD_ID) === 0 ? null : timer.notifyId,
        value: hex(timer.value),
        remainingNanoseconds: times === undefined ? null : String(times.remainingNanoseconds),
        intervalNanoseconds: times === undefined ? null : String(times.intervalNanoseconds),
        overrun: times?.overrun ?? null,
      };
    }),
  };
}

function describeThread(
  raw: RawThread,
  traced: TracedThread | undefined,
  asked: AskedThread | undefined,
): LiveThreadState {
  const stat = parseTaskDetails(raw.stat);
  const registers = traced?.registers;
  return {
    id: raw.id,
    name: stat.name,
    registers:
      registers === undefined
        ? null
        : {
            general: base64(registers.general),
            floatingPoint: base64(registers.floatingPoint),
            extended: registers.extended === undefined ? null : base64(registers.extended),
            further: registers.further.map(({ type, content }) => ({ type, content: base64(content) })),
          },
    signalMask: hex(traced?.signalMask ?? parseTaskStatus(raw.status).signals.blocked),
    pending: (traced?.pending ?? []).map(base64),
    alternateStack:
      asked === undefined ? null : { ...asked.alternateStack, start: hex(asked.alternateStack.start) },
    robustList:
      traced?.robustList === undefined ? null : { ...traced.robustList, head: hex(traced.robustList.head) },
    clearChildTid: asked?.clearChildTid === undefined ? null : hex(asked.clearChildTid),
    rseq: traced?.rseq === undefined ? null : { ...traced.rseq, pointer: hex(traced.rseq.pointer) },
    schedule: { policy: stat.policy, priority: stat.realtimePriority, nice: stat.nice },
    systemCall: traced === undefined ? systemCallOf(raw.systemCall) : (registers?.systemCall ?? null),
  };
}

/** From /proc/PID/syscall: `running`, `-1 ...` outside of a call, or the number first. */
function systemCallOf(text: string | undefined): number | null {
  const number = Number.parseInt(text ?? '', 10);
  return number >= 0 ? number : null;
}

function hex(value: bigint): HexNumber {
  return `0x${value.toString(16)}`;
}

function base64(bytes: Uint8Array): Base64 {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}
