import { createHash } from 'node:crypto';
import { type BlockCodec, crc32, openBlockCodec } from '../../codec/index.ts';
import { ByteWriter, type PageRangeList } from '../../core/index.ts';
import type { MapsEntry } from '../../procfs/index.ts';
import {
  BLOCK_KIND,
  type PageSample,
  RANGES_PER_RECORD,
  RECORD_KIND,
  TRACE_ENDS,
  TRACE_FORMAT_VERSION,
  TRACE_MAGIC,
  type TraceEnd,
  type TraceHeader,
  type TraceProcessStep,
  type TraceStep,
  writeRanges,
} from './format.ts';

/** Records are gathered until a block has so many bytes. */
const BLOCK_BYTES = 128 * 1024;
const ZSTD_LEVEL = 3;
/** Samples of one record. */
const SAMPLES_PER_RECORD = 8192;

const PAGE_LISTS = ['resident', 'zero', 'written', 'gone'] as const;

/** Writes a trace, step by step, as TRACE.md specifies; it holds one block in memory, whatever the trace's length. */
export class TraceWriter {
  readonly #codec: BlockCodec;
  readonly #put: (bytes: Uint8Array) => Promise<void>;
  readonly #records = new ByteWriter(BLOCK_BYTES * 2);
  readonly #hash = createHash('sha256');
  #blocks = 0;
  #steps = 0;
  #writtenBytes = 0;
  /** Of all records blocks so far. */
  readonly #recordsBytes = { stored: 0, raw: 0 };
  #lastMicroseconds = 0;

  private constructor(codec: BlockCodec, put: (bytes: Uint8Array) => Promise<void>) {
    this.#codec = codec;
    this.#put = put;
  }

  /** Begins a trace. @param put takes bytes that go to the end of the file, and are not referred to afterwards. */
  static async begin(header: TraceHeader, put: (bytes: Uint8Array) => Promise<void>): Promise<TraceWriter> {
    const writer = new TraceWriter(await openBlockCodec(), put);
    const opening = new ByteWriter();
    opening.raw(new TextEncoder().encode(TRACE_MAGIC));
    opening.u16(TRACE_FORMAT_VERSION);
    await writer.#append(opening.toBytes());
    const block = new ByteWriter();
    block.text(header.target);
    block.u8(header.kind === 'live' ? 1 : 0);
    block.text(header.tracker);
    block.varint(header.pageSize);
    block.varint(header.intervalMicroseconds);
    block.u8(header.clock === 'monotonic' ? 1 : 0);
    await writer.#appendBlock(BLOCK_KIND.header, block.toBytes());
    return writer;
  }

  /** Bytes of the trace that were handed on so far. */
  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  /** What the trace will have about when all steps so far are in it. */
  get expectedBytes(): number {
    const { stored, raw } = this.#recordsBytes;
    const share = raw === 0 ? 1 : stored / raw;
    return this.#writtenBytes + Math.ceil(this.#records.lengthBytes * share);
  }

