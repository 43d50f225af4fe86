import { type FileHandle, open } from 'node:fs/promises';
import { FILE_HEADER_BYTES, PROGRAM_HEADER_BYTES } from './elf.ts';

const ELF_CLASS_64_LITTLE = Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 2, 1);
const SEGMENT_NOTE = 4;
/** NT_GNU_BUILD_ID of owner GNU (include/elf/common.h of binutils). */
const BUILD_ID_TYPE = 3;
const NOTE_HEADER_BYTES = 12;
/** No program has more of them, and no linker writes longer notes. */
const MAX_HEADERS = 256;
const MAX_NOTES_BYTES = 64 * 1024;

/**
 * The build ID of a 64-bit program or library, which the linker made of its contents, in hexadecimal digits.
 * @returns undefined if the file is none, has none, or cannot be read
 */
export async function readBuildId(path: string): Promise<string | undefined> {
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return undefined;
  try {
    for (const { offsetBytes, bytes } of await noteSegments(file)) {
      const found = buildIdIn(await readAt(file, offsetBytes, Math.min(bytes, MAX_NOTES_BYTES)));
      if (found !== undefined) return found;
    }
  } catch {
    // A directory, or a file that cannot be read: nothing is known of it.
  } finally {
    await file.close();
  }
  return undefined;
}

async function noteSegments(file: FileHandle): Promise<{ offsetBytes: number; bytes: number }[]> {
  const header = await readAt(file, 0, FILE_HEADER_BYTES);
  if (header.length < FILE_HEADER_BYTES || !ELF_CLASS_64_LITTLE.every((byte, at) => header[at] === byte))
    return [];
  const count = Math.min(header.readUInt16LE(56), MAX_HEADERS);
  const table = await readAt(file, Number(header.readBigUInt64LE(32)), count * PROGRAM_HEADER_BYTES);
  const segments = [];
  for (let at = 0; at + PROGRAM_HEADER_BYTES <= table.length; at += PROGRAM_HEADER_BYTES) {
    if (table.readUInt32LE(at) !== SEGMENT_NOTE) continue;
    segments.push({
      offsetBytes: Number(table.readBigUInt64LE(at + 8)),
      bytes: Number(table.readBigUInt64LE(at + 32)),
    });
  }
  return segments;
}

/** Notes of programs are padded to multiples of four bytes, but for one that has no build ID beside it. */
function buildIdIn(notes: Buffer): string | undefined {
  for (let at = 0; at + NOTE_HEADER_BYTES <= notes.length; ) {
    const [nameBytes, contentBytes] = [notes.readUInt32LE(at), notes.readUInt32LE(at + 4)];
    const name = at + NOTE_HEADER_BYTES;
    const content = name + Math.ceil(nameBytes / 4) * 4;
    const isBuildId = notes.readUInt32LE(at + 8) === BUILD_ID_TYPE;
    if (isBuildId && notes.toString('latin1', name, name + nameBytes) === 'GNU\0') {
      return notes.subarray(content, content + contentBytes).toString('hex');
    }
    at = content + Math.ceil(contentBytes / 4) * 4;
  }
  return undefined;
}

async function readAt(file: FileHandle, offsetBytes: number, bytes: number): Promise<Buffer> {
  const buffer = Buffer.alloc(bytes);
  const { bytesRead } = await file.read(buffer, 0, bytes, offsetBytes);
  return buffer.subarray(0, bytesRead);
}
