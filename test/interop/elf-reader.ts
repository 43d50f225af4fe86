/**
 * Reads 64-bit little-endian cores by the descriptions of elf(5) and core(5), without any code of ckpt.
 */

export interface ReadSegment {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly address: bigint;
  readonly fileSize: number;
  readonly memorySize: number;
  readonly alignment: number;
}

export interface ReadNote {
  readonly owner: string;
  readonly type: number;
  readonly content: Buffer;
}

export interface ReadCore {
  readonly type: number;
  readonly machine: number;
  readonly segments: readonly ReadSegment[];
  readonly notes: readonly ReadNote[];
  /** Bytes of memory at an address: from the file, zeros behind its part in the file, undefined outside. */
  memory(address: bigint, length: number): Buffer | undefined;
}

const LOAD = 1;
const NOTE = 4;

export function readCore(file: Buffer): ReadCore {
  if (file.toString('latin1', 0, 4) !== '\x7fELF') throw new Error('not an ELF file');
  if (file[4] !== 2 || file[5] !== 1) throw new Error('not 64-bit little-endian');
  const segments: ReadSegment[] = [];
  const start = Number(file.readBigUInt64LE(32));
  const size = file.readUInt16LE(54);
  for (let index = 0; index < programHeaderCount(file); index++) {
    const at = start + index * size;
    segments.push({
      type: file.readUInt32LE(at),
      flags: file.readUInt32LE(at + 4),
      offset: Number(file.readBigUInt64LE(at + 8)),
      address: file.readBigUInt64LE(at + 16),
      fileSize: Number(file.readBigUInt64LE(at + 32)),
      memorySize: Number(file.readBigUInt64LE(at + 40)),
      alignment: Number(file.readBigUInt64LE(at + 48)),
    });
  }
  const loads = segments.filter((segment) => segment.type === LOAD);
  return {
    type: file.readUInt16LE(16),
    machine: file.readUInt16LE(18),
    segments: loads,
    notes: segments
      .filter((segment) => segment.type === NOTE)
      .flatMap(({ offset, fileSize }) => readNotes(file.subarray(offset, offset + fileSize))),
    memory: (address, length) => readMemory(file, loads, address, length),
  };
}

function programHeaderCount(file: Buffer): number {
  const count = file.readUInt16LE(56);
  if (count !== 0xffff) return count;
  const sections = Number(file.readBigUInt64LE(40));
  return file.readUInt32LE(sections + 44);
}

function readMemory(
  file: Buffer,
  loads: readonly ReadSegment[],
  address: bigint,
  length: number,
): Buffer | undefined {
  const end = address + BigInt(length);
  const found = loads.find(
    (load) => load.address <= address && load.address + BigInt(load.memorySize) >= end,
  );
  if (found === undefined) return undefined;
  const inside = Number(address - found.address);
  const stored = Math.max(0, Math.min(length, found.fileSize - inside));
  const bytes = Buffer.alloc(length);
  if (stored > 0) file.copy(bytes, 0, found.offset + inside, found.offset + inside + stored);
  return bytes;
}

export function readNotes(bytes: Buffer): ReadNote[] {
  const notes: ReadNote[] = [];
  for (let at = 0; at < bytes.length; ) {
    const nameLength = bytes.readUInt32LE(at);
    const length = bytes.readUInt32LE(at + 4);
    const type = bytes.readUInt32LE(at + 8);
    const owner = bytes.toString('latin1', at + 12, at + 12 + nameLength - 1);
    const content = at + 12 + roundUp(nameLength);
    if (content + length > bytes.length) throw new Error(`note ${type} at ${at} goes beyond the end`);
    notes.push({ owner, type, content: bytes.subarray(content, content + length) });
    at = content + roundUp(length);
  }
  return notes;
}

const roundUp = (length: number) => Math.ceil(length / 4) * 4;

/** The fields of NT_PRSTATUS, with the registers of x86-64 or aarch64 by their length. */
export function readStatus(content: Buffer) {
  return {
    signal: content.readUInt32LE(0),
    currentSignal: content.readUInt16LE(12),
    pending: content.readBigUInt64LE(16),
    blocked: content.readBigUInt64LE(24),
    threadId: content.readUInt32LE(32),
    parentPid: content.readUInt32LE(36),
    processGroup: content.readUInt32LE(40),
    session: content.readUInt32LE(44),
    registers: content.subarray(112, content.length - 8),
    floatingPointValid: content.readUInt32LE(content.length - 8),
  };
}

/** The fields of NT_PRPSINFO. */
export function readInformation(content: Buffer) {
  return {
    state: content[0]!,
    letter: String.fromCharCode(content[1]!),
    nice: content.readInt8(3),
    userId: content.readUInt32LE(16),
    groupId: content.readUInt32LE(20),
    pid: content.readUInt32LE(24),
    parentPid: content.readUInt32LE(28),
    processGroup: content.readUInt32LE(32),
    session: content.readUInt32LE(36),
    name: cString(content, 40),
    commandLine: cString(content, 56),
  };
}

/** The lines of NT_FILE; offsets in bytes. */
export function readFiles(content: Buffer) {
  const count = Number(content.readBigUInt64LE(0));
  const unit = content.readBigUInt64LE(8);
  let nameAt = 16 + count * 24;
  const files: { start: bigint; end: bigint; offset: bigint; name: string }[] = [];
  for (let index = 0; index < count; index++) {
    const at = 16 + index * 24;
    const name = cString(content, nameAt);
    nameAt += Buffer.byteLength(name) + 1;
    files.push({
      start: content.readBigUInt64LE(at),
      end: content.readBigUInt64LE(at + 8),
      offset: content.readBigUInt64LE(at + 16) * unit,
      name,
    });
  }
  return files;
}

function cString(bytes: Buffer, at: number): string {
  return bytes.toString('utf8', at, bytes.indexOf(0, at));
}
