import type { CodecPool } from '../codec/index.ts';
import { IntegrityError, PAGE_SIZE, PageRangeList } from '../core/index.ts';
import type { CheckpointReader, ProcessIndex } from '../store/index.ts';
import { decideMapping, type ProcessRewriter, type ProcessView, type Vma } from '../target/index.ts';
import { compareTracker, type ParentPages, type Tracker } from '../tracker/index.ts';
import { commonPages } from './common-pages.ts';
import { copyPages, dropUnchanged } from './copy-pages.ts';
import { digested } from './digested.ts';
import { ChunkSupply, type PageChunk, PageSpool, SPOOL_CHUNK_PAGES } from './page-spool.ts';
import { PreviousPages } from './previous-pages.ts';
import type { ScratchFile } from './scratch-file.ts';

/** Pages that are written at once when they are all zeros. */
const ZEROS = new Uint8Array(SPOOL_CHUNK_PAGES * PAGE_SIZE);

/** What the memory of one process needs, found out before anything is changed. */
export interface MemoryPlan {
  readonly rewriter: ProcessRewriter;
  readonly view: ProcessView;
  /** Pages of the checkpoint, zero pages included. */
  readonly wanted: PageRangeList;
  /** Pages that exist now. */
  readonly existing: PageRangeList;
  /** Of the wanted ones, those that hold something else now, or nothing. */
  readonly differing: PageRangeList;
  /** Existing pages of mappings that stay, which the checkpoint does not have. */
  readonly superfluous: PageRangeList;
  readonly comparedPages: number;
}

/** What was read of a process before the freeze. */
interface PreparedProcess {
  readonly index: ProcessIndex;
  readonly present: PageRangeList;
  readonly tracked: TrackedPages | undefined;
}

/** What tracking since the newest checkpoint can tell. */
interface TrackedPages {
  /** Of the newest checkpoint. */
  readonly pages: ParentPages;
  /** Pages that hold the same in the newest checkpoint and in the one to go back to. */
  readonly common: PageRangeList;
}

/** Undefined if the newest checkpoint cannot be read: then every page is compared. */
async function trackedFrom(
  newest: CheckpointReader,
  pid: number,
  index: ProcessIndex,
): Promise<TrackedPages | undefined> {
  try {
    const newestIndex = await newest.index(pid);
    return {
      pages: { present: await newestIndex.present(), trackerState: await newest.trackerState(pid) },
      common: await commonPages(index, newestIndex),
    };
  } catch (error) {
    if (error instanceof IntegrityError) return undefined;
    throw error;
  }
}

/** Whether pages of a mapping can be discarded without the kernel making others of them. */
function canDiscard(vma: Vma): boolean {
  const { rule } = decideMapping(vma);
  return rule === 'existing' || rule === 'copied' || rule === 'object';
}

function pagesOf(vmas: readonly Vma[]): PageRangeList {
  const pages = new PageRangeList();
  for (const { startPage, endPage } of vmas) pages.append(startPage, endPage);
  return pages;
}

/**
 * The memory side of a rewind: compares the present pages with a checkpoint, keeps what is there for the way back and
 * fetches what has to be there, both in bounded memory, and then exchanges one for the other.
 */
export class MemoryExchange {
  readonly #reader: CheckpointReader;
  readonly #pool: CodecPool;
  readonly #supply = new ChunkSupply();
  /** What is overwritten, discarded or unmapped. */
  readonly #before: PageSpool;
  /** What is written. */
  readonly #after: PageSpool;
  readonly #indexes = new Map<number, PreparedProcess>();
  readonly #plans: MemoryPlan[] = [];
  readonly #zeros: PageRangeList[] = [];

  constructor(reader: CheckpointReader, pool: CodecPool, scratch: ScratchFile, spoolBytes: number) {
    this.#reader = reader;
    this.#pool = pool;
    this.#before = new PageSpool(scratch, this.#supply, spoolBytes / 2);
    this.#after = new PageSpool(scratch, this.#supply, spoolBytes / 2);
  }

  get plans(): readonly MemoryPlan[] {
    return this.#plans;
  }