  /** Appends a step; times never go back. */
  async step(step: TraceStep): Promise<void> {
    const out = this.#records;
    for (const pid of step.ended) {
      out.u8(RECORD_KIND.ended);
      out.varint(pid);
    }
    for (const { pid, parentPid, name } of step.started) {
      out.u8(RECORD_KIND.process);
      out.varint(pid);
      out.varint(parentPid);
      out.text(name);
    }
    for (const process of step.processes) await this.#process(process);
    out.u8(RECORD_KIND.step);
    out.varint(step.atMicroseconds - this.#lastMicroseconds);
    out.varint(step.frozenMicroseconds);
    this.#lastMicroseconds = step.atMicroseconds;
    this.#steps++;
    await this.#flushFull();
  }

  /** Ends the trace. Without this no reader accepts it. */
  async seal(end: TraceEnd): Promise<void> {
    await this.#flush();
    const block = new ByteWriter();
    block.u8(TRACE_ENDS.indexOf(end));
    block.varint(this.#steps);
    block.raw(this.#hash.copy().digest());
    await this.#appendBlock(BLOCK_KIND.seal, block.toBytes());
  }

  async #process(process: TraceProcessStep): Promise<void> {
    const { pid, unmapped, mapped, samples } = process;
    for (const startPage of unmapped) {
      this.#records.u8(RECORD_KIND.unmapped);
      this.#records.varint(pid);
      this.#records.varint(startPage);
      await this.#flushFull();
    }
    for (const mapping of mapped) {
      this.#mapping(pid, mapping);
      await this.#flushFull();
    }
    for (const name of PAGE_LISTS) await this.#pages(RECORD_KIND[name], pid, process[name]);
    for (let from = 0; from < samples.length; from += SAMPLES_PER_RECORD) {
      this.#samples(pid, samples.slice(from, from + SAMPLES_PER_RECORD));
      await this.#flushFull();
    }
  }

  #mapping(pid: number, mapping: MapsEntry): void {
    const out = this.#records;
    out.u8(RECORD_KIND.mapped);
    out.varint(pid);
    out.varint(mapping.startPage);
    out.varint(mapping.endPage - mapping.startPage);
    const { read, write, execute, shared } = mapping;
    out.u8(Number(read) | (Number(write) << 1) | (Number(execute) << 2) | (Number(shared) << 3));
    out.varint(mapping.offsetPages);
    out.varint(mapping.deviceMajor);
    out.varint(mapping.deviceMinor);
    out.varint(mapping.inode);
    out.text(mapping.pathname);
  }

  async #pages(kind: number, pid: number, list: PageRangeList): Promise<void> {
    for (let from = 0; from < list.rangeCount; from += RANGES_PER_RECORD) {
      this.#records.u8(kind);
      this.#records.varint(pid);
      writeRanges(this.#records, list, from, Math.min(RANGES_PER_RECORD, list.rangeCount - from));
      await this.#flushFull();
    }
  }

  #samples(pid: number, samples: readonly PageSample[]): void {
    const out = this.#records;
    out.u8(RECORD_KIND.samples);
    out.varint(pid);
    out.varint(samples.length);
    let at = 0;
    for (const { page, compressedBytes, differenceBytes } of samples) {
      out.varint(page - at);
      out.varint(compressedBytes);
      out.varint(differenceBytes === undefined ? 0 : differenceBytes + 1);
      at = page;
    }
  }

  async #flushFull(): Promise<void> {
    if (this.#records.lengthBytes >= BLOCK_BYTES) await this.#flush();
  }

  async #flush(): Promise<void> {
    if (this.#records.lengthBytes === 0) return;
    const raw = this.#records.toBytes();
    this.#records.reset();
    await this.#appendBlock(BLOCK_KIND.records, raw);
  }

  async #appendBlock(kind: number, raw: Uint8Array): Promise<void> {
    const wanted = kind === BLOCK_KIND.records ? 'zstd' : 'none';
    const { codec, stored, checksum } = this.#codec.encode(raw, wanted, ZSTD_LEVEL);
    if (kind === BLOCK_KIND.records) {
      this.#recordsBytes.stored += stored.length;
      this.#recordsBytes.raw += raw.length;
    }
    const out = new ByteWriter(stored.length + 32);
    out.u8(kind);
    out.u8(codec === 'zstd' ? 1 : 0);
    out.u32(stored.length);
    out.u32(raw.length);
    out.u32(checksum);
    // The number of the block is not stored, but proved: none can be left out or change places.
    const proof = new ByteWriter(32);
    proof.raw(out.view());
    proof.u32(this.#blocks++);
    out.u32(crc32(proof.view()));
    out.raw(stored);
    await this.#append(out.toBytes());
  }

  async #append(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    this.#writtenBytes += bytes.length;
    await this.#put(bytes);
  }
}
