import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Reads pagemaps and pages as CRIU does (criu/pagemap.c), by the published layout alone: nothing of ckpt is used.
 */

const PAGE = 4096;
const PARENT = 1;
const PRESENT = 4;

/** Fields of one message of variable-length integers, by number. */
function readFields(message: Buffer): Map<number, bigint> {
  const fields = new Map<number, bigint>();
  let at = 0;
  const integer = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = message.readUInt8(at++);
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = Number(integer());
    if ((tag & 7) !== 0) throw new Error(`field ${tag >> 3} is no integer`);
    fields.set(tag >> 3, integer());
  }
  return fields;
}

function readMessages(path: string): Map<number, bigint>[] {
  const bytes = readFileSync(path);
  if (bytes.readUInt32LE(0) !== 0x54564319 || bytes.readUInt32LE(4) !== 0x56084025) {
    throw new Error(`${path} is no pagemap`);
  }
  const messages: Map<number, bigint>[] = [];
  for (let at = 8; at < bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    if (at + 4 + length > bytes.length) throw new Error(`${path} is cut off`);
    messages.push(readFields(bytes.subarray(at + 4, at + 4 + length)));
    at += 4 + length;
  }
  return messages;
}

/** An entry of a pagemap. */
export interface ReadEntry {
  readonly startPage: number;
  readonly pageCount: number;
  readonly flags: number;
  /** Of its content in the pages file; only if it is present. */
  readonly dataOffset: number;
}

/** Reads one memory of an image directory, as CRIU of the given generation understands it. */
export function readMemory(
  directory: string,
  name: string,
  generation: 'old' | 'new',
): { pagesId: number; entries: ReadEntry[]; pages: Buffer } {
  const [head, ...messages] = readMessages(join(directory, name));
  const pagesId = Number(head?.get(1));
  const entries: ReadEntry[] = [];
  let dataOffset = 0;
  let endPage = 0;
  for (const fields of messages) {
    const startPage = Number(fields.get(1)! / BigInt(PAGE));
    const compatible = fields.get(2);
    if (compatible === undefined) throw new Error('the required field 2 is missing');
    const pageCount = Number(generation === 'new' ? (fields.get(5) ?? compatible) : compatible);
    const flags = Number(fields.get(4)!);
    if (fields.get(1)! % BigInt(PAGE) !== 0n || startPage < endPage)
      throw new Error('entries are out of order');
    entries.push({ startPage, pageCount, flags, dataOffset });
    endPage = startPage + pageCount;
    if ((flags & PRESENT) !== 0) dataOffset += pageCount * PAGE;
  }
  const path = join(directory, `pages-${pagesId}.img`);
  const pages = existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
  if (pages.length !== dataOffset)
    throw new Error(`${path} has ${pages.length} bytes instead of ${dataOffset}`);
  return { pagesId, entries, pages };
}

/** A page of a memory, and its flags in the newest directory. */
export interface ReadPage {
  readonly flags: number;
  readonly content: Buffer;
}

/** All pages of a memory, those of parents found behind the links `parent`. */
export function readPages(directory: string, name: string, generation: 'old' | 'new'): Map<number, ReadPage> {
  const { entries, pages } = readMemory(directory, name, generation);
  let below: Map<number, ReadPage> | undefined;
  const all = new Map<number, ReadPage>();
  for (const { startPage, pageCount, flags, dataOffset } of entries) {
    for (let index = 0; index < pageCount; index++) {
      const page = startPage + index;
      if ((flags & PARENT) !== 0) {
        below ??= readPages(join(directory, 'parent'), name, generation);
        const inherited = below.get(page);
        if (inherited === undefined) throw new Error(`missing page ${page} in the parent's ${name}`);
        all.set(page, { flags, content: inherited.content });
      } else {
        const at = dataOffset + index * PAGE;
        const content = (flags & PRESENT) === 0 ? Buffer.alloc(0) : pages.subarray(at, at + PAGE);
        all.set(page, { flags, content });
      }
    }
  }
  return all;
}
