import type { CodecPool, PageDigests } from '../codec/index.ts';
import { PAGE_SIZE, PageRangeList } from '../core/index.ts';
import type { DumpTimes, DumpWarning, Manifest, NotRestorable, StoredIdentity } from '../image/index.ts';
import {
  type CheckpointReader,
  type CheckpointWriter,
  type Compression,
  KnownPages,
  type NewFiles,
  type NewProcess,
  type ProcessIndex,
  type Store,
} from '../store/index.ts';
import type { TargetState } from '../target/index.ts';
import { ArrivedPages } from './arrived-pages.ts';
import { IndexFeeder, unchangedPages } from './index-feeder.ts';
import { PageEncoder } from './page-encoder.ts';
import { ChunkSupply, type PageChunk, SPOOL_CHUNK_PAGES } from './page-spool.ts';
import { learnContents } from './parent.ts';
import { PreviousPages } from './previous-pages.ts';
import { ScratchFile } from './scratch-file.ts';
import { objectsFirst, SharedObjects } from './shared-objects.ts';

/** Most pages that `add` takes at a time. */
export const MAX_INCOMING_PAGES = SPOOL_CHUNK_PAGES;

/** Chunks whose digests are computed while an earlier one is encoded. */
const CHUNKS_AHEAD = 4;

/** What is said of an incoming checkpoint when it is whole. */
export interface IncomingFacts {
  readonly preDump: boolean;
  readonly notRestorable?: NotRestorable | undefined;
  readonly target: StoredIdentity;
  readonly tracker: string;
  readonly warnings?: readonly DumpWarning[];
  /** ISO 8601, UTC. */
  readonly createdAt: string;
  readonly times: () => DumpTimes;
}

/** How incoming checkpoints are written. */
export interface IncomingOptions {
  /**
   * Keeps pages that have changed a little as differences to the checkpoint before. That reads back what they were,
   * and so takes time; by default it is not done, as where a target stands still meanwhile.
   */
  readonly differences?: boolean;
}

interface Waiting {
  readonly pid: number;
  readonly chunk: PageChunk;
  readonly found: Promise<PageDigests>;
}

/** What the chain knows of a process as of its last checkpoint. */
interface KnownProcess {
  readonly fingerprint: string | undefined;
  readonly present: PageRangeList;
}

/**
 * Writes checkpoints of a target that is elsewhere, from pages as they come in: a base, then deltas on each other. A
 * page is digested, encoded and put into the pack as soon as it is here, so that little is left to be done when the
 * last one has come. Memory stays bounded: `add` waits while too much is under way.
 *
 *     begin   add add drop add ...   seal   commit     begin   add ...
 *     '--------------- base ---------------------'     '----- delta
 */
export class IncomingCheckpoints {
  readonly #store: Store;
  readonly #pool: CodecPool;
  readonly #compression: Compression;
  readonly #supply = new ChunkSupply();
  readonly #nothingBefore = new PreviousPages([], undefined);
  readonly #scratch: ScratchFile;
  readonly #waiting: Waiting[] = [];
  readonly #keepsDifferences: boolean;
  #known = new KnownPages();
  #parent: CheckpointReader | undefined;
  #processes = new Map<number, KnownProcess>();
  #current: Incoming | undefined;

  constructor(store: Store, pool: CodecPool, compression: Compression, options: IncomingOptions = {}) {
    this.#store = store;
    this.#pool = pool;
    this.#compression = compression;
    this.#keepsDifferences = options.differences === true;
    this.#scratch = new ScratchFile(store.scratchDirectory);
  }

