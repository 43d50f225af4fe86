import { ByteWriter } from '../core/index.ts';

/** A note of an ELF file: who defined it, what it is, and its content. */
export interface Note {
  readonly owner: 'CORE' | 'LINUX';
  readonly type: number;
  readonly content: Uint8Array;
}

/** Types of notes in cores of Linux (include/uapi/linux/elf.h). */
export const NOTE_TYPE = {
  prstatus: 1,
  floatingPoint: 2,
  prpsinfo: 3,
  auxv: 6,
  x86Xstate: 0x202,
  armSve: 0x405,
  file: 0x46494c45,
  siginfo: 0x53494749,
} as const;

/** Length of a siginfo, in bytes. */
export const SIGINFO_BYTES = 128;

/** Room for the name of a program, and for its arguments, in NT_PRPSINFO (include/linux/elfcore.h). */
const NAME_BYTES = 16;
const ARGUMENTS_BYTES = 80;

/** What NT_PRSTATUS tells of a thread: general registers, identity, signals. */
export interface ThreadStatus {
  readonly threadId: number;
  readonly parentPid: number;
  readonly processGroup: number;
  readonly session: number;
  /** Bit n - 1 for signal n. */
  readonly pendingSignals: bigint;
  readonly blockedSignals: bigint;
  /** As PTRACE_GETREGSET gives them. */
  readonly generalRegisters: Uint8Array;
  readonly hasFloatingPoint: boolean;
}

/** What NT_PRPSINFO tells of a process. */
export interface ProcessInformation {
  readonly pid: number;
  readonly parentPid: number;
  readonly processGroup: number;
  readonly session: number;
  readonly userId: number;
  readonly groupId: number;
  readonly nice: number;
  /** `R` running or `S` sleeping in a system call. */
  readonly state: 'R' | 'S';
  readonly name: string;
  readonly commandLine: readonly string[];
}

/** A part of a file in memory, for NT_FILE. */
export interface MappedFile {
  readonly startPage: number;
  /** Exclusive. */
  readonly endPage: number;
  readonly offsetPages: number;
  readonly pathname: string;
}

/** The notes one after the other, each padded to a multiple of four bytes. */
export function encodeNotes(notes: readonly Note[]): Uint8Array {
  const writer = new ByteWriter(4096);
  for (const { owner, type, content } of notes) {
    const name = new TextEncoder().encode(`${owner}\0`);
    writer.u32(name.length);
    writer.u32(content.length);
    writer.u32(type);
    writer.raw(name);
    pad(writer, 4);
    writer.raw(content);
    pad(writer, 4);
  }
  return writer.toBytes();
}

/**
 * struct elf_prstatus (include/linux/elfcore.h). Equal on x86-64 and aarch64 but for the registers. No signal has
 * ended the process, and its times are not in a checkpoint: these fields are zero.
 */
export function prstatusNote(thread: ThreadStatus): Note {
  const writer = new ByteWriter(512);
  // Signal number, code and error; then the current signal, padded.
  for (let field = 0; field < 4; field++) writer.u32(0);
  writeWord(writer, thread.pendingSignals);
  writeWord(writer, thread.blockedSignals);
  writer.u32(thread.threadId);
  writer.u32(thread.parentPid);
  writer.u32(thread.processGroup);
  writer.u32(thread.session);
  // User, system, and the same of children waited for: seconds and microseconds of each.
  for (let field = 0; field < 8; field++) writer.u64(0);
  writer.raw(thread.generalRegisters);
  writer.u32(thread.hasFloatingPoint ? 1 : 0);
  pad(writer, 8);
  return { owner: 'CORE', type: NOTE_TYPE.prstatus, content: writer.toBytes() };
}

/** struct elf_prpsinfo (include/linux/elfcore.h), filled as fill_psinfo does (fs/binfmt_elf.c). */
export function prpsinfoNote(process: ProcessInformation): Note {
  const writer = new ByteWriter(256);
  writer.u8(process.state === 'R' ? 0 : 1);
  writer.u8(process.state.charCodeAt(0));
  writer.u8(0);
  writer.u8(process.nice & 0xff);
  writer.u32(0);
  // Flags of the task, which nothing tells.
  writer.u64(0);
  writer.u32(process.userId);
  writer.u32(process.groupId);
  writer.u32(process.pid);
  writer.u32(process.parentPid);
  writer.u32(process.processGroup);
  writer.u32(process.session);
  writeCut(writer, process.name, NAME_BYTES);
  // The kernel turns the zero behind every argument into a space, the last one included.
  const argumentText = process.commandLine.map((argument) => `${argument} `).join('');
  writeCut(writer, argumentText, ARGUMENTS_BYTES);
  return { owner: 'CORE', type: NOTE_TYPE.prpsinfo, content: writer.toBytes() };
}

/** NT_FILE: a table of addresses and offsets, and then the names (fs/binfmt_elf.c, fill_files_note). */
export function fileNote(files: readonly MappedFile[], pageSize: number): Note {
  const writer = new ByteWriter(4096);
  writer.u64(files.length);
  writer.u64(pageSize);
  for (const { startPage, endPage, offsetPages } of files) {
    writer.u64(startPage * pageSize);
    writer.u64(endPage * pageSize);
    writer.u64(offsetPages);
  }
  for (const { pathname } of files) writer.raw(new TextEncoder().encode(`${pathname}\0`));
  return { owner: 'CORE', type: NOTE_TYPE.file, content: writer.toBytes() };
}

function pad(writer: ByteWriter, alignment: number): void {
  while (writer.lengthBytes % alignment !== 0) writer.u8(0);
}

function writeWord(writer: ByteWriter, value: bigint): void {
  writer.u32(Number(value & 0xffffffffn));
  writer.u32(Number((value >> 32n) & 0xffffffffn));
}

/** Text in a field of fixed length, of which the last byte stays zero. */
function writeCut(writer: ByteWriter, text: string, lengthBytes: number): void {
  const field = new Uint8Array(lengthBytes);
  field.set(new TextEncoder().encode(text).subarray(0, lengthBytes - 1));
  writer.raw(field);
}
