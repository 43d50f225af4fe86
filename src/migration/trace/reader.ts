import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { type BlockCodec, crc32, MAX_BLOCK_BYTES, openBlockCodec } from '../../codec/index.ts';
import { ByteReader, ByteWriter, IntegrityError, StoreVersionError, UsageError } from '../../core/index.ts';
import type { MapsEntry } from '../../procfs/index.ts';
import {
  BLOCK_HEADER_BYTES,
  BLOCK_KIND,
  emptyStep,
  type PageSample,
  RECORD_KIND,
  readRanges,
  TRACE_ENDS,
  TRACE_FORMAT_VERSION,
  TRACE_MAGIC,
  type TraceHeader,
  type TraceProcess,
  type TraceSeal,
  type TraceStep,
} from './format.ts';

const OPENING_BYTES = TRACE_MAGIC.length + 2;
const SEAL_DIGEST_BYTES = 32;
/** Records of one step may not be longer than this: a step is held in memory as a whole. */
const MAX_STEP_BYTES = 512 * 1024 * 1024;

const PAGE_LIST_OF_KIND: ReadonlyMap<number, 'resident' | 'zero' | 'written' | 'gone'> = new Map([
  [RECORD_KIND.resident, 'resident'],
  [RECORD_KIND.zero, 'zero'],
  [RECORD_KIND.written, 'written'],
  [RECORD_KIND.gone, 'gone'],
]);

interface Block {
  readonly kind: number;
  readonly content: Uint8Array;
}

/**
 * Reads a trace from its beginning to its end, one block in memory at a time. Every block is proved before it is used;
 * that the trace is whole is known when `steps` has ended.
 */
export class TraceReader {
  readonly header: TraceHeader;
  readonly #blocks: BlockReader;
  #seal: TraceSeal | undefined;

  private constructor(header: TraceHeader, blocks: BlockReader) {
    this.header = header;
    this.#blocks = blocks;
  }

  /**
   * Opens a trace file.
   * @throws UsageError if it cannot be read, StoreVersionError for another version, IntegrityError if it is no trace or
   *   damaged.
   */
  static async open(path: string): Promise<TraceReader> {
    let file: FileHandle;
    try {
      file = await open(path, 'r');
    } catch (error) {
      throw new UsageError(`cannot read the trace ${path}: ${(error as Error).message}`, {
        hint: "name a file that 'ckpt record' wrote",
        data: { path },
        cause: error,
      });
    }
    const blocks = new BlockReader(file, path, await openBlockCodec());
    try {
      await blocks.begin();
      const { kind, content } = await blocks.next();
      if (kind !== BLOCK_KIND.header) throw damaged(path, 'it does not begin with its header');
      return new TraceReader(parseHeader(content, `header of the trace ${path}`), blocks);
    } catch (error) {
      await blocks.close();
      throw error;
    }
  }

  /** What the seal says; undefined until `steps` has ended. */
  get seal(): TraceSeal | undefined {
    return this.#seal;
  }

  /** The steps in their order, once. @throws IntegrityError */
  async *steps(): AsyncGenerator<TraceStep> {
    const path = this.#blocks.path;
    let steps = 0;
    const builder = new StepBuilder();
    try {
      for (;;) {
        const { kind, content } = await this.#blocks.next();
        if (kind === BLOCK_KIND.seal) {
          if (!builder.isEmpty) throw damaged(path, 'its last step has no end');
          this.#seal = await this.#blocks.finish(content, steps);
          return;
        }
        if (kind !== BLOCK_KIND.records) throw damaged(path, `it has a block of unknown kind ${kind}`);
        const reader = new ByteReader(content, `${this.#blocks.record}`);
        while (reader.remainingBytes > 0) {
          const step = builder.take(reader);
          if (step === undefined) continue;
          steps++;
          yield step;
        }
      }
    } finally {
      await this.#blocks.close();
    }
  }

  /** Lets go of the file, where `steps` was not begun. */
  close(): Promise<void> {
    return this.#blocks.close();
  }
}

