/**
 * A reader of stores written from src/image/FORMAT.md alone. It shares no code with ckpt: where both agree, the
 * specification says what ckpt does.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const PAGE = 4096;
const WINDOW_PAGES = 8192;

type Decompress = (frame: Uint8Array) => Uint8Array | null;
type Json = Readonly<Record<string, unknown>>;

/** `pid:page` to the digest of its content, or `zero`. */
export interface CheckpointContent {
  readonly pages: Record<string, string>;
  readonly state: string | null;
  /** Kept files: the listing, and the digest of the content. */
  readonly files: { readonly listing: string; readonly content: string } | null;
  readonly memoryDigest: string;
}

interface ZstdModule {
  readonly ZstdCodec: {
    run(ready: (binding: { readonly Simple: new () => { decompress: Decompress } }) => void): void;
  };
}

export function openZstd(): Promise<Decompress> {
  const { ZstdCodec }: ZstdModule = createRequire(import.meta.url)('zstd-codec');
  return new Promise((resolve) => {
    ZstdCodec.run((binding) => {
      const simple = new binding.Simple();
      resolve((frame) => simple.decompress(frame));
    });
  });
}

export class IndependentReader {
  readonly #directory: string;
  readonly #decompress: Decompress;
  readonly #packs = new Map<number, Pack>();

  constructor(directory: string, decompress: Decompress) {
    this.#directory = directory;
    this.#decompress = decompress;
    readSealed(join(directory, 'ckpt-store.json'), 'ckpt-store');
  }

