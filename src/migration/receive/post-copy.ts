import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import { digestTargetMemory, type IncomingCheckpoints } from '../../checkpoint/index.ts';
import { type CodecPool, isZeroPage } from '../../codec/index.ts';
import {
  formatPageAddress,
  IntegrityError,
  machineClock,
  PAGE_SIZE,
  PageRangeList,
  PeerError,
} from '../../core/index.ts';
import type { NewProcess } from '../../store/index.ts';
import type { ProcessView, SimulatedTarget } from '../../target/index.ts';
import { compareTracker } from '../../tracker/index.ts';
import type { PageFault } from '../../workload/index.ts';
import type { Channel } from '../wire/channel.ts';
import { MissingPages } from './missing-pages.ts';
import type { PageSink } from './page-sink.ts';
import type { RoundReader } from './rounds.ts';

/** Pages that one request names at most, where a program needs all of its process. */
const MOST_REQUESTED_PAGES = 16_384;
/** How much virtual time passes at most before messages are looked at again. */
const SLICE_NANOSECONDS = 1_000_000;

/** What it cost a target to run before its memory was there. */
export interface FetchCounts {
  /** Pages that were still at the source when it began to run. */
  readonly missingPages: number;
  /** How often it had to stop for one. */
  readonly faults: number;
  /** How long it stood still for that in all, and at most. */
  readonly stalledMicroseconds: number;
  readonly longestStallMicroseconds: number;
}

/** Pages that can be read at all: no others were sent. */
function readable(view: ProcessView, pages: PageRangeList): PageRangeList {
  const content = new Uint8Array(PAGE_SIZE);
  const found = new PageRangeList();
  for (const { startPage, endPage } of pages) {
    for (let page = startPage; page < endPage; page++) {
      if (view.readMemory(page, 1, content) === 1) found.append(page, page + 1);
    }
  }
  return found;
}

/**
 * A simulated target that runs while pages of it are still at the source. It stops in front of the first access to a
 * page that has not come; the page is asked for, and goes before those that come by themselves. The state says what
 * every page holds; each that comes must be just that, and the whole is proved by its digest in the end.
 */
export class LazyTarget implements PageSink {
  readonly target: SimulatedTarget;
  /** Of the memory at the stop, as the state has it. */
  readonly memoryDigest: string;
  readonly #incoming: IncomingCheckpoints;
  readonly #missing: MissingPages;
  readonly #missingPages: number;
  readonly #page = Buffer.alloc(PAGE_SIZE);
  #failure: Error | undefined;
  #wake: () => void = () => undefined;
  #faults = 0;
  #stalled = 0;
  #longestStall = 0;

  private constructor(
    target: SimulatedTarget,
    memoryDigest: string,
    incoming: IncomingCheckpoints,
    missing: MissingPages,
  ) {
    this.target = target;
    this.memoryDigest = memoryDigest;
    this.#incoming = incoming;
    this.#missing = missing;
    this.#missingPages = missing.count;
  }

  /**
   * Finds out which pages are missing.
   * @throws PeerError if pages are missing of memory that is shared: who else writes to it cannot be known.
   */
  static async prepare(
    target: SimulatedTarget,
    incoming: IncomingCheckpoints,
    processes: readonly NewProcess[],
    pool: CodecPool,
  ): Promise<LazyTarget> {
    const missing = new MissingPages();
    for (const view of target.processes()) {
      const vmas = view.vmas();
      const process = processes.find(({ pid }) => pid === view.pid);
      const here = process === undefined ? new PageRangeList() : await incoming.present(process);
      const existing = compareTracker.collect(view, vmas, undefined).suspects;
      const absent = readable(view, existing.difference(here));
      const shared = PageRangeList.of(...vmas.filter((vma) => vma.shared));
      if (absent.intersection(shared).pageCount > 0) {
        throw new PeerError(`the other end did not send all of the memory that process ${view.pid} shares`);
      }
      missing.add(view.pid, absent);
    }
    return new LazyTarget(target, await digestTargetMemory(target, pool), incoming, missing);
  }

