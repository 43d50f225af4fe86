import { type CodecPool, DEFAULT_ZSTD_LEVEL } from '../codec/index.ts';
import { machineClock, PAGE_SIZE, PageRangeList, TargetError } from '../core/index.ts';
import type { DumpWarning } from '../image/index.ts';
import {
  type CheckpointWriter,
  type Compression,
  KnownPages,
  type NewProcess,
  type ProcessIndex,
  type Store,
} from '../store/index.ts';
import {
  type ProcessView,
  processDifference,
  type Target,
  type TargetState,
  type Vma,
} from '../target/index.ts';
import { type Changes, type ChosenTracker, chooseTracker, type ParentPages } from '../tracker/index.ts';
import { type Alike, findAlike } from './alike-pages.ts';
import { copyPages, dropUnchanged } from './copy-pages.ts';
import { digested } from './digested.ts';
import type { CheckpointOptions, DumpResult } from './dump-types.ts';
import { EntryLog } from './entry-log.ts';
import {
  type AlikeCounts,
  alikePages,
  IndexFeeder,
  type PageSource,
  unchangedPages,
} from './index-feeder.ts';
import { PageEncoder } from './page-encoder.ts';
import { ChunkSupply, type PageChunk, PageSpool } from './page-spool.ts';
import { learnContents, openParent, type Parent, type ParentProcess } from './parent.ts';
import { PreviousPages } from './previous-pages.ts';
import type { ReadAhead } from './read-ahead.ts';
import { ScratchFile } from './scratch-file.ts';
import { Stopwatch } from './stopwatch.ts';
import { WantedDigests } from './wanted-digests.ts';

/** Pages copied during the freeze that stay in memory, unless told otherwise. */
const DEFAULT_SPOOL_BYTES = 48 * 1024 * 1024;

/** One process of the target during a dump. */
interface ProcessDump {
  readonly view: ProcessView;
  vmas: readonly Vma[];
  readonly changes: Changes;
  /** Pages to be copied. */
  suspects: PageRangeList;
  /** Pages that need no copy because another process has them, too. */
  alike: readonly Alike<ProcessDump>[];
  /** Pages that were to be copied for good and could not be read. */
  readonly unreadable: PageRangeList;
  /** Pages that are as they were: proved by the tracker, or found equal while the target stood still. */
  unchanged: PageRangeList;
  armed: Uint8Array | undefined;
  /** Where its pages went, for processes that have some of them, too. */
  log: EntryLog | undefined;
}

/** What a copy of the running target left for the final one. */
interface RunningCopy {
  readonly view: ProcessView;
  readonly log: EntryLog;
  readonly pages: ParentPages;
}

/**
 * Takes one checkpoint of a target. The target is stopped for as little as possible:
 *
 *     freeze  scan  arm  thaw | copy and encode while it runs | freeze  scan  copy  arm  thaw | encode  commit
 *     '------- only where much is to be copied: a base -------'
 *
 * A write at any moment is in what is copied afterwards, or is seen by the next scan, because bits are cleared and
 * pages are copied for good only while nothing runs. Whatever fails, the target goes on and the store is as before.
 * @throws UsageError, TargetError, UnsupportedError, StoreFullError, StoreUnusableError, InterruptedError.
 */
export async function takeCheckpoint(
  target: Target,
  store: Store,
  pool: CodecPool,
  options: CheckpointOptions,
): Promise<DumpResult> {
  const run = new DumpRun(target, store, pool, options);
  try {
    return await run.execute();
  } finally {
    run.release();
  }
}

class DumpRun {
  readonly #target: Target;
  readonly #store: Store;
  readonly #pool: CodecPool;
  readonly #options: CheckpointOptions;
  readonly #compression: Compression;
  readonly #chosen: ChosenTracker;
  readonly #known = new KnownPages();
  readonly #watch = new Stopwatch(machineClock);
  readonly #warnings: DumpWarning[] = [];
  readonly #scratch: ScratchFile;
  readonly #supply = new ChunkSupply();
  readonly #spool: PageSpool;
  readonly #spoolPages: number;
  readonly #running = new Map<number, RunningCopy>();
  #parent: Parent | undefined;
  #ahead: ReadAhead | undefined;
  #donePages = 0;
  #scannedPages = 0;
  /** Pages that the tracker named when it was first asked: relative to the parent, not to the running copy. */
  #namedPages: number | undefined;