  numbers(): number[] {
    return readdirSync(join(this.#directory, 'checkpoints')).map((name) =>
      Number(name.slice(0, -'.json'.length)),
    );
  }

  read(number: number): CheckpointContent {
    const name = `${String(number).padStart(6, '0')}.json`;
    const manifest = readSealed(join(this.#directory, 'checkpoints', name), 'ckpt-checkpoint', 2);
    const pages: Record<string, string> = {};
    const hash = createHash('sha256').update('ckpt-memory-1\n');
    for (const process of list(manifest['processes'])) {
      hash.update(hashedVmas(process));
      const segments = this.#segments(object(process, 'index'), process, pages);
      hash.update(u32(segments.length));
      for (const { startPage, digest } of segments) hash.update(u64(startPage)).update(digest);
    }
    const memoryDigest = hash.digest('hex');
    if (memoryDigest !== manifest['memoryDigest']) throw new Error('memory digest differs');
    const { state } = manifest;
    const content =
      state === null ? null : this.#blob(object(manifest['state'], 'content'), 5).toString('hex');
    return { pages, state: content, files: this.#files(manifest), memoryDigest };
  }

  #files(manifest: Json): CheckpointContent['files'] {
    if (manifest['files'] === undefined) return null;
    const [listing, content] = ['listing', 'content'].map((name) =>
      this.#blob(object(manifest['files'], name), 5),
    );
    return { listing: listing!.toString('hex'), content: digestOf(content!).toString('hex') };
  }

  #segments(index: Json, process: Json, pages: Record<string, string>) {
    const cursor = new Cursor(this.#blob(object(index, 'root'), 4));
    const segments: { startPage: number; digest: Buffer }[] = [];
    let next = 0;
    for (let count = cursor.varint(); count > 0; count--) {
      const window = next + cursor.varint();
      next = window + 1;
      const pack = cursor.varint();
      const block = cursor.varint();
      const zeroPages = cursor.varint();
      const dataPages = cursor.varint();
      const digest = cursor.bytes(16);
      const entries = this.#segment(this.#pack(pack).content(block, 3), window);
      if (entries.filter(({ zero }) => zero).length !== zeroPages) throw new Error('zero pages differ');
      if (entries.length !== zeroPages + dataPages) throw new Error('data pages differ');
      if (!digestOfSegment(entries).equals(digest)) throw new Error('segment digest differs');
      for (const { page, zero, digest: ofPage } of entries) {
        pages[`${process['pid']}:${page}`] = zero ? 'zero' : ofPage.toString('hex');
      }
      segments.push({ startPage: window * WINDOW_PAGES, digest });
    }
    return segments;
  }

  #segment(content: Buffer, window: number): Entry[] {
    const cursor = new Cursor(content);
    if (cursor.varint() !== window) throw new Error('another window');
    const entries: Entry[] = [];
    let page = window * WINDOW_PAGES;
    for (let runs = cursor.varint(); runs > 0; runs--) {
      page += cursor.varint();
      const lengthAndClass = cursor.varint();
      for (let length = lengthAndClass >> 1; length > 0; length--) {
        entries.push({
          page: page++,
          zero: (lengthAndClass & 1) === 0,
          digest: digestOf(Buffer.alloc(PAGE)),
        });
      }
    }
    const stored = entries.filter(({ zero }) => !zero);
    const whole = readLocations(cursor, stored.length);
    const differs: number[] = [];
    let ordinal = -1;
    for (let count = cursor.varint(); count > 0; count--) {
      ordinal += cursor.varint() + 1;
      differs.push(ordinal);
    }
    const differences = readLocations(cursor, differs.length);
    for (const [at, entry] of stored.entries()) {
      const difference = differences[differs.indexOf(at)];
      entry.digest = this.#provenPage(whole[at]!, difference);
    }
    return entries;
  }

  /** Puts a page together and returns its digest, which must be the one that lies beside it. */
  #provenPage(whole: Location, difference: Location | undefined): Buffer {
    const pages = this.#pack(whole.pack).content(whole.block, 0);
    const page = Buffer.from(pages.subarray(whole.slot * PAGE, (whole.slot + 1) * PAGE));
    if (difference !== undefined) {
      const records = splitDifferences(this.#pack(difference.pack).content(difference.block, 1));
      applyDifference(page, records[difference.slot]!);
    }
    const at = difference ?? whole;
    const digest = digestOf(page);
    if (!this.#pack(at.pack).digest(at.block, at.slot).equals(digest)) throw new Error('page digest differs');
    return digest;
  }

  #blob(blob: Json, kind: number): Buffer {
    const blocks: Buffer[] = [];
    for (let index = 0; index < Number(blob['blockCount']); index++) {
      blocks.push(this.#pack(Number(blob['pack'])).content(Number(blob['firstBlock']) + index, kind));
    }
    const bytes = Buffer.concat(blocks);
    if (bytes.length !== Number(blob['bytes'])) throw new Error('blob length differs');
    if (createHash('sha256').update(bytes).digest('hex') !== blob['sha256']) throw new Error('blob differs');
    return bytes;
  }

  #pack(number: number): Pack {
    const known = this.#packs.get(number);
    if (known !== undefined) return known;
    const path = join(this.#directory, 'packs', `${String(number).padStart(6, '0')}.pack`);
    const pack = new Pack(readFileSync(path), number, this.#decompress);
    this.#packs.set(number, pack);
    return pack;
  }
}

interface Entry {
  readonly page: number;
  readonly zero: boolean;
  digest: Buffer;
}

interface Location {
  readonly pack: number;
  readonly block: number;
  readonly slot: number;
}

interface TableEntry {
  readonly offset: number;
  readonly length: number;
  readonly digestBlock: number;
  readonly firstDigest: number;
}

class Pack {
  readonly #bytes: Buffer;
  readonly #decompress: Decompress;
  readonly #table = new Map<number, TableEntry>();

  constructor(bytes: Buffer, number: number, decompress: Decompress) {
    this.#bytes = bytes;
    this.#decompress = decompress;
    if (bytes.toString('latin1', 0, 8) !== 'CKPTPACK' || bytes.readUInt16LE(8) !== 1)
      throw new Error('no pack');
    if (bytes.readUInt32LE(12) !== number) throw new Error('another pack');
    expectCrc(bytes.subarray(0, 20), bytes.readUInt32LE(20));
    const trailer = bytes.subarray(-32);
    if (trailer.toString('latin1', 0, 8) !== 'CKPTPEND') throw new Error('no trailer');
    expectCrc(trailer.subarray(0, 28), trailer.readUInt32LE(28));
    const tableAt = Number(trailer.readBigUInt64LE(8));
    const table = bytes.subarray(tableAt, -32);
    if (table.length !== trailer.readUInt32LE(16) * 24) throw new Error('table length differs');
    expectCrc(table, trailer.readUInt32LE(20));
    let blockBytes = 0;
    for (let at = 0; at < table.length; at += 24) {
      const length = table.readUInt32LE(at + 12);
      this.#table.set(table.readUInt32LE(at), {
        offset: Number(table.readBigUInt64LE(at + 4)),
        length,
        digestBlock: table.readUInt32LE(at + 16),
        firstDigest: table.readUInt32LE(at + 20),
      });
      blockBytes += 28 + length;
    }
    if (24 + blockBytes !== tableAt) throw new Error('bytes that belong to no block');
  }

  content(block: number, kind: number): Buffer {
    const entry = this.#table.get(block);
    if (entry === undefined) throw new Error(`no block ${block}`);
    const header = this.#bytes.subarray(entry.offset, entry.offset + 28);
    expectCrc(header.subarray(0, 24), header.readUInt32LE(24));
    if (header.toString('latin1', 0, 4) !== 'CBLK' || header.readUInt32LE(4) !== block)
      throw new Error('no block');
    if (header.readUInt8(8) !== kind) throw new Error(`block ${block} is of kind ${header.readUInt8(8)}`);
    if (header.readUInt32LE(16) !== entry.length) throw new Error('stored length differs');
    const stored = this.#bytes.subarray(entry.offset + 28, entry.offset + 28 + entry.length);
    expectCrc(stored, header.readUInt32LE(20));
    const raw = header.readUInt8(9) === 0 ? stored : this.#decompress(new Uint8Array(stored));
    if (raw === null || raw.length !== header.readUInt32LE(12)) throw new Error('content length differs');
    return Buffer.from(raw);
  }

  digest(block: number, slot: number): Buffer {
    const entry = this.#table.get(block)!;
    const content = this.content(entry.digestBlock, 2);
    const at = 4 + 6 * content.readUInt32LE(0) + 16 * (entry.firstDigest + slot);
    return content.subarray(at, at + 16);
  }
}

class Cursor {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  varint(): number {
    for (let value = 0, scale = 1; ; scale *= 128) {
      const byte = this.#bytes.readUInt8(this.#at++);
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  }

  bytes(length: number): Buffer {
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }
}

function readLocations(cursor: Cursor, count: number): Location[] {
  const packs: number[] = [];
  while (packs.length < count) {
    const length = cursor.varint();
    const pack = cursor.varint();
    for (let run = 0; run < length; run++) packs.push(pack);
  }
  const expected = new Map<number, number>();
  return packs.map((pack) => {
    const zigzag = cursor.varint();
    const step = zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2;
    const position = step + (expected.get(pack) ?? 0);
    expected.set(pack, position + 1);
    return { pack, block: Math.floor(position / 256), slot: position % 256 };
  });
}

function splitDifferences(content: Buffer): Buffer[] {
  const count = content.readUInt16LE(0);
  let at = 2 + 2 * count;
  return Array.from({ length: count }, (_, index) => {
    const length = content.readUInt16LE(2 + 2 * index);
    at += length;
    return content.subarray(at - length, at);
  });
}

function applyDifference(page: Buffer, record: Buffer): void {
  const cursor = new Cursor(record);
  for (let at = 0; !cursor.isAtEnd; ) {
    at += cursor.varint();
    const length = cursor.varint();
    cursor.bytes(length).copy(page, at);
    at += length;
  }
}

function digestOf(page: Buffer): Buffer {
  return createHash('sha256').update(page).digest().subarray(0, 16);
}

function digestOfSegment(entries: readonly Entry[]): Buffer {
  const hash = createHash('sha256');
  for (let start = 0; start < entries.length; ) {
    let end = start + 1;
    while (end < entries.length && entries[end]!.page === entries[end - 1]!.page + 1) end++;
    hash.update(u64(entries[start]!.page)).update(u32(end - start));
    for (; start < end; start++) hash.update(entries[start]!.digest);
  }
  return hash.digest().subarray(0, 16);
}

function hashedVmas(process: Json): Buffer {
  const vmas = list(process['vmas']);
  const parts = [u32(Number(process['pid'])), u32(vmas.length)];
  for (const vma of vmas) {
    const [major, minor] = String(vma['device']).split(':');
    const bits = [...String(vma['protection'])].reduce(
      (sum, letter, index) => sum + ('rwxs'[index] === letter ? 1 << index : 0),
      0,
    );
    const path = Buffer.from(String(vma['path']));
    parts.push(
      u64(pageOf(vma['start'])),
      u64(pageOf(vma['end'])),
      Buffer.from([bits]),
      u64(pageOf(vma['offset'])),
    );
    parts.push(u32(Number.parseInt(major!, 16)), u32(Number.parseInt(minor!, 16)), u64(Number(vma['inode'])));
    parts.push(varint(path.length), path);
  }
  return Buffer.concat(parts);
}

function readSealed(path: string, format: string, newest = 1): Json {
  const bytes = readFileSync(path);
  const match = /,\n {2}"seal": "([0-9a-f]{64})"\n\}\n$/.exec(bytes.toString('utf8'));
  if (match === null) throw new Error(`${path} has no seal`);
  const body = bytes.subarray(0, bytes.length - match[0].length);
  if (createHash('sha256').update(body).digest('hex') !== match[1])
    throw new Error(`${path} has a wrong seal`);
  const json: Json = JSON.parse(bytes.toString('utf8'));
  const version = Number(json['version']);
  if (json['format'] !== format || version < 1 || version > newest)
    throw new Error(`${path} has another format`);
  return json;
}

const object = (value: unknown, name: string): Json => (value as Json)[name] as Json;
const list = (value: unknown): Json[] => value as Json[];
const pageOf = (address: unknown): number => Number(BigInt(String(address)) / 4096n);

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    bytes.push(rest < 128 ? rest : (rest % 128) + 128);
    if (rest < 128) return Buffer.from(bytes);
  }
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function expectCrc(bytes: Uint8Array, expected: number): void {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  if ((crc ^ 0xffffffff) >>> 0 !== expected) throw new Error('checksum differs');
}
