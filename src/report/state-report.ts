import { formatCount, formatDuration, formatPageAddress, PAGE_SIZE } from '../core/index.ts';
import type { StoredVma } from '../image/index.ts';
import {
  instructionAddress,
  type LiveProcessState,
  type LiveState,
  type LiveThreadState,
  namedRegisters,
  type OpenFile,
  type PosixTimer,
  type SignalDisposition,
} from '../target/index.ts';
import {
  actionFlagsText,
  capabilitiesText,
  clockName,
  openFlagsText,
  policyName,
  signalName,
  signalSetText,
  unusualLimits,
} from './linux-names.ts';
import { systemCallName } from './system-calls.ts';
import { formatFields, formatTable, printable } from './table.ts';

/** How much of a state is printed. */
export interface StateDetail {
  /** The variables themselves: they often hold secrets, so by default they are only counted. */
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

/** `x86_64, Linux 6.18.44, boot 7a9c...`: where a state was taken. */
export function machineText({ machine, kernelRelease, bootId }: LiveState): string {
  return `${machine}, Linux ${kernelRelease}, boot ${bootId}`;
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
    ['command', process.commandLine.map(quoted).join(' ')],
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
    ['heap', heapText(process)],
    ['environment', `${formatCount(environmentOf(process).length)} variables`],
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

function heapText({ layout }: LiveProcessState): string | undefined {
  if (layout.brk === null || layout.startBrk === DEFAULT) return undefined;
  return `${layout.startBrk} to ${layout.brk}`;
}

function formatThreads(
  machine: LiveState['machine'],
  { threads }: LiveProcessState,
  vmas: readonly StoredVma[],
): string {
  const isPlain = ({ schedule }: LiveThreadState) => schedule.policy === 0 && schedule.nice === 0;
  const showSchedule = !threads.every(isPlain);
  return formatTable(
    [
      { heading: 'thread', align: 'right' },
      { heading: 'name' },
      { heading: 'doing' },
      ...(showSchedule ? [{ heading: 'schedule' }] : []),
      { heading: 'signal stack' },
      { heading: 'blocked' },
      { heading: 'pending' },
    ],
    threads.map((thread) => [
      String(thread.id),
      thread.name,
      doingText(machine, thread, vmas),
      ...(showSchedule ? [scheduleText(thread)] : []),
      signalStackText(thread),
      signalSetText(BigInt(thread.signalMask)),
      pendingText(thread.pending) ?? 'none',
    ]),
  );
}

function doingText(
  machine: LiveState['machine'],
  { systemCall, registers }: LiveThreadState,
  vmas: readonly StoredVma[],
): string {
  if (systemCall !== null) return systemCallName(machine, systemCall);
  if (registers === null) return '?';
  return `at ${placeText(instructionAddress(machine, registers.general), vmas)}`;
}

/** SS_DISABLE */
const STACK_DISABLED = 2;

function signalStackText({ alternateStack }: LiveThreadState): string {
  if (alternateStack === null) return '?';
  if ((alternateStack.flags & STACK_DISABLED) !== 0) return 'none';
  return `${alternateStack.start}, ${formatCount(alternateStack.sizeBytes)} B`;
}

function scheduleText({ schedule }: LiveThreadState): string {
  const { policy, priority, nice } = schedule;
  return priority > 0 ? `${policyName(policy)} ${priority}` : `${policyName(policy)}, nice ${nice}`;
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
        file.path + pipeText(file),
      ]),
    ),
  ];
}

function pipeText({ pipe }: OpenFile): string {
  const bytes = pipe === null ? 0 : Buffer.from(pipe.unread, 'base64').length;
  return bytes === 0 ? '' : ` (${formatCount(bytes)} B unread)`;
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

const REGISTERS_A_LINE = 4;

function formatRegisters(machine: LiveState['machine'], thread: LiveThreadState): string {
  const { robustList, rseq, clearChildTid, registers } = thread;
  const fields = [
    ['robust list', robustList === null ? 'none' : robustList.head],
    ['rseq', rseq === null ? 'none' : `${rseq.pointer}, ${rseq.sizeBytes} B`],
    ['cleared at its end', clearChildTid ?? '?'],
  ] as const;
  const cells = registers === null ? [] : namedRegisters(machine, registers.general);
  const width = Math.max(0, ...cells.map(([name]) => name.length));
  const texts = cells.map(([name, value]) => `${name.padEnd(width)} ${hex64(value)}`);
  const lines = Array.from({ length: Math.ceil(texts.length / REGISTERS_A_LINE) }, (_, line) =>
    texts.slice(line * REGISTERS_A_LINE, (line + 1) * REGISTERS_A_LINE).join('  '),
  );
  return `thread ${thread.id}\n${formatFields(fields)}${lines.map((line) => `${line}\n`).join('')}`;
}

function hex64(value: bigint): string {
  return `0x${value.toString(16).padStart(16, '0')}`;
}

function formatEnvironment(process: LiveProcessState): string[] {
  const variables = environmentOf(process);
  return variables.length === 0 ? [] : [variables.map((variable) => `${printable(variable)}\n`).join('')];
}

function environmentOf({ environment }: LiveProcessState): string[] {
  return Buffer.from(environment ?? '', 'base64')
    .toString('utf8')
    .split('\0')
    .filter(Boolean);
}

/** The signals whose siginfo is given, in order; undefined for none. */
function pendingText(pending: readonly string[]): string | undefined {
  if (pending.length === 0) return undefined;
  return pending.map((siginfo) => signalName(Buffer.from(siginfo, 'base64').readInt32LE(0))).join(', ');
}

/** `libc.so.6+0x91234` by the offset in the file, `[heap]+0x10`, or the bare address where nothing is mapped. */
function placeText(address: bigint, vmas: readonly StoredVma[]): string {
  const page = Number(address / BigInt(PAGE_SIZE));
  const vma = vmas.find(({ startPage, endPage }) => startPage <= page && page < endPage);
  if (vma === undefined) return `0x${address.toString(16)}`;
  const offset = address - BigInt((vma.startPage - vma.offsetPages) * PAGE_SIZE);
  const name = vma.pathname.split('/').at(-1) || `${formatPageAddress(vma.startPage)} (anonymous)`;
  return `${name}+0x${offset.toString(16)}`;
}

function quoted(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", `'\\''`)}'`;
}