function parseHeader(content: Uint8Array, what: string): TraceHeader {
  const reader = new ByteReader(content, what);
  const header: TraceHeader = {
    target: reader.text(),
    kind: flag(reader) ? 'live' : 'simulated',
    tracker: reader.text(),
    pageSize: reader.varint(),
    intervalMicroseconds: reader.varint(),
    clock: flag(reader) ? 'monotonic' : 'virtual',
  };
  reader.expectEnd();
  return header;
}

function flag(reader: ByteReader): boolean {
  const value = reader.u8();
  if (value > 1) throw reader.damaged(`${value} where 0 or 1 belongs`);
  return value === 1;
}

/** Puts records together to steps. */
class StepBuilder {
  #started: TraceProcess[] = [];
  #ended: number[] = [];
  #processes = new Map<number, ReturnType<typeof emptyStep>>();
  #bytes = 0;
  #atMicroseconds = 0;

  /** Whether no record of an unfinished step was taken. */
  get isEmpty(): boolean {
    return this.#bytes === 0;
  }

  /** Takes one record. @returns the step, if it ends one */
  take(reader: ByteReader): TraceStep | undefined {
    const from = reader.offsetBytes;
    const kind = reader.u8();
    if (kind === RECORD_KIND.step) return this.#finish(reader.varint(), reader.varint());
    const pid = reader.varint();
    const list = PAGE_LIST_OF_KIND.get(kind);
    if (list !== undefined) readRanges(reader, this.#of(pid)[list]);
    else if (kind === RECORD_KIND.ended) this.#ended.push(pid);
    else if (kind === RECORD_KIND.process)
      this.#started.push({ pid, parentPid: reader.varint(), name: reader.text() });
    else if (kind === RECORD_KIND.unmapped) this.#of(pid).unmapped.push(reader.varint());
    else if (kind === RECORD_KIND.mapped) this.#of(pid).mapped.push(readMapping(reader));
    else if (kind === RECORD_KIND.samples) readSamples(reader, this.#of(pid).samples);
    else throw reader.damaged(`a record of unknown kind ${kind}`);
    this.#bytes += reader.offsetBytes - from;
    if (this.#bytes > MAX_STEP_BYTES) throw reader.damaged('a step that is too long');
    return undefined;
  }

  #of(pid: number): ReturnType<typeof emptyStep> {
    let process = this.#processes.get(pid);
    if (process === undefined) {
      process = emptyStep(pid);
      this.#processes.set(pid, process);
    }
    return process;
  }

  #finish(elapsedMicroseconds: number, frozenMicroseconds: number): TraceStep {
    this.#atMicroseconds += elapsedMicroseconds;
    const step: TraceStep = {
      atMicroseconds: this.#atMicroseconds,
      frozenMicroseconds,
      started: this.#started,
      ended: this.#ended,
      processes: [...this.#processes.values()],
    };
    this.#started = [];
    this.#ended = [];
    this.#processes = new Map();
    this.#bytes = 0;
    return step;
  }
}

function readMapping(reader: ByteReader): MapsEntry {
  const startPage = reader.varint();
  const endPage = startPage + reader.varint();
  const bits = reader.u8();
  return {
    startPage,
    endPage,
    read: (bits & 1) !== 0,
    write: (bits & 2) !== 0,
    execute: (bits & 4) !== 0,
    shared: (bits & 8) !== 0,
    offsetPages: reader.varint(),
    deviceMajor: reader.varint(),
    deviceMinor: reader.varint(),
    inode: reader.varint(),
    pathname: reader.text(),
  };
}

function readSamples(reader: ByteReader, into: PageSample[]): void {
  let page = 0;
  for (let left = reader.varint(); left > 0; left--) {
    page += reader.varint();
    const compressedBytes = reader.varint();
    const difference = reader.varint();
    into.push({ page, compressedBytes, differenceBytes: difference === 0 ? undefined : difference - 1 });
  }
}

/** Reads and proves the blocks of a file, one after the other. */
class BlockReader {
  readonly path: string;
  readonly #file: FileHandle;
  readonly #codec: BlockCodec;
  readonly #hash = createHash('sha256');
  #offsetBytes = 0;
  #number = 0;
  /** Of everything in front of the current block. */
  #digestBefore: Uint8Array = new Uint8Array();

  constructor(file: FileHandle, path: string, codec: BlockCodec) {
    this.#file = file;
    this.path = path;
    this.#codec = codec;
  }

  /** Names the current block in errors. */
  get record(): string {
    return `block ${this.#number - 1} of the trace ${this.path}`;
  }

  async begin(): Promise<void> {
    const opening = await this.#read(OPENING_BYTES);
    if (new TextDecoder('latin1').decode(opening.subarray(0, TRACE_MAGIC.length)) !== TRACE_MAGIC) {
      throw new IntegrityError(`${this.path} is not a trace`, {
        hint: "name a file that 'ckpt record' wrote",
        data: { path: this.path },
      });
    }
    const version = opening[TRACE_MAGIC.length]! | (opening[TRACE_MAGIC.length + 1]! << 8);
    if (version === TRACE_FORMAT_VERSION) return;
    throw new StoreVersionError(
      `the trace ${this.path} has format version ${version}, this ckpt knows ${TRACE_FORMAT_VERSION}`,
      { hint: 'use the ckpt that wrote it, or record again', data: { path: this.path, version } },
    );
  }

  async next(): Promise<Block> {
    this.#digestBefore = this.#hash.copy().digest();
    const head = await this.#read(BLOCK_HEADER_BYTES);
    const proof = new ByteWriter(32);
    proof.raw(head.subarray(0, BLOCK_HEADER_BYTES - 4));
    proof.u32(this.#number++);
    const reader = new ByteReader(head, this.record);
    const kind = reader.u8();
    const codec = reader.u8() === 1 ? 'zstd' : 'none';
    const storedBytes = reader.u32();
    const rawLengthBytes = reader.u32();
    const checksum = reader.u32();
    if (reader.u32() !== crc32(proof.view())) throw damaged(this.path, `${this.record} has a false header`);
    if (storedBytes > MAX_BLOCK_BYTES || rawLengthBytes > MAX_BLOCK_BYTES) {
      throw damaged(this.path, `${this.record} is too long`);
    }
    const stored = await this.#read(storedBytes);
    const content = this.#codec.decode({ codec, stored, checksum, rawLengthBytes }, this.record);
    return { kind, content };
  }

  /** Proves the seal, the current block. */
  async finish(content: Uint8Array, steps: number): Promise<TraceSeal> {
    const reader = new ByteReader(content, `seal of the trace ${this.path}`);
    const end = TRACE_ENDS[reader.u8()];
    const sealedSteps = reader.varint();
    const digest = reader.raw(SEAL_DIGEST_BYTES);
    reader.expectEnd();
    const isWhole =
      end !== undefined && sealedSteps === steps && Buffer.compare(digest, this.#digestBefore) === 0;
    if (!isWhole) throw damaged(this.path, 'its seal does not match');
    const { bytesRead } = await this.#file.read(new Uint8Array(1), 0, 1, this.#offsetBytes);
    if (bytesRead > 0) throw damaged(this.path, 'there is more behind its seal');
    return { steps, end };
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  async #read(count: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(count);
    for (let done = 0; done < count; ) {
      const { bytesRead } = await this.#file.read(bytes, done, count - done, this.#offsetBytes);
      if (bytesRead === 0) throw damaged(this.path, `it ends at byte ${this.#offsetBytes}, without its seal`);
      done += bytesRead;
      this.#offsetBytes += bytesRead;
    }
    this.#hash.update(bytes);
    return bytes;
  }
}

function damaged(path: string, found: string): IntegrityError {
  return new IntegrityError(`the trace ${path} is damaged: ${found}`, {
    hint: 'record again; a trace that was not written to its end is not used',
    data: { path },
  });
}
