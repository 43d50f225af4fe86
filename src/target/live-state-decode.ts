import type { JsonFields } from '../core/index.ts';
import type {
  Base64,
  Credentials,
  DecimalNumber,
  FileIdentity,
  HexNumber,
  LiveProcessState,
  LiveState,
  LiveThreadState,
  MemoryLayout,
  OpenFile,
  OpenFileKind,
  PosixTimer,
  ProcessSignals,
  ProcessTimers,
} from './live-state-format.ts';

/** Bytes of struct siginfo, on every architecture (include/uapi/asm-generic/siginfo.h). */
const SIGINFO_BYTES = 128;
/** Bytes of NT_PRSTATUS and NT_PRFPREG as PTRACE_GETREGSET gives them. */
const REGISTER_BYTES = {
  x86_64: { general: 27 * 8, floatingPoint: 512 },
  aarch64: { general: 34 * 8, floatingPoint: 528 },
} as const;
const HIGHEST_SIGNAL = 64;

const FILE_KINDS: readonly OpenFileKind[] = [
  'file',
  'directory',
  'pipe',
  'fifo',
  'socket',
  'terminal',
  'null',
  'device',
  'memfd',
  'eventfd',
  'epoll',
  'signalfd',
  'timerfd',
  'inotify',
  'userfaultfd',
  'io_uring',
  'pidfd',
  'other',
];

/** Reads one process of a state. @throws IntegrityError naming the field that is not as specified */
export function decodeProcess(fields: JsonFields, machine: LiveState['machine']): LiveProcessState {
  const pid = fields.count('pid', 1);
  const threads = fields.objects('threads').map((thread) => decodeThread(thread, machine));
  if (threads[0]?.id !== pid)
    throw fields.wrong('threads', `the threads of process ${pid}, its leader first`);
  return {
    pid,
    parentPid: fields.count('parentPid'),
    startTicks: fields.count('startTicks'),
    processGroup: fields.count('processGroup'),
    session: fields.count('session'),
    terminal: fields.textOrNull('terminal'),
    name: fields.text('name'),
    exe: fields.orNull('exe', () => decodeIdentity(fields.object('exe'))),
    commandLine: fields.texts('commandLine'),
    environment: base64OrNull(fields, 'environment'),
    auxiliaryVector: base64OrNull(fields, 'auxiliaryVector'),
    workingDirectory: fields.textOrNull('workingDirectory'),
    root: fields.textOrNull('root'),
    umask: fields.countOrNull('umask'),
    personality: hexOrNull(fields, 'personality'),
    credentials: decodeCredentials(fields.object('credentials')),
    limits: fields.objects('limits').map((limit) => ({
      resource: limit.count('resource'),
      soft: hex(limit, 'soft'),
      hard: hex(limit, 'hard'),
    })),
    layout: decodeLayout(fields.object('layout')),
    signals: decodeSignals(fields.object('signals')),
    timers: decodeTimers(fields.object('timers')),
    files: decodeFiles(fields),
    namespaces: decodeNamespaces(fields.object('namespaces'), fields.record('namespaces')),
    cgroup: fields.textOrNull('cgroup'),
    oomScoreAdjustment: fields.orNull('oomScoreAdjustment', () => fields.integer('oomScoreAdjustment')),
    seccompMode: fields.count('seccompMode'),
    threads,
  };
}

function decodeIdentity(fields: JsonFields): FileIdentity {
  return {
    path: fields.text('path'),
    device: device(fields),
    inode: decimal(fields, 'inode'),
    sizeBytes: fields.count('sizeBytes'),
    modifiedNanoseconds: decimal(fields, 'modifiedNanoseconds'),
  };
}

