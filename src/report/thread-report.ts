import { formatCount, formatPageAddress, PAGE_SIZE } from '../core/index.ts';
import type { StoredVma } from '../image/index.ts';
import {
  instructionAddress,
  type LiveProcessState,
  type LiveState,
  type LiveThreadState,
  namedRegisters,
} from '../target/index.ts';
import { policyName, signalName, signalSetText } from './linux-names.ts';
import { systemCallName } from './system-calls.ts';
import { formatFields, formatTable } from './table.ts';

const REGISTERS_A_LINE = 4;

/** The threads of a process: what each does, blocks, and has pending. */
export function formatThreads(
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

/** What one thread has registered with the kernel, and its general registers. */
export function formatRegisters(machine: LiveState['machine'], thread: LiveThreadState): string {
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

/** The signals whose siginfo is given, in order; undefined for none. */
export function pendingText(pending: readonly string[]): string | undefined {
  if (pending.length === 0) return undefined;
  return pending.map((siginfo) => signalName(Buffer.from(siginfo, 'base64').readInt32LE(0))).join(', ');
}

/** `libc.so.6+0x91234` by the offset in the file, `[heap]+0x10`, or the bare address where nothing is mapped. */
export function placeText(address: bigint, vmas: readonly StoredVma[]): string {
  const page = Number(address / BigInt(PAGE_SIZE));
  const vma = vmas.find(({ startPage, endPage }) => startPage <= page && page < endPage);
  if (vma === undefined) return `0x${address.toString(16)}`;
  const offset = address - BigInt((vma.startPage - vma.offsetPages) * PAGE_SIZE);
  const name = vma.pathname.split('/').at(-1) || `${formatPageAddress(vma.startPage)} (anonymous)`;
  return `${name}+0x${offset.toString(16)}`;
}