  get counts(): FetchCounts {
    return {
      missingPages: this.#missingPages,
      faults: this.#faults,
      stalledMicroseconds: Math.round(this.#stalled),
      longestStallMicroseconds: Math.round(this.#longestStall),
    };
  }

  /**
   * Takes pages until the other end says that these were all.
   * @returns the digest of the memory as the other end has it
   * @throws PeerError, IntegrityError; the target has then stopped for good
   */
  async receive(reader: RoundReader): Promise<string> {
    try {
      for (;;) {
        const message = await reader.expect('pages', 'prepared-digest');
        if (message.type === 'pages') {
          await reader.takePages(message, this);
          continue;
        }
        await this.#incoming.settled();
        if (this.#missing.count === 0) return message.memoryDigest;
        throw new PeerError(`the other end sent all but ${this.#missing.count} pages that are missing`);
      }
    } catch (error) {
      this.#fail(error);
      throw error;
    }
  }

  /**
   * Lets the target run: for so long, as fast as it can; or at the pace of the clock until nothing is missing.
   * @throws what `receive` threw: then the target stands still where it was
   */
  async run(channel: Channel, microseconds: number | undefined): Promise<void> {
    const { simulation } = this.target;
    const end =
      microseconds === undefined ? Number.POSITIVE_INFINITY : simulation.nowNanoseconds + microseconds * 1000;
    let clock = machineClock();
    while (simulation.nowNanoseconds < end && (microseconds !== undefined || this.#missing.count > 0)) {
      if (this.#failure !== undefined) throw this.#failure;
      const now = machineClock();
      const slice = microseconds === undefined ? Math.floor(now - clock) * 1000 : SLICE_NANOSECONDS;
      clock = now;
      const until = Math.min(end, simulation.nowNanoseconds + Math.min(slice, SLICE_NANOSECONDS));
      const fault = simulation.runUntil(until, this.#missing);
      if (fault !== undefined) {
        await this.#fetch(channel, fault);
        clock = machineClock();
      } else await (microseconds === undefined ? delay(1) : nextTurn());
    }
  }

  add(pid: number, pages: PageRangeList, fill: (into: Uint8Array) => Promise<void>): Promise<void> {
    return this.#incoming.add(pid, pages, async (into) => {
      try {
        await fill(into);
        this.#arrived(pid, pages, into);
      } catch (error) {
        this.#fail(error);
        throw error;
      }
    });
  }

  async addZeros(pid: number, pages: PageRangeList): Promise<void> {
    await this.#incoming.addZeros(pid, pages);
    this.#arrived(pid, pages, undefined);
  }

  drop(): void {
    throw new PeerError('the other end dropped pages after it had handed the target over');
  }

  /** @throws IntegrityError if a page is not what the state says, PeerError if it was not missing */
  #arrived(pid: number, pages: PageRangeList, bytes: Uint8Array | undefined): void {
    const view = this.target.processes().find((process) => process.pid === pid);
    let offset = 0;
    for (const { startPage, endPage } of pages) {
      for (let page = startPage; page < endPage; page++, offset += PAGE_SIZE) {
        if (this.#missing.isThere(pid, page)) {
          throw new PeerError(`the other end sent page ${formatPageAddress(page)} of process ${pid} again`);
        }
        // A process that has a page missing is there: it may not end before all of it is.
        const isRead = view?.readMemory(page, 1, this.#page) === 1;
        const expected = bytes?.subarray(offset, offset + PAGE_SIZE);
        const isEqual = expected === undefined ? isZeroPage(this.#page, 0) : this.#page.equals(expected);
        if (!isRead || !isEqual) {
          throw new IntegrityError(
            `page ${formatPageAddress(page)} of process ${pid} has come with other contents than the state says`,
            { data: { pid } },
          );
        }
        this.#missing.take(pid, page);
      }
    }
    this.#wake();
  }

  /** Asks for what the target needs and waits until it is there. */
  async #fetch(channel: Channel, { pid, page }: PageFault): Promise<void> {
    const began = machineClock();
    this.#faults++;
    const isThere = () =>
      page === undefined ? this.#missing.isWhole(pid) : this.#missing.isThere(pid, page);
    while (!isThere()) {
      const ranges =
        page === undefined
          ? this.#missing.of(pid, MOST_REQUESTED_PAGES)
          : PageRangeList.of({ startPage: page, endPage: page + 1 });
      await channel.send({ type: 'request-pages', pid, ranges });
      while (ranges.rangeCount > 0 && !this.#haveCome(pid, ranges)) await this.#arrival();
    }
    const stall = machineClock() - began;
    this.#stalled += stall;
    this.#longestStall = Math.max(this.#longestStall, stall);
  }

  #haveCome(pid: number, ranges: PageRangeList): boolean {
    for (const { startPage, endPage } of ranges) {
      for (let page = startPage; page < endPage; page++) {
        if (!this.#missing.isThere(pid, page)) return false;
      }
    }
    return true;
  }

  /** Resolves when something has come. @throws if nothing will any more */
  async #arrival(): Promise<void> {
    if (this.#failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  #fail(error: unknown): void {
    this.#failure ??= error instanceof Error ? error : new Error(String(error));
    this.#wake();
  }
}
