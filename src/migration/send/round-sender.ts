import { setTimeout as delay } from 'node:timers/promises';
import { PAGE_SIZE, PageRangeList } from '../../core/index.ts';
import type { Target } from '../../target/index.ts';
import { RoundLog } from '../rounds.ts';
import type { Channel } from '../wire/channel.ts';
import { MAX_RANGES_OF_MESSAGE, type Message } from '../wire/messages.ts';
import type { MigrationTime } from './migration-time.ts';
import { BandwidthMeter, Pacer } from './pacer.ts';
import type { PagePipeline, ReadyBatch } from './page-pipeline.ts';
import { MOST_UNDER_WAY_BYTES, PAGES_BETWEEN_PEEKS } from './sending-constants.ts';
import type { SourceProcess } from './source-process.ts';
import { type GonePages, hasEndedMeanwhile, type TargetScan } from './target-scan.ts';

/** How often it is looked whether what is on the way has become less. */
const WAIT_MILLISECONDS = 1;

/** How one round is sent. */
export interface RoundRequest {
  readonly isFinal: boolean;
  /** Whether the destination runs the target before it has all memory: then that is sent afterwards, by `sendPart`. */
  readonly isLazy?: boolean;
  readonly gone: readonly GonePages[];
  /** Bytes a second. */
  readonly rate: number;
  /** Asked before each batch: false ends the round with pages left. */
  readonly goesOn: () => boolean;
  /** Whether pages that have been written again are left out; the target runs. */
  readonly skipsWritten: boolean;
}

/** What one round sent. */
export interface RoundTally {
  readonly sentPages: number;
  readonly skippedPages: number;
  /** In a last round: pages that exist and could not be read. The destination has none of them. */
  readonly lost: readonly GonePages[];
}

/** Sends rounds over a channel: mappings, what is gone, and the pages that are pending. */
export class RoundSender {
  readonly log = new RoundLog();
  readonly meter: BandwidthMeter;
  readonly #channel: Channel;
  readonly #target: Target;
  readonly #scan: TargetScan;
  readonly #pipeline: PagePipeline;
  readonly #time: MigrationTime;
  readonly #pacer: Pacer;
  readonly #signal: AbortSignal;
  readonly #onSent: () => void;
  /** Bytes sent that the migration's time knows of. */
  #told = 0;
  #leftPages = 0;
  #sentPages = 0;

  constructor(parts: {
    readonly channel: Channel;
    readonly target: Target;
    readonly scan: TargetScan;
    readonly pipeline: PagePipeline;
    readonly time: MigrationTime;
    readonly signal: AbortSignal;
    readonly onSent: () => void;
  }) {
    this.#channel = parts.channel;
    this.#target = parts.target;
    this.#scan = parts.scan;
    this.#pipeline = parts.pipeline;
    this.#time = parts.time;
    this.#signal = parts.signal;
    this.#onSent = parts.onSent;
    this.#pacer = new Pacer(parts.time);
    this.meter = new BandwidthMeter(parts.time);
  }

  /** Pages that are still expected to be sent in this round. */
  get leftPages(): number {
    return this.#leftPages;
  }

