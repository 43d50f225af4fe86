import { PAGE_SIZE } from '../core/index.ts';
import type { LiveProcessState, LiveState, LiveThreadState } from '../target/index.ts';
import {
  fileNote,
  type MappedFile,
  NOTE_TYPE,
  type Note,
  prpsinfoNote,
  prstatusNote,
  SIGINFO_BYTES,
} from './notes.ts';
import { xstateForDebuggers } from './xsave.ts';

/** A thread that was stopped by ptrace, so that its registers are known. */
export type ThreadWithRegisters = LiveThreadState & {
  readonly registers: NonNullable<LiveThreadState['registers']>;
};

/** The threads of which there are registers. A leader that has ended while its threads go on has none. */
export function threadsWithRegisters(process: LiveProcessState): ThreadWithRegisters[] {
  return process.threads.filter((thread): thread is ThreadWithRegisters => thread.registers !== null);
}

/** No signal has ended a thread: an empty siginfo, as of one that a debugger has merely stopped. */
const NO_SIGNAL: Note = { owner: 'CORE', type: NOTE_TYPE.siginfo, content: new Uint8Array(SIGINFO_BYTES) };

/**
 * The notes of a process in the order of the kernel (fs/binfmt_elf.c, write_note_info): what concerns the whole process
 * stands between the status of the first thread and its other registers. Like gcore, and unlike the kernel, every thread
 * has a siginfo.
 */
export function processNotes(
  machine: LiveState['machine'],
  process: LiveProcessState,
  files: readonly MappedFile[],
): Note[] {
  const notes: Note[] = [];
  for (const [index, thread] of threadsWithRegisters(process).entries()) {
    notes.push(statusOf(process, thread));
    if (index === 0) notes.push(informationOf(process));
    notes.push(NO_SIGNAL);
    if (index === 0) notes.push(...tablesOf(process, files));
    notes.push(...otherRegisters(machine, thread));
  }
  return notes;
}

function statusOf(process: LiveProcessState, thread: ThreadWithRegisters): Note {
  return prstatusNote({
    threadId: thread.id,
    parentPid: process.parentPid,
    processGroup: process.processGroup,
    session: process.session,
    pendingSignals: signalsOf(thread.pending),
    blockedSignals: BigInt(thread.signalMask),
    generalRegisters: decode(thread.registers.general),
    hasFloatingPoint: true,
  });
}

function informationOf(process: LiveProcessState): Note {
  const leader = process.threads[0];
  return prpsinfoNote({
    pid: process.pid,
    parentPid: process.parentPid,
    processGroup: process.processGroup,
    session: process.session,
    userId: process.credentials.userIds[0] ?? 0,
    groupId: process.credentials.groupIds[0] ?? 0,
    nice: leader?.schedule.nice ?? 0,
    state: leader?.systemCall === null ? 'R' : 'S',
    name: process.name,
    commandLine: process.commandLine,
  });
}

function tablesOf(process: LiveProcessState, files: readonly MappedFile[]): Note[] {
  const notes: Note[] = [];
  if (process.auxiliaryVector !== null) {
    notes.push({ owner: 'CORE', type: NOTE_TYPE.auxv, content: decode(process.auxiliaryVector) });
  }
  notes.push(fileNote(files, PAGE_SIZE));
  return notes;
}

function otherRegisters(machine: LiveState['machine'], { registers }: ThreadWithRegisters): Note[] {
  const notes: Note[] = [
    { owner: 'CORE', type: NOTE_TYPE.floatingPoint, content: decode(registers.floatingPoint) },
  ];
  if (registers.extended !== null) {
    const extended = decode(registers.extended);
    notes.push(
      machine === 'x86_64'
        ? { owner: 'LINUX', type: NOTE_TYPE.x86Xstate, content: xstateForDebuggers(extended) }
        : { owner: 'LINUX', type: NOTE_TYPE.armSve, content: extended },
    );
  }
  for (const { type, content } of registers.further) {
    notes.push({ owner: 'LINUX', type, content: decode(content) });
  }
  return notes;
}

/** The set of the signals of siginfo records: each begins with its signal number. */
function signalsOf(records: readonly string[]): bigint {
  let set = 0n;
  for (const record of records) set |= 1n << BigInt(decode(record).readInt32LE(0) - 1);
  return set;
}

function decode(base64: string): Buffer {
  return Buffer.from(base64, 'base64');
}