  constructor(target: Target, store: Store, pool: CodecPool, options: CheckpointOptions) {
    this.#target = target;
    this.#store = store;
    this.#pool = pool;
    this.#options = options;
    this.#compression = { name: options.codec ?? 'zstd', level: options.level ?? DEFAULT_ZSTD_LEVEL };
    this.#chosen = chooseTracker(target, options.tracker ?? 'auto');
    this.#scratch = new ScratchFile(store.scratchDirectory);
    const spoolBytes = options.spoolBytes ?? DEFAULT_SPOOL_BYTES;
    this.#spoolPages = Math.floor(spoolBytes / PAGE_SIZE);
    this.#spool = new PageSpool(this.#scratch, this.#supply, spoolBytes);
  }

  async execute(): Promise<DumpResult> {
    const { incremental } = this.#options;
    if (incremental) {
      const { kind } = this.#chosen.tracker;
      this.#parent = await openParent(this.#store, this.#target.identity, kind);
    }
    const parent = this.#parent?.manifest.number ?? null;
    const writer = await this.#store.beginCheckpoint({ parent, compression: this.#compression });
    try {
      return await this.#write(writer);
    } catch (error) {
      this.#target.thaw();
      await writer.abort();
      throw error;
    }
  }

  /** Lets go of the scratch file. */
  release(): void {
    this.#ahead?.stop();
    this.#scratch.close();
  }

  async #write(writer: CheckpointWriter): Promise<DumpResult> {
    const encoder = new PageEncoder(writer, this.#pool, this.#compression, this.#known, this.#parent?.reader);
    await this.#freeze();
    let processes = this.#scan();
    if (this.#isWorthCopyingRunning(processes)) {
      this.#arm(processes);
      this.#thaw();
      if (this.#parent !== undefined) await learnContents(this.#parent, this.#known, undefined);
      for (const [index, process] of processes.entries()) {
        await this.#copyRunning(process, encoder, phaseOf('copying', index, processes.length));
      }
      await this.#freeze();
      processes = this.#scan();
    }
    await this.#copyStopped(processes);
    this.#arm(processes);
    const state = this.#target.captureState();
    this.#target.verifyStoodStill?.();
    this.#options.signal?.throwIfAborted();
    if (this.#options.leaveStopped === true) this.#watch.stop('freeze');
    else this.#thaw();
    return this.#encodeAndCommit(writer, encoder, processes, state);
  }

  async #freeze(): Promise<void> {
    this.#options.signal?.throwIfAborted();
    this.#report('stopping', 0, 0);
    await this.#target.prepareFreeze?.();
    this.#watch.start('freeze');
    await this.#target.freeze();
  }

  #thaw(): void {
    this.#target.thaw();
    this.#watch.stop('freeze');
  }

