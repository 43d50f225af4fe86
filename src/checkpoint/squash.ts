import { PAGE_DIGEST_BYTES } from '../codec/index.ts';
import { machineClock, PAGE_SIZE, UsageError } from '../core/index.ts';
import {
  BLOCK_PAGES,
  findInSegment,
  type Manifest,
  positionOf,
  type Segment,
  windowStartOf,
} from '../image/index.ts';
import {
  type CheckpointReader,
  type CheckpointWriter,
  type Compression,
  type IndexBuilder,
  KnownPages,
  type ProcessIndex,
  type Store,
} from '../store/index.ts';

/** How to fold a chain. */
export interface SquashOptions {
  /** The checkpoint that becomes a base; the newest if left out. */
  readonly checkpoint?: number;
  /** By default as it was dumped. */
  readonly compression?: Compression;
}

/** What a squash would do: plain values, to be shown before it is done. */
export interface SquashPlan {
  readonly checkpoint: number;
  /** The chain that is folded, from its oldest checkpoint that still exists. */
  readonly chain: readonly number[];
  /** Packs that the checkpoint needs now; afterwards it needs one of its own. */
  readonly packs: readonly number[];
  readonly presentPages: number;
  readonly memoryBytes: number;
  readonly compression: Compression;
}

/** What a squash did. */
export interface SquashResult {
  readonly checkpoint: number;
  readonly pack: number;
  readonly storedBytes: number;
  readonly memoryDigest: string;
  /** Packs that nobody needed any more and that are gone. */
  readonly removedPacks: readonly number[];
}

/**
 * Plans to make a checkpoint a base that holds every page itself. It keeps its number, time, state and memory digest;
 * later deltas stay as they are, on top of it. Earlier checkpoints stay too: `prune` removes them.
 * @throws UsageError if the checkpoint is a base already, or a pre-dump, whose pages may be torn.
 */
export async function planSquash(store: Store, options: SquashOptions = {}): Promise<SquashPlan> {
  const numbers = await store.numbers();
  const checkpoint = options.checkpoint ?? numbers.at(-1);
  if (checkpoint === undefined) {
    throw new UsageError(`the store ${store.directory} is empty`, {
      hint: "take a checkpoint with 'ckpt dump'",
    });
  }
  const manifest = await store.manifest(checkpoint);
  if (manifest.preDump) {
    throw new UsageError(`checkpoint ${checkpoint} is a pre-dump and cannot become a base`, {
      hint: 'squash the dump that follows it',
    });
  }
  if (manifest.kind === 'base') {
    throw new UsageError(`checkpoint ${checkpoint} is a base already`, {
      hint: "'ckpt ls' shows the chains",
    });
  }
  return {
    checkpoint,
    chain: await chainTo(store, manifest),
    packs: manifest.packs,
    presentPages: manifest.pages.present,
    memoryBytes: manifest.bytes.memory,
    compression: options.compression ?? manifest.codec,
  };
}

/** The numbers of a chain up to a checkpoint, ascending; a parent that was pruned ends it. */
async function chainTo(store: Store, newest: Manifest): Promise<number[]> {
  const numbers = new Set(await store.numbers());
  const chain = [newest.number];
  for (let { parent } = newest; parent !== null && numbers.has(parent); ) {
    chain.unshift(parent);
    parent = (await store.manifest(parent)).parent;
  }
  return chain;
}

/** Whom a squash tells, and when it stops. */
export interface SquashControls {
  /** Aborts between two runs of pages: the store stays as it was. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (donePages: number, totalPages: number) => void;
}

/**
 * Carries a plan out. Every page is read back and proved, and written to a new pack; the manifest then changes in one
 * step.
 * @throws IntegrityError if a page is damaged; the store is then as it was.
 */
export async function executeSquash(
  store: Store,
  plan: SquashPlan,
  running: SquashControls = {},
): Promise<SquashResult> {
  const reader = await store.openCheckpoint(plan.checkpoint);
  const { checkpoint, compression } = plan;
  const writer = await store.beginCheckpoint({ parent: null, compression, replaces: checkpoint });
  let manifest: Manifest;
  try {
    manifest = await new Squash(reader, writer, plan, running).run();
  } catch (cause) {
    await writer.abort();
    throw cause;
  }
  const { number, pack, bytes, memoryDigest } = manifest;
  const removedPacks = await store.removeUnneededPacks();
  return { checkpoint: number, pack, storedBytes: bytes.stored, memoryDigest, removedPacks };
}

/** A block of pages that is being filled. */
interface FillingBlock {
  readonly number: number;
  readonly bytes: Uint8Array;
  readonly digests: Uint8Array;
  pageCount: number;
}

class Squash {
  readonly #reader: CheckpointReader;
  readonly #writer: CheckpointWriter;
  readonly #plan: SquashPlan;
  readonly #running: SquashControls;
  readonly #known = new KnownPages();
  #block: FillingBlock | undefined;
  #donePages = 0;
  #sharedPages = 0;
  #writtenPages = 0;