  /** Sends one round; resolves when the destination has received it. */
  async send(request: RoundRequest): Promise<RoundTally> {
    const { isFinal, gone } = request;
    const number = this.log.count;
    const skipped = new Map<SourceProcess, PageRangeList>();
    this.#sentPages = 0;
    this.#leftPages = this.#scan.expectedPages;
    this.meter.resume(this.#channel.sentBytes, this.#arrivedBytes);
    await this.#say({ type: 'round', number, final: isFinal });
    for (const process of this.#scan.processes) await this.#sayMappings(process);
    for (const { pid, pages } of gone) await this.#sayGone(pid, pages);
    if (request.isLazy === true) {
      for (const process of this.#scan.processes) {
        await this.#sayGone(process.view.pid, process.postpone());
      }
    }
    for (const process of this.#scan.processes) {
      try {
        await this.#sendProcess(process, request, skipped);
      } catch (error) {
        if (isFinal || !hasEndedMeanwhile(process, error)) throw error;
      }
    }
    const lost: GonePages[] = [];
    if (isFinal) {
      for (const process of this.#scan.processes) {
        const { pid } = process.view;
        const pages = process.endLastRound();
        if (pages.pageCount > 0) lost.push({ pid, pages });
        await this.#sayGone(pid, pages);
      }
    } else for (const process of this.#scan.processes) process.endRound();
    await this.#say({ type: 'round-end', number, sentPages: this.#sentPages });
    await this.#channel.flushed();
    this.#measure(0);
    this.#tellTime();
    await this.#follow();
    let skippedPages = 0;
    for (const pages of skipped.values()) skippedPages += pages.pageCount;
    return { sentPages: this.#sentPages, skippedPages, lost };
  }

  /** Sends pages of a process outside of any round; the target stands still for good. */
  async sendPart(process: SourceProcess, pages: PageRangeList, rate: number): Promise<void> {
    for await (const batch of this.#pipeline.batches(process, pages, () => true)) {
      await this.#sendBatch(batch, rate);
    }
    process.endRound();
    this.#leftPages = this.#scan.pendingPages;
    this.#onSent();
  }

  /** Sends any message. */
  async #say(message: Message): Promise<void> {
    this.#signal.throwIfAborted();
    await this.#channel.send(message);
    this.#tellTime();
  }

  async #sayMappings({ view, vmas }: SourceProcess): Promise<void> {
    const { pid, parentPid, name, fingerprint } = view;
    await this.#say({ type: 'mappings', pid, parentPid, name, fingerprint, vmas: [...vmas] });
  }

  async #sayGone(pid: number, pages: PageRangeList): Promise<void> {
    let ranges = new PageRangeList();
    for (const { startPage, endPage } of pages) {
      ranges.append(startPage, endPage);
      if (ranges.rangeCount < MAX_RANGES_OF_MESSAGE) continue;
      await this.#say({ type: 'gone', pid, ranges });
      ranges = new PageRangeList();
    }
    if (ranges.rangeCount > 0) await this.#say({ type: 'gone', pid, ranges });
  }

  async #sendProcess(
    process: SourceProcess,
    request: RoundRequest,
    skipped: Map<SourceProcess, PageRangeList>,
  ): Promise<void> {
    for await (const part of this.#parts(process, request.skipsWritten, skipped)) {
      const changedBefore = { read: 0, sent: 0 };
      for await (const batch of this.#pipeline.batches(process, part, request.goesOn)) {
        await this.#sendBatch(batch, request.rate);
        changedBefore.read += batch.readPages;
        changedBefore.sent += batch.sentPages;
        const share = Math.min(1, process.expectedPages / Math.max(1, process.pending.pageCount));
        this.#leftPages = Math.max(0, this.#leftPages - batch.readPages * share);
        this.#onSent();
      }
      if (process.doubtful.pageCount > 0 && changedBefore.read > 0) {
        process.changedShare = changedBefore.sent / changedBefore.read;
      }
    }
  }

  /** The pending pages, a part at a time where what was written again is looked for and left out. */
  async *#parts(
    process: SourceProcess,
    skipsWritten: boolean,
    skipped: Map<SourceProcess, PageRangeList>,
  ): AsyncGenerator<PageRangeList> {
    const { pending } = process;
    if (!skipsWritten) {
      yield pending;
      return;
    }
    for (const part of partsOf(pending, PAGES_BETWEEN_PEEKS)) {
      const written = await this.#scan.whileStopped(() => process.peek());
      const left = part.intersection(written);
      skipped.set(process, (skipped.get(process) ?? new PageRangeList()).union(left));
      this.#leftPages -= left.pageCount;
      yield part.difference(left);
    }
  }

  async #sendBatch(batch: ReadyBatch, rate: number): Promise<void> {
    for (const message of batch.messages) {
      await this.#pacer.admit(rate, this.#signal);
      const before = this.#channel.sentBytes;
      await this.#say(message);
      this.#pacer.used(this.#channel.sentBytes - before);
    }
    batch.release();
    this.#sentPages += batch.sentPages;
    this.log.zeroPages += batch.zeroPages;
    this.log.normalPages += batch.sentPages - batch.zeroPages;
    while (this.#channel.unacknowledgedBytes > MOST_UNDER_WAY_BYTES) {
      await delay(WAIT_MILLISECONDS);
      this.#signal.throwIfAborted();
    }
    this.#measure(batch.readPages);
    const now = this.#time.now();
    if (this.log.curve.isDue(now)) this.log.curve.add(now, this.#leftPages * PAGE_SIZE);
    await this.#follow();
  }

  #measure(pages: number): void {
    this.meter.add(pages * PAGE_SIZE, this.#channel.sentBytes, this.#arrivedBytes);
  }

  /** A target that stands still has no time that passes. */
  async #follow(): Promise<void> {
    if (!this.#target.frozen) await this.#time.follow(this.#target, this.#signal);
  }

  #tellTime(): void {
    const { sentBytes } = this.#channel;
    this.#time.sent(sentBytes - this.#told);
    this.#told = sentBytes;
  }

  get #arrivedBytes(): number {
    return this.#channel.sentBytes - this.#channel.unacknowledgedBytes;
  }
}

/** A list in pieces of so many pages. */
function* partsOf(pages: PageRangeList, size: number): Generator<PageRangeList> {
  let part = new PageRangeList();
  for (const range of pages) {
    for (let from = range.startPage; from < range.endPage; ) {
      const to = Math.min(range.endPage, from + size - part.pageCount);
      part.append(from, to);
      from = to;
      if (part.pageCount < size) continue;
      yield part;
      part = new PageRangeList();
    }
  }
  if (part.pageCount > 0) yield part;
}