function decodeCredentials(fields: JsonFields): Credentials {
  const capabilities = fields.object('capabilities');
  const fourIds = (name: string) => {
    const ids = fields.counts(name);
    if (ids.length !== 4) throw fields.wrong(name, 'four ids: real, effective, saved, file system');
    return ids;
  };
  return {
    userIds: fourIds('userIds'),
    groupIds: fourIds('groupIds'),
    supplementaryGroups: fields.counts('supplementaryGroups'),
    capabilities: {
      inheritable: hex(capabilities, 'inheritable'),
      permitted: hex(capabilities, 'permitted'),
      effective: hex(capabilities, 'effective'),
      bounding: hex(capabilities, 'bounding'),
      ambient: hex(capabilities, 'ambient'),
    },
    noNewPrivileges: fields.flag('noNewPrivileges'),
  };
}

function decodeLayout(fields: JsonFields): MemoryLayout {
  return {
    startCode: hex(fields, 'startCode'),
    endCode: hex(fields, 'endCode'),
    startData: hex(fields, 'startData'),
    endData: hex(fields, 'endData'),
    startBrk: hex(fields, 'startBrk'),
    brk: hexOrNull(fields, 'brk'),
    startStack: hex(fields, 'startStack'),
    argumentsStart: hex(fields, 'argumentsStart'),
    argumentsEnd: hex(fields, 'argumentsEnd'),
    environmentStart: hex(fields, 'environmentStart'),
    environmentEnd: hex(fields, 'environmentEnd'),
  };
}

function decodeSignals(fields: JsonFields): ProcessSignals {
  return {
    caught: hex(fields, 'caught'),
    ignored: hex(fields, 'ignored'),
    dispositions: fields.orNull('dispositions', () =>
      fields.objects('dispositions').map((disposition) => ({
        signal: signalNumber(disposition),
        handler: hex(disposition, 'handler'),
        flags: hex(disposition, 'flags'),
        restorer: hex(disposition, 'restorer'),
        mask: hex(disposition, 'mask'),
      })),
    ),
    pending: pendingSignals(fields),
  };
}

function decodeTimers(fields: JsonFields): ProcessTimers {
  return {
    intervals: fields.orNull('intervals', () =>
      fields.objects('intervals').map((timer) => ({
        which: timer.count('which'),
        valueMicroseconds: timer.count('valueMicroseconds'),
        intervalMicroseconds: timer.count('intervalMicroseconds'),
      })),
    ),
    posix: fields.objects('posix').map(decodePosixTimer),
  };
}

function decodePosixTimer(fields: JsonFields): PosixTimer {
  return {
    id: fields.count('id'),
    clock: fields.integer('clock'),
    signal: fields.count('signal'),
    notify: fields.count('notify'),
    notifyThread: fields.countOrNull('notifyThread'),
    value: hex(fields, 'value'),
    remainingNanoseconds: decimalOrNull(fields, 'remainingNanoseconds'),
    intervalNanoseconds: decimalOrNull(fields, 'intervalNanoseconds'),
    overrun: fields.countOrNull('overrun'),
  };
}

function decodeFiles(fields: JsonFields): OpenFile[] {
  let previous = -1;
  return fields.objects('files').map((file) => {
    const decoded = decodeFile(file);
    if (decoded.descriptor <= previous) throw fields.wrong('files', 'in the order of the descriptors');
    previous = decoded.descriptor;
    return decoded;
  });
}

function decodeFile(fields: JsonFields): OpenFile {
  return {
    descriptor: fields.count('descriptor'),
    path: fields.text('path'),
    kind: fields.oneOf('kind', FILE_KINDS),
    deleted: fields.flag('deleted'),
    flags: fields.count('flags'),
    closeOnExec: fields.flag('closeOnExec'),
    position: decimal(fields, 'position'),
    device: device(fields),
    inode: decimal(fields, 'inode'),
    sizeBytes: fields.count('sizeBytes'),
    description: fields.countOrNull('description', 1),
    details: fields.texts('details'),
    pipe: fields.orNull('pipe', () => {
      const pipe = fields.object('pipe');
      return { unread: base64(pipe, 'unread'), capacityBytes: pipe.count('capacityBytes') };
    }),
  };
}

function decodeNamespaces(fields: JsonFields, record: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(Object.keys(record).map((name) => [name, fields.text(name)]));
}

