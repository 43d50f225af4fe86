import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CodecPool, digestPage, encodePageDelta, MAX_PAGE_DELTA_BYTES } from '../../src/codec/index.ts';
import { PAGE_SIZE, PageRangeList, Random } from '../../src/core/index.ts';
import {
  BLOCK_PAGES,
  encodeDeltaBlock,
  findInSegment,
  type Manifest,
  positionOf,
  type StoredVma,
  windowStartOf,
} from '../../src/image/index.ts';
import {
  type CheckpointReader,
  type CheckpointWriter,
  type FaultPoints,
  KnownPages,
  type LockHost,
  type PageVersion,
  type ProcessIndex,
  Store,
} from '../../src/store/index.ts';

/** Codec of all tests, on the calling thread: no thread outlives a test. */
export const CODEC = new CodecPool({ workers: 0 });

/** Memory of one process: page number to content; null is a page of zeros. */
export type Memory = Map<number, Uint8Array | null>;

/** Memory of a target: PID to memory. */
export type TargetMemory = Map<number, Memory>;

const VMA_PAGES = 1 << 22;

/** A directory that is removed when the test is over. */
export function temporaryDirectory(): { readonly path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync(join(tmpdir(), 'ckpt-test-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

export interface OpenOptions {
  readonly access?: 'read' | 'write' | 'create';
  readonly faults?: FaultPoints;
  readonly lockHost?: LockHost;
}

export function openStore(path: string, options: OpenOptions = {}): Promise<Store> {
  const { access = 'create', ...ports } = options;
  return Store.open(path, { access, command: 'test', codec: CODEC, ...ports });
}

/** A page whose content follows from `seed`; pages of one seed differ by `edit` in a few bytes only. */
export function pageOf(seed: number, edit = 0): Uint8Array {
  const page = new Uint8Array(PAGE_SIZE);
  const random = new Random(seed + 1);
  for (let at = 0; at < PAGE_SIZE; at += 32) {
    page[at] = random.nextUint32();
    page[at + 1] = random.nextUint32();
    page[at + 7] = 1 + (seed % 250);
  }
  if (edit > 0) new DataView(page.buffer).setUint32(64 + (edit % 900) * 4, edit, true);
  return page;
}

export function vmaOf(startPage: number, endPage: number): StoredVma {
  return {
    startPage,
    endPage,
    read: true,
    write: true,
    execute: false,
    shared: false,
    offsetPages: 0,
    deviceMajor: 0,
    deviceMinor: 0,
    inode: 0,
    pathname: '[heap]',
    flags: ['rd', 'wr', 'mr', 'mw', 'me', 'ac'],
  };
}

function vmasOf(memory: Memory): StoredVma[] {
  const starts = new Set([...memory.keys()].map((page) => page - (page % VMA_PAGES)));
  return [...starts].sort((a, b) => a - b).map((start) => vmaOf(start, start + VMA_PAGES));
}

/** A plain dumper: pages equal to the parent's are inherited, others shared, stored as differences, or whole. */
export async function dump(
  store: Store,
  target: TargetMemory,
  options: { readonly parent?: number | null; readonly level?: number } = {},
): Promise<Manifest> {
  const parent = options.parent ?? null;
  const writer = await store.beginCheckpoint({
    parent,
    compression: { name: 'zstd', level: options.level ?? 1 },
  });
  try {
    const reader = parent === null ? undefined : await store.openCheckpoint(parent);
    const known = new KnownPages();
    for (const [pid, memory] of [...target].sort(([a], [b]) => a - b)) {
      const hasParent = reader?.manifest.processes.some((process) => process.pid === pid);
      const index = hasParent ? await reader?.index(pid) : undefined;
      if (index !== undefined) await remember(known, index);
      await new ProcessDump(writer, known, reader, index).run(pid, memory);
    }
    await writer.setState({ format: 'test', bytes: pageOf(target.size), summary: { pids: target.size } });
    return await writer.commit({
      preDump: false,
      target: { kind: 'simulated', name: 'sim:test', fingerprint: 'f' },
      tracker: 'compare',
      pages: { scanned: 0, dirty: 0, shared: 0, written: 0 },
      warnings: [],
      times: () => ({ freeze: 1, scan: 2, read: 3, total: 4 }),
    });
  } catch (cause) {
    await writer.abort();
    throw cause;
  }
}

/** Tells `known` where the pages of an index lie that are stored whole. */
async function remember(known: KnownPages, index: ProcessIndex): Promise<void> {
  for (const reference of index.segments) {
    const { segment } = await index.load(reference);
    for (let entry = 0; entry < segment.count; entry++) {
      const pack = segment.packs[entry]!;
      if (pack === 0 || segment.deltaPacks[entry] !== 0) continue;
      known.add(segment.digests, entry * 16, pack, segment.positions[entry]!);
    }
  }
}

class ProcessDump {
  readonly #writer: CheckpointWriter;
  readonly #known: KnownPages;
  readonly #reader: CheckpointReader | undefined;
  readonly #index: ProcessIndex | undefined;
  #pages: { block: number; contents: Uint8Array[]; digests: Uint8Array[] } | undefined;
  #deltas: { block: number; records: Uint8Array[]; digests: Uint8Array[] } | undefined;

  constructor(
    writer: CheckpointWriter,
    known: KnownPages,
    reader: CheckpointReader | undefined,
    index: ProcessIndex | undefined,
  ) {
    this.#writer = writer;
    this.#known = known;
    this.#reader = reader;
    this.#index = index;
  }

  async run(pid: number, memory: Memory): Promise<void> {
    const builder = this.#writer.buildIndex(this.#index);
    for (const page of [...memory.keys()].sort((a, b) => a - b)) {
      await this.#add(pid, builder, page, memory.get(page) ?? null);
      await this.#writer.ready();
    }
    this.#flushPages();
    this.#flushDeltas();
    await this.#writer.finishProcess(
      { pid, parentPid: 0, name: `process-${pid}`, vmas: vmasOf(memory) },
      builder,
      pageOf(pid),
    );
  }

  async #add(
    pid: number,
    builder: ReturnType<CheckpointWriter['buildIndex']>,
    page: number,
    content: Uint8Array | null,
  ): Promise<void> {
    if (content === null) return builder.addZero(page, page + 1);
    const digest = digestPage(content);
    const parent = await this.#index?.window(windowStartOf(page));
    const entry = parent === undefined ? -1 : findInSegment(parent.segment, page);
    if (parent !== undefined && entry >= 0 && parent.segment.packs[entry] !== 0) {
      const { segment } = parent;
      const previous = segment.digests.subarray(entry * 16, entry * 16 + 16);
      if (Buffer.compare(previous, digest) === 0) return builder.addInherited(page, page + 1);
      const whole = await this.#readWhole(pid, page);
      const out = new Uint8Array(MAX_PAGE_DELTA_BYTES);
      const length = encodePageDelta(whole, content, out);
      if (length >= 0 && length < 400) {
        const position = this.#addDelta(out.slice(0, length), digest);
        const at = segment.positions[entry]!;
        return builder.addDelta(page, digest, 0, segment.packs[entry]!, at, this.#writer.pack, position);
      }
    }
    if (this.#known.find(digest, 0)) {
      return builder.addWhole(page, digest, 0, this.#known.foundPack, this.#known.foundPosition);
    }
    const position = this.#addPage(content, digest);
    this.#known.add(digest, 0, this.#writer.pack, position);
    builder.addWhole(page, digest, 0, this.#writer.pack, position);
  }

  async #readWhole(pid: number, page: number): Promise<Uint8Array> {
    const ranges = PageRangeList.of({ startPage: page, endPage: page + 1 });
    for await (const run of this.#reader?.pages(pid, ranges, 'whole') ?? []) {
      if (run.bytes !== undefined) return run.bytes.slice();
    }
    throw new Error(`no whole version of page ${page}`);
  }

  #addPage(content: Uint8Array, digest: Uint8Array): number {
    this.#pages ??= { block: this.#writer.reserveBlock(), contents: [], digests: [] };
    const { block, contents, digests } = this.#pages;
    contents.push(content);
    digests.push(digest);
    const position = positionOf(block, contents.length - 1);
    if (contents.length === BLOCK_PAGES) this.#flushPages();
    return position;
  }

  #addDelta(record: Uint8Array, digest: Uint8Array): number {
    this.#deltas ??= { block: this.#writer.reserveBlock(), records: [], digests: [] };
    const { block, records, digests } = this.#deltas;
    records.push(record);
    digests.push(digest);
    const position = positionOf(block, records.length - 1);
    if (records.length === 64) this.#flushDeltas();
    return position;
  }

  #flushPages(): void {
    if (this.#pages === undefined) return;
    const { block, contents, digests } = this.#pages;
    this.#pages = undefined;
    this.#writer.encodeBlock(block, 'pages', Buffer.concat(digests), Buffer.concat(contents));
  }

  #flushDeltas(): void {
    if (this.#deltas === undefined) return;
    const { block, records, digests } = this.#deltas;
    this.#deltas = undefined;
    this.#writer.encodeBlock(block, 'page-deltas', Buffer.concat(digests), encodeDeltaBlock(records));
  }
}

/** Everything that a checkpoint holds, as a dumper once gave it. */
export async function readBack(
  reader: CheckpointReader,
  version: PageVersion = 'newest',
): Promise<TargetMemory> {
  const target: TargetMemory = new Map();
  for (const { pid } of reader.manifest.processes) {
    const memory: Memory = new Map();
    for await (const { startPage, pageCount, bytes } of reader.pages(pid, undefined, version)) {
      for (let page = 0; page < pageCount; page++) {
        memory.set(startPage + page, bytes?.slice(page * PAGE_SIZE, (page + 1) * PAGE_SIZE) ?? null);
      }
    }
    target.set(pid, memory);
  }
  return target;
}

/** What a target's memory is, small enough to compare and to print: `pid:page` to the content's digest. */
export function fingerprintOf(target: TargetMemory): Record<string, string> {
  const pages: [string, string][] = [];
  for (const [pid, memory] of target) {
    for (const [page, content] of memory) {
      pages.push([
        `${pid}:${page}`,
        content === null ? 'zero' : Buffer.from(digestPage(content)).toString('hex'),
      ]);
    }
  }
  return Object.fromEntries(pages.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** A copy that later changes to `target` do not reach; contents are never changed in place. */
export function copyOf(target: TargetMemory): TargetMemory {
  return new Map([...target].map(([pid, memory]) => [pid, new Map(memory)]));
}

/** Changes memory at random: writes, small edits, copies, zeros, holes, new and vanished processes. */
export function mutate(target: TargetMemory, random: Random, writes: number): void {
  if (target.size === 0 || random.nextBelow(8) === 0) target.set(1 + random.nextBelow(6), new Map());
  const memories = [...target.values()];
  for (let write = 0; write < writes; write++) {
    const memory = memories[random.nextBelow(memories.length)]!;
    const page = random.nextBelow(3) * 20_000 + 8150 + random.nextBelow(90);
    const kind = random.nextBelow(10);
    if (kind === 0) memory.set(page, null);
    else if (kind === 1) memory.delete(page);
    else if (kind === 2) memory.set(page, pageOf(random.nextBelow(5)));
    else if (kind < 7) memory.set(page, pageOf(page, 1 + random.nextBelow(1000)));
    else memory.set(page, pageOf(random.nextUint32()));
  }
  if (target.size > 3) target.delete([...target.keys()][random.nextBelow(target.size)]!);
}