  /** Asks the tracker what may have changed since the running copy, the parent, or ever. */
  #scan(): ProcessDump[] {
    this.#watch.start('scan');
    let namedPages = 0;
    const processes: ProcessDump[] = [];
    for (const view of this.#target.processes()) {
      const vmas = view.vmas();
      const before = this.#runningOf(view)?.pages ?? this.#parentOf(view)?.pages;
      const changes = this.#chosen.tracker.collect(view, vmas, before);
      this.#scannedPages += changes.scannedPages;
      namedPages += changes.suspects.pageCount;
      const { alike, rest } = findAlike(view, vmas, changes.suspects, processes);
      const { unchanged } = changes;
      processes.push({
        view,
        vmas,
        changes,
        suspects: rest,
        alike,
        unreadable: new PageRangeList(),
        unchanged,
        armed: undefined,
        log: undefined,
      });
    }
    this.#watch.stop('scan');
    this.#namedPages ??= namedPages;
    return processes;
  }

  /**
   * Whether to copy once while the target runs, so that the freeze has less to copy. Where the tracker names every page
   * each time, that pays only when there is nothing yet to compare with.
   */
  #isWorthCopyingRunning(processes: readonly ProcessDump[]): boolean {
    const pages = processes.reduce((sum, { suspects }) => sum + suspects.pageCount, 0);
    if (pages <= this.#spoolPages) return false;
    return this.#chosen.tracker.kind !== 'compare' || this.#parent === undefined;
  }

  #arm(processes: readonly ProcessDump[]): void {
    const { tracker } = this.#chosen;
    for (const process of processes) {
      process.armed = tracker.arm(process.view, process.vmas);
      // Registered mappings may have joined: the checkpoint has them as they are when the process goes on.
      if (tracker.kind === 'pagemap-scan') process.vmas = process.view.vmas();
    }
  }

  /**
   * Copies what the tracker named while the process runs. What changes meanwhile is copied again by the final copy. A
   * process that ends meanwhile is left to the final copy, too, which will not find it.
   */
  async #copyRunning(process: ProcessDump, encoder: PageEncoder, phase: string): Promise<void> {
    try {
      await this.#copyRunningPages(process, encoder, phase);
    } catch (error) {
      const isRoot = process.view.parentPid === 0;
      if (isRoot || !(error instanceof TargetError) || error.data['gone'] !== true) throw error;
    }
  }

  async #copyRunningPages(
    { view, changes, suspects, armed }: ProcessDump,
    encoder: PageEncoder,
    phase: string,
  ): Promise<void> {
    const log = new EntryLog(this.#scratch);
    const previous = new PreviousPages([], this.#parentOf(view)?.index);
    const copied = new PageRangeList();
    this.#donePages = 0;
    // A page that cannot be read now may be gone; the final copy finds out, and reports it if not.
    const chunks = copyPages(
      this.#source(view, 0, () => undefined),
      suspects,
    );
    for await (const { chunk, found } of digested(this.#timed(chunks), this.#pool)) {
      this.#options.signal?.throwIfAborted();
      const entries = await encoder.encode(chunk, found, previous, view.pid);
      for (let index = 0; index < chunk.pageCount; index++) {
        const page = chunk.pages[index]!;
        log.add(page, entries, index);
        copied.append(page, page + 1);
      }
      this.#supply.giveWhen(chunk, encoder.released);
      this.#report(phase, copied.pageCount, suspects.pageCount);
    }
    log.seal();
    const present = changes.unchanged.union(copied);
    this.#running.set(view.pid, { view, log, pages: { present, trackerState: armed } });
  }

  /** Copies everything that may have changed, while nothing runs. */
  async #copyStopped(processes: readonly ProcessDump[]): Promise<void> {
    const pages = processes.reduce((sum, { suspects }) => sum + suspects.pageCount, 0);
    const compareNow = pages > this.#spoolPages;
    this.#donePages = 0;
    for (const [processIndex, process] of processes.entries()) {
      takeOverUnreadable(process);
      const { view, suspects, unreadable } = process;
      const onUnreadable = (startPage: number, endPage: number) => {
        unreadable.append(startPage, endPage);
        this.#warn(view.pid, startPage, endPage, 'could not be read');
      };
      const chunks = this.#timed(copyPages(this.#source(view, processIndex, onUnreadable), suspects));
      if (compareNow) await this.#keepChanged(process, chunks);
      else for (const chunk of chunks) this.#spool.append(chunk);
    }
  }

  /** Too much to keep: compares while the target stands still, and keeps only what differs from the version before. */
  async #keepChanged(process: ProcessDump, chunks: Iterable<PageChunk>): Promise<void> {
    const previous = this.#previousOf(process.view);
    const same = new PageRangeList();
    for await (const one of digested(chunks, this.#pool)) {
      this.#options.signal?.throwIfAborted();
      await dropUnchanged(one, previous, same);
      this.#spool.append(one.chunk, one.found);
    }
    process.unchanged = process.unchanged.union(same);
  }

  /** Encodes what was copied, builds the indexes, and makes the checkpoint exist. */
  async #encodeAndCommit(
    writer: CheckpointWriter,
    encoder: PageEncoder,
    processes: readonly ProcessDump[],
    state: TargetState,
  ): Promise<DumpResult> {
    const totalPages = this.#spool.pageCount;
    this.#donePages = 0;
    for (const { donor } of processes.flatMap(({ alike }) => alike))
      donor.log ??= new EntryLog(this.#scratch);
    await this.#spool.digestAll(this.#pool);
    await this.#learnWanted();
    const chunks = this.#spool.drain();
    let pending = chunks.next();
    for (const [processIndex, process] of processes.entries()) {
      const { view, vmas, changes, armed } = process;
      const phase = phaseOf('encoding', processIndex, processes.length);
      const parentIndex = this.#parentOf(view)?.index;
      const builder = writer.buildIndex(parentIndex);
      const previous = this.#previousOf(view);
      const alike = { changedPages: 0, missing: new PageRangeList() };
      const feeder = new IndexFeeder({ builder, log: process.log }, this.#sourcesOf(process, alike));
      const ahead = this.#readAhead(encoder, processIndex, parentIndex);
      while (pending.done !== true && pending.value.chunk.processIndex === processIndex) {
        this.#options.signal?.throwIfAborted();
        const { chunk, found } = pending.value;
        const entries = await encoder.encode(chunk, found, previous, view.pid, ahead);
        for (let index = 0; index < chunk.pageCount; index++) {
          await feeder.add(chunk.pages[index]!, entries, index);
        }
        this.#donePages += chunk.pageCount;
        this.#supply.giveWhen(chunk, encoder.released);
        this.#report(phase, this.#donePages, totalPages);
        pending = chunks.next();
      }
      ahead?.stop();
      await feeder.finish();
      encoder.changedPages += alike.changedPages;
      encoder.sharedPages += alike.changedPages;
      for (const { startPage, endPage } of alike.missing) {
        this.#warn(view.pid, startPage, endPage, 'could not be read');
      }
      for (const doubt of changes.doubts) this.#warn(view.pid, 0, 0, doubt);
      for (const note of changes.notes) this.#options.onNote?.(note);
      await encoder.finish();
      await writer.finishProcess(identified(view, vmas), builder, armed);
    }
    await writer.setState(state);
    this.#options.signal?.throwIfAborted();
    this.#report('committing', totalPages, totalPages);
    this.#noteReplaced(processes);
    return this.#commit(writer, encoder);
  }

  /** Pages of a process that are not copied, and where they are. */
  #sourcesOf({ view, unchanged, alike }: ProcessDump, counts: AlikeCounts): PageSource[] {
    const elsewhere = this.#runningOf(view) === undefined ? undefined : this.#previousOf(view);
    return [
      unchangedPages(unchanged, elsewhere),
      ...alike.map(({ donor, pages }) =>
        alikePages(pages, this.#previousOf(donor.view, donor.log), this.#previousOf(view), counts),
      ),
    ];
  }

  /** Says of which processes nothing in the parent could be used, although it knows their numbers. */
  #noteReplaced(processes: readonly ProcessDump[]): void {
    for (const { view } of processes) {
      const before = this.#parent?.processes.get(view.pid);
      if (before === undefined || this.#parentOf(view) !== undefined) continue;
      const why = processDifference(before.fingerprint, view.fingerprint);
      this.#options.onNote?.(`process ${view.pid} (${view.name}) is taken as a new one: ${why}`);
    }
  }

  /** Fetches the older versions of a process's spooled pages ahead of the encoder. */
  #readAhead(
    encoder: PageEncoder,
    processIndex: number,
    parentIndex: ProcessIndex | undefined,
  ): ReadAhead | undefined {
    if (this.#parent === undefined || parentIndex === undefined) return undefined;
    this.#ahead = encoder.readAhead(this.#parent.reader, parentIndex);
    // The encoder meets the same failure.
    this.#ahead.run(this.#spool.pagesAhead(processIndex)).catch(() => undefined);
    return this.#ahead;
  }

  /** Learns of the parent's contents those that the spooled pages may be equal to. */
  async #learnWanted(): Promise<void> {
    if (this.#parent === undefined || this.#running.size > 0) return;
    const wanted = new WantedDigests();
    this.#spool.forEachDigests((digests, pageCount) => wanted.add(digests, pageCount));
    await learnContents(this.#parent, this.#known, wanted);
  }

  async #commit(writer: CheckpointWriter, encoder: PageEncoder): Promise<DumpResult> {
    const { kind } = this.#chosen.tracker;
    const manifest = await writer.commit({
      preDump: false,
      target: this.#target.identity,
      tracker: kind,
      pages: {
        scanned: this.#scannedPages,
        // A tracker that names every page leaves it to the comparison to tell which are dirty.
        dirty: kind === 'compare' ? encoder.changedPages : (this.#namedPages ?? 0),
        shared: encoder.sharedPages,
        written: encoder.writtenPages,
      },
      warnings: this.#warnings,
      times: () => ({
        freeze: this.#watch.microseconds('freeze'),
        scan: this.#watch.microseconds('scan'),
        read: this.#watch.microseconds('read'),
        total: this.#watch.totalMicroseconds(),
      }),
    });
    return {
      checkpoint: manifest.number,
      processes: manifest.processes.length,
      kind: manifest.kind,
      parent: manifest.parent,
      tracker: manifest.tracker,
      trackerReason: this.#chosen.reason,
      pages: manifest.pages,
      bytes: manifest.bytes,
      microseconds: manifest.microseconds,
      memoryDigest: manifest.memoryDigest,
      warnings: manifest.warnings,
    };
  }

  /** What was copied of the same process, still in the same program, while it ran. */
  #runningOf(view: ProcessView): RunningCopy | undefined {
    const copy = this.#running.get(view.pid);
    return copy?.view.fingerprint === view.fingerprint ? copy : undefined;
  }

  /** The same process in the parent checkpoint, if it was there and in the same program. */
  #parentOf(view: ProcessView): ParentProcess | undefined {
    const process = this.#parent?.processes.get(view.pid);
    if (process === undefined) return undefined;
    return processDifference(process.fingerprint, view.fingerprint) === undefined ? process : undefined;
  }

  /** @param latest what this dump has copied for good, if that is to be found, too */
  #previousOf(view: ProcessView, latest?: EntryLog): PreviousPages {
    const logs = [latest, this.#runningOf(view)?.log].filter((log) => log !== undefined);
    return new PreviousPages(logs, this.#parentOf(view)?.index);
  }

  #source(
    view: ProcessView,
    processIndex: number,
    onUnreadable: (startPage: number, endPage: number) => void,
  ) {
    return { view, processIndex, takeChunk: () => this.#supply.take(), onUnreadable };
  }

  /** The same chunks; the time it takes to read them is counted. */
  *#timed(chunks: Iterator<PageChunk>): Generator<PageChunk> {
    for (;;) {
      this.#watch.start('read');
      const { done, value } = chunks.next();
      this.#watch.stop('read');
      if (done === true) return;
      yield value;
    }
  }

  #warn(pid: number, startPage: number, endPage: number, reason: string): void {
    this.#warnings.push({ pid, startPage, endPage, reason });
  }

  #report(phase: string, donePages: number, totalPages: number): void {
    this.#options.onProgress?.({ phase, donePages, totalPages, doneBytes: donePages * PAGE_SIZE });
  }
}

/** Has a process copy itself what the one that it has pages in common with could not give: its rights may be others. */
function takeOverUnreadable(process: ProcessDump): void {
  if (process.alike.every(({ donor, pages }) => pages.intersection(donor.unreadable).rangeCount === 0))
    return;
  for (const { donor, pages } of process.alike) {
    process.suspects = process.suspects.union(pages.intersection(donor.unreadable));
  }
  process.alike = process.alike.map(({ donor, pages }) => ({
    donor,
    pages: pages.difference(donor.unreadable),
  }));
}

/** What the manifest says of a process beyond its pages. */
function identified(view: ProcessView, vmas: readonly Vma[]): NewProcess {
  const { pid, parentPid, name, fingerprint } = view;
  return { pid, parentPid, name, vmas, ...(fingerprint === undefined ? {} : { fingerprint }) };
}

/** `copying`, or `copying (process 2 of 3)`. */
function phaseOf(what: string, index: number, count: number): string {
  return count === 1 ? what : `${what} (process ${index + 1} of ${count})`;
}