  /**
   * Reads before the freeze which pages a process had.
   * @param newest the checkpoint that tracking goes back to, if it does
   */
  async prepare(pid: number, newest: CheckpointReader | undefined): Promise<void> {
    const index = await this.#reader.index(pid);
    const present = await index.present();
    const isInNewest = newest?.manifest.processes.some((process) => process.pid === pid) === true;
    this.#indexes.set(pid, {
      index,
      present,
      tracked: isInNewest ? await trackedFrom(newest, pid, index) : undefined,
    });
  }

  /**
   * Compares a process with its checkpoint. Calls `onPages` now and then, with a number of pages.
   * @param tracker the one that is armed, if there is one
   */
  async compare(
    rewriter: ProcessRewriter,
    view: ProcessView,
    tracker: Tracker | undefined,
    onPages: (pageCount: number) => void,
  ): Promise<void> {
    const { index, present: wanted, tracked } = this.#indexes.get(rewriter.pid)!;
    const processIndex = this.#plans.length;
    const { kept, dropped } = rewriter.plan;
    const changes = (tracker ?? compareTracker).collect(view, rewriter.before, tracked?.pages);
    const existing = changes.suspects.union(changes.unchanged);
    const candidates = existing.intersection(kept);
    // What has not been written since the newest checkpoint, and was then as it is to be, need not be read.
    const known =
      tracked === undefined ? new PageRangeList() : changes.unchanged.intersection(tracked.common);
    const unknown = candidates.difference(known);
    const equal = await this.#keepChanged(view, processIndex, unknown, index, onPages);
    const same = equal.union(known.intersection(kept));
    const lost = existing
      .intersection(dropped)
      .intersection(pagesOf(rewriter.before.filter(({ shared }) => !shared)));
    for (const chunk of copyPages(this.#source(view, processIndex), lost)) this.#before.append(chunk);
    const discardable = pagesOf(rewriter.before.filter(canDiscard));
    this.#plans.push({
      rewriter,
      view,
      wanted,
      existing,
      differing: wanted.intersection(rewriter.attainable).difference(same),
      superfluous: candidates.difference(wanted).intersection(discardable),
      comparedPages: unknown.pageCount,
    });
  }

  /** Fetches all pages that differ, so that damage to the store is met before anything is changed. */
  async fetch(onPages: (pageCount: number) => void): Promise<void> {
    for (const [processIndex, { rewriter, differing }] of this.#plans.entries()) {
      const zeros = new PageRangeList();
      this.#zeros.push(zeros);
      let chunk = this.#newChunk(processIndex);
      for await (const { startPage, pageCount, bytes } of this.#reader.pages(rewriter.pid, differing)) {
        onPages(pageCount);
        if (bytes === undefined) {
          zeros.append(startPage, startPage + pageCount);
          continue;
        }
        for (let index = 0; index < pageCount; index++) {
          if (chunk.pageCount === SPOOL_CHUNK_PAGES) {
            this.#after.append(chunk);
            chunk = this.#newChunk(processIndex);
          }
          chunk.pages[chunk.pageCount] = startPage + index;
          const page = bytes.subarray(index * PAGE_SIZE, (index + 1) * PAGE_SIZE);
          chunk.bytes.set(page, chunk.pageCount++ * PAGE_SIZE);
        }
      }
      this.#after.append(chunk);
    }
  }

  /** Writes what was fetched and discards what is too much. Synchronous: nothing comes in between. */
  exchange(): void {
    this.#write(this.#after);
    for (const [processIndex, { rewriter }] of this.#plans.entries()) {
      for (const { startPage, endPage } of this.#zeros[processIndex]!)
        writeZeros(rewriter, startPage, endPage);
    }
    for (const plan of this.#plans) this.#discardOthers(plan, plan.rewriter.wantedMappings, plan.wanted);
  }

  /** Puts back what `exchange`, or the mappings before it, may have changed. */
  exchangeBack(): void {
    this.#write(this.#before);
    for (const plan of this.#plans) {
      if (plan.rewriter.begun) this.#discardOthers(plan, plan.rewriter.before, plan.existing);
    }
  }

  /** Keeps present pages that are not as in the checkpoint. @returns those that are */
  async #keepChanged(
    view: ProcessView,
    processIndex: number,
    pages: PageRangeList,
    index: ProcessIndex,
    onPages: (pageCount: number) => void,
  ): Promise<PageRangeList> {
    const previous = new PreviousPages([], index);
    const same = new PageRangeList();
    for await (const one of digested(copyPages(this.#source(view, processIndex), pages), this.#pool)) {
      onPages(one.chunk.pageCount);
      await dropUnchanged(one, previous, same);
      this.#before.append(one.chunk, one.found);
    }
    return same;
  }

  #write(spool: PageSpool): void {
    for (const chunk of spool.chunks()) {
      const { rewriter } = this.#plans[chunk.processIndex]!;
      if (!rewriter.begun) continue;
      for (let from = 0; from < chunk.pageCount; ) {
        let to = from + 1;
        while (to < chunk.pageCount && chunk.pages[to] === chunk.pages[to - 1]! + 1) to++;
        rewriter.write(chunk.pages[from]!, chunk.bytes.subarray(from * PAGE_SIZE, to * PAGE_SIZE));
        from = to;
      }
    }
  }

  /** Writing may bring more pages into being than were written: huge ones, or a stack that grows. */
  #discardOthers({ rewriter, view }: MemoryPlan, layout: readonly Vma[], wanted: PageRangeList): void {
    const mappings = rewriter.mappings();
    const now = compareTracker.collect(view, mappings, undefined).suspects;
    const discardable = pagesOf(layout.filter(canDiscard)).intersection(pagesOf(mappings.filter(canDiscard)));
    rewriter.discard(now.difference(wanted).intersection(discardable), layout);
  }

  #source(view: ProcessView, processIndex: number) {
    return { view, processIndex, takeChunk: () => this.#supply.take(), onUnreadable: () => undefined };
  }

  #newChunk(processIndex: number): PageChunk {
    const chunk = this.#supply.take();
    chunk.processIndex = processIndex;
    return chunk;
  }
}

function writeZeros(rewriter: ProcessRewriter, startPage: number, endPage: number): void {
  for (let page = startPage; page < endPage; page += SPOOL_CHUNK_PAGES) {
    const count = Math.min(SPOOL_CHUNK_PAGES, endPage - page);
    rewriter.write(page, ZEROS.subarray(0, count * PAGE_SIZE));
  }
}