  constructor(reader: CheckpointReader, writer: CheckpointWriter, plan: SquashPlan, running: SquashControls) {
    this.#reader = reader;
    this.#writer = writer;
    this.#plan = plan;
    this.#running = running;
  }

  async run(): Promise<Manifest> {
    const started = machineClock();
    const { manifest } = this.#reader;
    for (const process of manifest.processes) {
      const builder = this.#writer.buildIndex(undefined);
      await this.#copyPages(process.pid, builder);
      const trackerState = await this.#reader.trackerState(process.pid);
      await this.#writer.finishProcess(process, builder, trackerState);
    }
    const bytes = await this.#reader.state();
    if (manifest.state !== null && bytes !== undefined)
      await this.#writer.setState({ ...manifest.state, bytes });
    await this.#copyFiles();
    const { preDump, notRestorable, target, tracker, warnings, createdAt, pages } = manifest;
    return this.#writer.commit({
      preDump,
      notRestorable,
      target,
      tracker,
      warnings,
      createdAt,
      pages: {
        scanned: pages.scanned,
        dirty: pages.dirty,
        shared: this.#sharedPages,
        written: this.#writtenPages,
      },
      times: () => ({ freeze: 0, scan: 0, read: 0, total: Math.round(machineClock() - started) }),
    });
  }

  async #copyFiles(): Promise<void> {
    const files = await this.#reader.files();
    if (files === undefined) return;
    const { format, listing, contentBytes } = files;
    await this.#writer.setFiles({ format, listing, content: files.read(0, contentBytes) });
  }

  async #copyPages(pid: number, builder: IndexBuilder): Promise<void> {
    const digests = new DigestLookup(await this.#reader.index(pid));
    for await (const { startPage, pageCount, bytes } of this.#reader.pages(pid)) {
      this.#running.signal?.throwIfAborted();
      if (bytes === undefined) builder.addZero(startPage, startPage + pageCount);
      else {
        for (let page = 0; page < pageCount; page++) {
          const content = bytes.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
          this.#addPage(builder, startPage + page, content, await digests.of(startPage + page));
        }
      }
      this.#donePages += pageCount;
      this.#running.onProgress?.(this.#donePages, this.#plan.presentPages);
      await this.#writer.ready();
    }
    this.#flush();
  }

  #addPage(builder: IndexBuilder, page: number, content: Uint8Array, digest: Uint8Array): void {
    if (this.#known.find(digest, 0)) {
      this.#sharedPages++;
      builder.addWhole(page, digest, 0, this.#known.foundPack, this.#known.foundPosition);
      return;
    }
    this.#block ??= {
      number: this.#writer.reserveBlock(),
      bytes: new Uint8Array(BLOCK_PAGES * PAGE_SIZE),
      digests: new Uint8Array(BLOCK_PAGES * PAGE_DIGEST_BYTES),
      pageCount: 0,
    };
    const { number, bytes, digests } = this.#block;
    const slot = this.#block.pageCount++;
    bytes.set(content, slot * PAGE_SIZE);
    digests.set(digest, slot * PAGE_DIGEST_BYTES);
    this.#writtenPages++;
    this.#known.add(digest, 0, this.#writer.pack, positionOf(number, slot));
    builder.addWhole(page, digest, 0, this.#writer.pack, positionOf(number, slot));
    if (this.#block.pageCount === BLOCK_PAGES) this.#flush();
  }

  #flush(): void {
    if (this.#block === undefined) return;
    const { number, bytes, digests, pageCount } = this.#block;
    this.#block = undefined;
    const ofPages = digests.subarray(0, pageCount * PAGE_DIGEST_BYTES);
    this.#writer.encodeBlock(number, 'pages', ofPages, bytes.subarray(0, pageCount * PAGE_SIZE));
  }
}

/** Digests of pages asked for in address order. */
class DigestLookup {
  readonly #index: ProcessIndex;
  #segment: Segment | undefined;

  constructor(index: ProcessIndex) {
    this.#index = index;
  }

  async of(page: number): Promise<Uint8Array> {
    const startPage = windowStartOf(page);
    if (this.#segment?.startPage !== startPage)
      this.#segment = (await this.#index.window(startPage))?.segment;
    const entry = this.#segment === undefined ? -1 : findInSegment(this.#segment, page);
    if (this.#segment === undefined || entry < 0) throw new RangeError(`page ${page} is not in the index`);
    return this.#segment.digests.subarray(entry * PAGE_DIGEST_BYTES, (entry + 1) * PAGE_DIGEST_BYTES);
  }
}