function decodeThread(fields: JsonFields, machine: LiveState['machine']): LiveThreadState {
  return {
    id: fields.count('id', 1),
    name: fields.text('name'),
    registers: fields.orNull('registers', () => {
      const registers = fields.object('registers');
      const { general, floatingPoint } = REGISTER_BYTES[machine];
      return {
        general: base64(registers, 'general', general),
        floatingPoint: base64(registers, 'floatingPoint', floatingPoint),
        extended: base64OrNull(registers, 'extended'),
        further: registers.objects('further').map((set) => ({
          type: set.count('type'),
          content: base64(set, 'content'),
        })),
      };
    }),
    signalMask: hex(fields, 'signalMask'),
    pending: pendingSignals(fields),
    alternateStack: fields.orNull('alternateStack', () => {
      const stack = fields.object('alternateStack');
      return { start: hex(stack, 'start'), flags: stack.count('flags'), sizeBytes: stack.count('sizeBytes') };
    }),
    robustList: fields.orNull('robustList', () => {
      const list = fields.object('robustList');
      return { head: hex(list, 'head'), lengthBytes: list.count('lengthBytes') };
    }),
    clearChildTid: hexOrNull(fields, 'clearChildTid'),
    rseq: fields.orNull('rseq', () => {
      const rseq = fields.object('rseq');
      return {
        pointer: hex(rseq, 'pointer'),
        sizeBytes: rseq.count('sizeBytes'),
        signature: rseq.count('signature'),
        flags: rseq.count('flags'),
      };
    }),
    schedule: decodeSchedule(fields.object('schedule')),
    systemCall: fields.countOrNull('systemCall'),
  };
}

function decodeSchedule(fields: JsonFields): LiveThreadState['schedule'] {
  return {
    policy: fields.count('policy'),
    priority: fields.count('priority'),
    nice: fields.integer('nice'),
  };
}

function pendingSignals(fields: JsonFields): Base64[] {
  const pending = fields.texts('pending');
  if (!pending.every((text) => isBase64(text) && base64Length(text) === SIGINFO_BYTES)) {
    throw fields.wrong('pending', `siginfo of ${SIGINFO_BYTES} bytes each, in base64`);
  }
  return pending;
}

function signalNumber(fields: JsonFields): number {
  const signal = fields.count('signal', 1);
  if (signal > HIGHEST_SIGNAL) throw fields.wrong('signal', `a signal from 1 to ${HIGHEST_SIGNAL}`);
  return signal;
}

function hex(fields: JsonFields, name: string): HexNumber {
  return fields.checked(
    name,
    (text): text is HexNumber => /^0x(?:0|[1-9a-f][0-9a-f]{0,15})$/.test(text),
    'a number of at most 64 bits like 0x7ffc10a0',
  );
}

function hexOrNull(fields: JsonFields, name: string): HexNumber | null {
  return fields.orNull(name, () => hex(fields, name));
}

function decimal(fields: JsonFields, name: string): DecimalNumber {
  return fields.matching(name, /^(?:0|-?[1-9][0-9]{0,19})$/, 'an integer as text');
}

function decimalOrNull(fields: JsonFields, name: string): DecimalNumber | null {
  return fields.orNull(name, () => decimal(fields, name));
}

function device(fields: JsonFields): string {
  return fields.matching('device', /^\d+:\d+$/, 'the numbers of a device, like 254:1');
}

function base64(fields: JsonFields, name: string, lengthBytes?: number): Base64 {
  const text = fields.matching(name, BASE64_PATTERN, 'bytes in base64');
  if (lengthBytes !== undefined && base64Length(text) !== lengthBytes) {
    throw fields.wrong(name, `${lengthBytes} bytes in base64`);
  }
  return text;
}

function base64OrNull(fields: JsonFields, name: string): Base64 | null {
  return fields.orNull(name, () => base64(fields, name));
}

const BASE64_PATTERN = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

function isBase64(text: string): boolean {
  return BASE64_PATTERN.test(text);
}

/** Bytes that valid base64 stands for. */
function base64Length(text: string): number {
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  return (text.length / 4) * 3 - padding;
}
