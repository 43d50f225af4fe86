import { formatCount, formatDuration } from '../core/index.ts';
import type { StoredVma } from '../image/index.ts';
import type {
  LiveProcessState,
  LiveState,
  OpenFile,
  PosixTimer,
  SignalDisposition,
} from '../target/index.ts';
import {
  actionFlagsText,
  auxiliaryName,
  capabilitiesText,
  clockName,
  openFlagsText,
  signalName,
  signalSetText,
  unusualLimits,
} from './linux-names.ts';
import { formatFields, formatTable, printable } from './table.ts';
import { formatRegisters, formatThreads, pendingText, placeText } from './thread-report.ts';

/** How much of a state is printed. */
export interface StateDetail {
  /**
   * The environment variables themselves, and the auxiliary vector: what the program was begun with. Variables often
   * hold secrets, so by default they are only counted.
   */
  readonly environment: boolean;
  /** The general registers of every thread, and what it has registered with the kernel. */
  readonly registers: boolean;
}

const INTERVAL_TIMERS = ['ITIMER_REAL', 'ITIMER_VIRTUAL', 'ITIMER_PROF'];
const SECCOMP_MODES = ['none', 'strict', 'filter'];
const IGNORED = '0x1';
const DEFAULT = '0x0';
/** SIGEV_NONE */
const NO_NOTIFICATION = 1;

/** One process of a state, for people: who it is, its threads, signals, timers and open files. */
export function formatProcessState(
  state: LiveState,
  process: LiveProcessState,
  vmas: readonly StoredVma[],
  detail: StateDetail,
): string {
  return [
    formatFields(processFields(process)),
    formatThreads(state.machine, process, vmas),
    ...formatDispositions(process, vmas),
    ...formatTimers(process),
    ...formatFiles(state, process),
    ...(detail.registers ? process.threads.map((thread) => formatRegisters(state.machine, thread)) : []),
    ...(detail.environment ? formatEnvironment(process) : []),
  ].join('\n');
}

/** `x86_64, Linux 6.18.44, boot 7a9c...`: where a state was taken; `x86_64` where CRIU took it. */
export function machineText({ machine, kernelRelease, bootId }: LiveState): string {
  const kernel = kernelRelease === '' ? [] : [`Linux ${kernelRelease}`];
  return [machine, ...kernel, ...(bootId === '' ? [] : [`boot ${bootId}`])].join(', ');
}

/** What a state lacks, a line each; empty if nothing. */
export function formatGaps(gaps: readonly string[]): string {
  return gaps.map((gap) => `not recorded: ${printable(gap)}\n`).join('');
}

function processFields(process: LiveProcessState): (readonly [string, string])[] {
  const { credentials, limits, signals } = process;
  const unusual = unusualLimits(
    limits.map(({ resource, soft, hard }) => ({ resource, soft: BigInt(soft), hard: BigInt(hard) })),
  );
  const fields: (readonly [string, string | undefined])[] = [
    ['command', commandText(process.commandLine)],
    ['program', process.exe?.path],
    ['directory', process.workingDirectory ?? undefined],
    ['root', process.root === '/' ? undefined : (process.root ?? undefined)],
    ['terminal', process.terminal ?? 'none'],
    ['group', `${process.processGroup}, session ${process.session}`],
    ['user', `${idsText(credentials.userIds)}, group ${idsText(credentials.groupIds)}`],
    ['groups', credentials.supplementaryGroups.join(' ') || undefined],
    ['capabilities', capabilitiesText(BigInt(credentials.capabilities.effective))],
    ['no new privileges', credentials.noNewPrivileges ? 'yes' : undefined],
    ['seccomp', process.seccompMode === 0 ? undefined : SECCOMP_MODES[process.seccompMode]],
    ['umask', process.umask === null ? undefined : process.umask.toString(8).padStart(4, '0')],
    ['limits', unusual.join(', ') || undefined],
    ['cgroup', process.cgroup === '/' ? undefined : (process.cgroup ?? undefined)],
    ['oom adjustment', process.oomScoreAdjustment ? String(process.oomScoreAdjustment) : undefined],
    ['layout', layoutText(process)],
    [
      'environment',
      process.environment === null ? 'not known' : `${formatCount(environmentOf(process).length)} variables`,
    ],
    ['pending', pendingText(signals.pending)],
    ...(signals.dispositions === null
      ? ([
          ['caught', signalSetText(BigInt(signals.caught))],
          ['ignored', signalSetText(BigInt(signals.ignored))],
        ] as const)
      : []),
  ];
  return fields.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]));
}

/** `0`, or `1000 (effective 0, saved 0, file system 0)`. */
function idsText([real, effective, saved, fileSystem]: readonly number[]): string {
  if (real === effective && real === saved && real === fileSystem) return String(real);
  return `${real} (effective ${effective}, saved ${saved}, file system ${fileSystem})`;
}

/** Where exec and brk put things, to the byte. */
function layoutText({ layout }: LiveProcessState): string {
  const parts: (readonly [string, string, string | null])[] = [
    ['code', layout.startCode, layout.endCode],
    ['data', layout.startData, layout.endData],
    ['heap', layout.startBrk, layout.brk],
    ['arguments', layout.argumentsStart, layout.argumentsEnd],
    ['environment', layout.environmentStart, layout.environmentEnd],
  ];
  const ranges = parts.map(([name, start, end]) => `${name} ${start}-${end ?? '?'}`);
  return [...ranges, `stack ${layout.startStack}`].join(', ');
}

