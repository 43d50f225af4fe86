import { type ByteWriter, PAGE_SIZE } from '../core/index.ts';

/** Processors that checkpoints come from, by their number in an ELF header (include/uapi/linux/elf-em.h). */
export const ELF_MACHINE = { x86_64: 62, aarch64: 183 } as const;

export type ElfMachine = keyof typeof ELF_MACHINE;

/** Sizes of the structures of a 64-bit ELF file, in bytes. */
export const FILE_HEADER_BYTES = 64;
export const PROGRAM_HEADER_BYTES = 56;
export const SECTION_HEADER_BYTES = 64;

/** `e_phnum` of a file whose number of program headers stands in section header 0 instead (elf(5), PN_XNUM). */
const EXTENDED_COUNT = 0xffff;

const TYPE_CORE = 4;
const SEGMENT_LOAD = 1;
const SEGMENT_NOTE = 4;
/** The kernel and gdb write notes at multiples of four also in 64-bit cores. */
const NOTE_ALIGNMENT = 4;

/** Permissions of a segment, as in `p_flags`. */
export const SEGMENT_FLAG = { execute: 1, write: 2, read: 4 } as const;

/** A part of memory and where its contents lie in the file. */
export interface LoadSegment {
  readonly startPage: number;
  /** Pages that it covers in memory; those behind the stored ones are not in the file. */
  readonly memoryPages: number;
  readonly storedPages: number;
  readonly offsetBytes: number;
  /** Bits of SEGMENT_FLAG. */
  readonly flags: number;
}

/** Whether so many program headers are too many for the ELF header to count. */
export function needsExtendedCount(programHeaders: number): boolean {
  return programHeaders >= EXTENDED_COUNT;
}

/** The header of a core file whose program headers follow it at once, and then the section header, if one is needed. */
export function writeFileHeader(writer: ByteWriter, machine: ElfMachine, programHeaders: number): void {
  const extended = needsExtendedCount(programHeaders);
  // 0x7f "ELF", 64-bit, little-endian, version 1, System V ABI; the rest of e_ident is zero.
  writer.raw(Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0));
  writer.u16(TYPE_CORE);
  writer.u16(ELF_MACHINE[machine]);
  writer.u32(1);
  writer.u64(0);
  writer.u64(FILE_HEADER_BYTES);
  writer.u64(extended ? FILE_HEADER_BYTES + programHeaders * PROGRAM_HEADER_BYTES : 0);
  writer.u32(0);
  writer.u16(FILE_HEADER_BYTES);
  writer.u16(PROGRAM_HEADER_BYTES);
  writer.u16(extended ? EXTENDED_COUNT : programHeaders);
  writer.u16(extended ? SECTION_HEADER_BYTES : 0);
  writer.u16(extended ? 1 : 0);
  writer.u16(0);
}

/** The program header of the notes. */
export function writeNoteHeader(writer: ByteWriter, offsetBytes: number, lengthBytes: number): void {
  writer.u32(SEGMENT_NOTE);
  writer.u32(0);
  writer.u64(offsetBytes);
  writer.u64(0);
  writer.u64(0);
  writer.u64(lengthBytes);
  writer.u64(0);
  writer.u64(NOTE_ALIGNMENT);
}

/** The program header of a part of memory. */
export function writeLoadHeader(writer: ByteWriter, segment: LoadSegment): void {
  writer.u32(SEGMENT_LOAD);
  writer.u32(segment.flags);
  writer.u64(segment.offsetBytes);
  // A page number times 4096 is exact at any address: the multiplication changes the exponent alone.
  writer.u64(segment.startPage * PAGE_SIZE);
  writer.u64(0);
  writer.u64(segment.storedPages * PAGE_SIZE);
  writer.u64(segment.memoryPages * PAGE_SIZE);
  writer.u64(PAGE_SIZE);
}

/** Section header 0, which holds the number of program headers where the file header cannot. */
export function writeExtendedCount(writer: ByteWriter, programHeaders: number): void {
  writer.u32(0);
  writer.u32(0);
  writer.u64(0);
  writer.u64(0);
  writer.u64(0);
  // The number of sections: this one.
  writer.u64(1);
  writer.u32(0);
  writer.u32(programHeaders);
  writer.u64(0);
  writer.u64(0);
}