  /**
   * Makes a checkpoint of the store the one that the next is a delta on, in the place of what was before.
   * @throws CheckpointNotFoundError, IntegrityError
   */
  async continueFrom(checkpoint: number): Promise<void> {
    if (this.#current !== undefined) throw new RangeError('a checkpoint is being written');
    const parent = await this.#store.openCheckpoint(checkpoint);
    const indexes = new Map<number, { readonly index: ProcessIndex }>();
    const processes = new Map<number, KnownProcess>();
    for (const { pid, fingerprint } of parent.manifest.processes) {
      const index = await parent.index(pid);
      indexes.set(pid, { index });
      processes.set(pid, { fingerprint, present: await index.present() });
    }
    this.#known = new KnownPages();
    await learnContents({ manifest: parent.manifest, processes: indexes }, this.#known, undefined);
    this.#processes = processes;
    this.#parent = parent;
  }

  /**
   * Begins the next checkpoint. @returns its number
   * @throws StoreFullError, StoreUnusableError
   */
  async begin(): Promise<number> {
    const parent = this.#parent?.manifest.number ?? null;
    const writer = await this.#store.beginCheckpoint({ parent, compression: this.#compression });
    const older = this.#keepsDifferences ? this.#parent : undefined;
    this.#current = {
      writer,
      encoder: new PageEncoder(writer, this.#pool, this.#compression, this.#known, older),
      arrived: new Map(),
      previous: new Map(),
      objects: new SharedObjects(),
      gone: new Map(),
      processes: new Map(),
      pageCount: 0,
    };
    return writer.number;
  }

  /**
   * Takes pages of a process. Where a page comes twice the later version counts.
   * @param pages at most MAX_INCOMING_PAGES
   * @param fill writes their contents, one behind the other, into shared memory that is lent to it
   * @throws StoreFullError, StoreUnusableError; what `fill` threw, now or later
   */
  async add(pid: number, pages: PageRangeList, fill: (into: Uint8Array) => Promise<void>): Promise<void> {
    const chunk = this.#supply.take();
    let count = 0;
    for (const { startPage, endPage } of pages) {
      for (let page = startPage; page < endPage; page++) chunk.pages[count++] = page;
    }
    chunk.pageCount = count;
    const found = fill(chunk.bytes.subarray(0, count * PAGE_SIZE)).then(() =>
      this.#pool.digestPages(chunk.bytes, count),
    );
    // Met when its turn comes; until then nobody awaits it.
    found.catch(() => undefined);
    this.#open.pageCount += count;
    this.#waiting.push({ pid, chunk, found });
    while (this.#waiting.length > CHUNKS_AHEAD) await this.#encodeNext();
  }

  /** Takes pages of zeros. */
  async addZeros(pid: number, pages: PageRangeList): Promise<void> {
    await this.#encodeAll();
    const arrived = this.#arrivedOf(pid);
    for (const { startPage, endPage } of pages) arrived.addZeros(startPage, endPage);
    this.#open.pageCount += pages.pageCount;
  }

  /** Says that pages of the checkpoint before do not exist any more. */
  drop(pid: number, pages: PageRangeList): void {
    const { gone } = this.#open;
    gone.set(pid, (gone.get(pid) ?? new PageRangeList()).union(pages));
  }

  /** Waits until everything that was added is in the pack or on its way there. @throws as `add` */
  async settled(): Promise<void> {
    await this.#encodeAll();
  }

  /** Pages of a process that `seal` would give it now. */
  async present(process: NewProcess): Promise<PageRangeList> {
    await this.#encodeAll();
    const arrived = this.#open.arrived.get(process.pid)?.pages ?? new PageRangeList();
    const here = arrived.intersection(PageRangeList.of(...process.vmas));
    return this.#inherited(process, here).union(here);
  }

  /**
   * Completes the page indexes. What neither came nor was dropped is as in the checkpoint before, for processes that
   * are still in the same program; what maps an object of shared memory is as in the object, which must be among
   * `processes`.
   * @returns the memory digest
   * @throws RangeError if a process maps an object that is not there
   */
  async seal(processes: readonly NewProcess[]): Promise<string> {
    await this.#encodeAll();
    const current = this.#open;
    for (const process of objectsFirst(processes)) await this.#finishProcess(current, process);
    await current.encoder.finish();
    return current.writer.memoryDigest;
  }

  /**
   * Makes the sealed checkpoint exist.
   * @param files to be kept byte for byte beside memory
   * @throws StoreFullError, StoreUnusableError; what reading the files throws
   */
  async commit(facts: IncomingFacts, state?: TargetState, files?: NewFiles): Promise<Manifest> {
    const { writer, encoder, processes, pageCount } = this.#open;
    if (state !== undefined) await writer.setState(state);
    if (files !== undefined) await writer.setFiles(files);
    const manifest = await writer.commit({
      ...facts,
      warnings: facts.warnings ?? [],
      pages: {
        scanned: pageCount,
        dirty: pageCount,
        shared: encoder.sharedPages,
        written: encoder.writtenPages,
      },
    });
    this.#current = undefined;
    this.#processes = processes;
    this.#parent = await this.#store.openCheckpoint(manifest.number);
    return manifest;
  }

  /** Gives up the checkpoint that is being written, if any. The ones before stay. */
  async abort(): Promise<void> {
    const current = this.#current;
    this.#current = undefined;
    for (const { chunk, found } of this.#waiting.splice(0)) {
      await found.catch(() => undefined);
      this.#supply.give(chunk);
    }
    if (current === undefined) return;
    await current.writer.abort();
    // It may name pages of the pack that is gone.
    this.#known = new KnownPages();
  }

  /** Lets go of the scratch file. */
  close(): void {
    this.#scratch.close();
  }

  get #open(): Incoming {
    if (this.#current === undefined) throw new RangeError('no incoming checkpoint has been begun');
    return this.#current;
  }

  async #encodeAll(): Promise<void> {
    while (this.#waiting.length > 0) await this.#encodeNext();
  }

  async #encodeNext(): Promise<void> {
    const { pid, chunk, found } = this.#waiting.shift()!;
    const { encoder } = this.#open;
    const entries = await encoder.encode(chunk, await found, await this.#previousOf(pid), pid);
    const arrived = this.#arrivedOf(pid);
    for (let index = 0; index < chunk.pageCount; index++) arrived.add(chunk.pages[index]!, entries, index);
    this.#supply.giveWhen(chunk, encoder.released);
  }

  /** What a process had before, as far as that matters while its pages are encoded. */
  async #previousOf(pid: number): Promise<PreviousPages> {
    if (!this.#keepsDifferences || !this.#processes.has(pid)) return this.#nothingBefore;
    const { previous } = this.#open;
    const known = previous.get(pid) ?? new PreviousPages([], await this.#parent?.index(pid));
    previous.set(pid, known);
    return known;
  }

  #arrivedOf(pid: number): ArrivedPages {
    const { arrived } = this.#open;
    const known = arrived.get(pid);
    if (known !== undefined) return known;
    const fresh = new ArrivedPages(this.#scratch);
    arrived.set(pid, fresh);
    return fresh;
  }

  /** Pages that are as in the checkpoint before: those of the same program that have neither come anew nor gone. */
  #inherited({ pid, fingerprint, vmas }: NewProcess, here: PageRangeList): PageRangeList {
    const before = this.#processes.get(pid);
    if (before === undefined || before.fingerprint !== fingerprint) return new PageRangeList();
    const gone = this.#open.gone.get(pid) ?? new PageRangeList();
    return before.present
      .intersection(PageRangeList.of(...vmas))
      .difference(gone)
      .difference(here);
  }

  async #finishProcess(current: Incoming, process: NewProcess): Promise<void> {
    const { pid, fingerprint, sharedMemory, vmas } = process;
    const index = this.#processes.has(pid) ? await this.#parent?.index(pid) : undefined;
    const arrived = (current.arrived.get(pid) ?? new ArrivedPages(this.#scratch)).finish(index);
    const here = arrived.pages.intersection(PageRangeList.of(...vmas));
    const { shown, sources } = current.objects.shownBy(process, here);
    const inherited = this.#inherited(process, here.union(shown));
    const builder = current.writer.buildIndex(index);
    const feeder = new IndexFeeder({ builder, log: undefined }, [
      unchangedPages(inherited, undefined),
      unchangedPages(here, arrived.places),
      ...sources,
    ]);
    await feeder.finish();
    await current.writer.finishProcess(process, builder);
    let present = inherited.union(here);
    for (const { pages } of sources) present = present.union(pages);
    current.processes.set(pid, { fingerprint, present });
    if (sharedMemory !== undefined) current.objects.add(pid, present, arrived.places);
  }
}

/** The checkpoint that is being written. */
interface Incoming {
  readonly writer: CheckpointWriter;
  readonly encoder: PageEncoder;
  readonly arrived: Map<number, ArrivedPages>;
  readonly previous: Map<number, PreviousPages>;
  readonly objects: SharedObjects;
  readonly gone: Map<number, PageRangeList>;
  readonly processes: Map<number, KnownProcess>;
  pageCount: number;
}