function formatDispositions(process: LiveProcessState, vmas: readonly StoredVma[]): string[] {
  const { dispositions } = process.signals;
  if (dispositions === null || dispositions.length === 0) return [];
  return [
    formatTable(
      [{ heading: 'signal' }, { heading: 'action' }, { heading: 'flags' }, { heading: 'blocks meanwhile' }],
      dispositions.map((disposition) => [
        signalName(disposition.signal),
        actionText(disposition, vmas),
        actionFlagsText(BigInt(disposition.flags)) || 'none',
        signalSetText(BigInt(disposition.mask)),
      ]),
    ),
  ];
}

function actionText({ handler }: SignalDisposition, vmas: readonly StoredVma[]): string {
  if (handler === IGNORED) return 'ignored';
  return handler === DEFAULT ? 'default' : placeText(BigInt(handler), vmas);
}

function formatTimers({ timers }: LiveProcessState): string[] {
  const lines = [
    ...(timers.intervals ?? []).map(({ which, valueMicroseconds, intervalMicroseconds }) => [
      INTERVAL_TIMERS[which] ?? `interval timer ${which}`,
      timesText(valueMicroseconds, intervalMicroseconds),
    ]),
    ...timers.posix.map((timer) => [`${timer.id} (${clockName(timer.clock)})`, posixText(timer)]),
  ];
  return lines.length === 0 ? [] : [formatTable([{ heading: 'timer' }, { heading: 'state' }], lines)];
}

function posixText(timer: PosixTimer): string {
  const { remainingNanoseconds, intervalNanoseconds, notifyThread, overrun } = timer;
  const microseconds = (nanoseconds: string) => Number(BigInt(nanoseconds) / 1000n);
  const parts = [
    remainingNanoseconds === null || intervalNanoseconds === null
      ? 'times not known'
      : timesText(microseconds(remainingNanoseconds), microseconds(intervalNanoseconds)),
    (timer.notify & NO_NOTIFICATION) === 0 ? signalName(timer.signal) : 'no signal',
  ];
  if (notifyThread !== null) parts.push(`to thread ${notifyThread}`);
  if (overrun !== null && overrun > 0) parts.push(`${formatCount(overrun)} overruns`);
  return parts.join(', ');
}

function timesText(valueMicroseconds: number, intervalMicroseconds: number): string {
  const first = valueMicroseconds === 0 ? 'not armed' : `in ${formatDuration(valueMicroseconds)}`;
  return intervalMicroseconds === 0 ? first : `${first}, then every ${formatDuration(intervalMicroseconds)}`;
}

function formatFiles(state: LiveState, process: LiveProcessState): string[] {
  if (process.files.length === 0) return [];
  const sameAs = firstHolders(state);
  return [
    formatTable(
      [
        { heading: 'fd', align: 'right' },
        { heading: 'kind' },
        { heading: 'opened for' },
        { heading: 'position', align: 'right' },
        { heading: 'same as' },
        { heading: 'path' },
      ],
      process.files.map((file) => [
        String(file.descriptor),
        file.kind,
        openFlagsText(file.flags, state.machine) + (file.closeOnExec ? ' close-on-exec' : ''),
        file.position,
        sameAs.get(file) ?? '',
        file.path + pipeText(file) + socketText(file),
      ]),
    ),
  ];
}

function pipeText({ pipe }: OpenFile): string {
  const bytes = pipe === null ? 0 : Buffer.from(pipe.unread, 'base64').length;
  return bytes === 0 ? '' : ` (${formatCount(bytes)} B unread)`;
}

/** What a socket is connected to: CRIU tells it in a line, the kernel has lines of a name and a value. */
function socketText({ kind, details }: OpenFile): string {
  const told = details.filter((line) => !/^\w+:\s/.test(line));
  return kind === 'socket' && told.length > 0 ? ` (${told.join(', ')})` : '';
}

/** For a descriptor that shares an open file with an earlier one: that one, with its process where it is another. */
function firstHolders({ processes }: LiveState): ReadonlyMap<OpenFile, string> {
  const firsts = new Map<number, { readonly pid: number; readonly descriptor: number }>();
  const texts = new Map<OpenFile, string>();
  for (const { pid, files } of processes) {
    for (const file of files) {
      if (file.description === null) continue;
      const first = firsts.get(file.description);
      if (first === undefined) firsts.set(file.description, { pid, descriptor: file.descriptor });
      else texts.set(file, first.pid === pid ? `${first.descriptor}` : `${first.descriptor} of ${first.pid}`);
    }
  }
  return texts;
}

function formatEnvironment(process: LiveProcessState): string[] {
  const variables = environmentOf(process).map((variable) => `${printable(variable)}\n`);
  return [formatAuxiliaryVector(process), variables.join('')].filter((text) => text !== '');
}

/** Pairs of words, the last of which is zero. */
function formatAuxiliaryVector({ auxiliaryVector }: LiveProcessState): string {
  const bytes = Buffer.from(auxiliaryVector ?? '', 'base64');
  const fields: (readonly [string, string])[] = [];
  for (let at = 0; at + 16 <= bytes.length && bytes.readBigUInt64LE(at) !== 0n; at += 16) {
    const value = bytes.readBigUInt64LE(at + 8);
    fields.push([auxiliaryName(Number(bytes.readBigUInt64LE(at))), `0x${value.toString(16)}`]);
  }
  return fields.length === 0 ? '' : formatFields(fields);
}

function environmentOf({ environment }: LiveProcessState): string[] {
  return Buffer.from(environment ?? '', 'base64')
    .toString('utf8')
    .split('\0')
    .filter(Boolean);
}

/** As a shell would take it. A program that has written a title over its arguments leaves a row of empty ones. */
function commandText(commandLine: readonly string[]): string {
  const text = commandLine.map(quoted).join(' ');
  return text.replace(/(?: ''){2,}$/, '');
}

function quoted(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", `'\\''`)}'`;
}
