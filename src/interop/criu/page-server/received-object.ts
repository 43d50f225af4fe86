import { PageRangeList, PeerError } from '../../../core/index.ts';
import type { ListedRuns } from '../listing.ts';
import { describeObject, type PageObject } from './protocol.ts';

/**
 * Runs of pages of all objects of a session. Each takes 17 bytes here; a process whose every other page is present has
 * so many in 32 GiB.
 */
const MAX_RUNS = 4 * 1024 * 1024;

/** Counts what all objects of a session take, so that no peer can have it grow without end. */
export class RunBudget {
  #left = MAX_RUNS;

  /** @throws PeerError if there are too many */
  take(): void {
    if (this.#left-- === 0) throw new PeerError(`it sends more than ${MAX_RUNS} separate runs of pages`);
  }
}

/** What a session says of the pages of one object, in the order of a pagemap: ascending and disjoint. */
export class ReceivedObject {
  readonly object: PageObject;
  /** Number of the process in the checkpoint. */
  readonly pid: number;
  /** Number of the pages file that CRIU's page server would write. */
  readonly pagesId: number;
  presentPages = 0;
  parentPages = 0;
  readonly #budget: RunBudget;
  readonly #prepared: Promise<void>;
  #before: PageRangeList | undefined;
  #startPages = new Float64Array(4);
  #pageCounts = new Float64Array(4);
  #flags = new Uint8Array(4);
  #count = 0;

  constructor(
    { object, pid, pagesId }: Pick<ReceivedObject, 'object' | 'pid' | 'pagesId'>,
    before: Promise<PageRangeList | undefined>,
    budget: RunBudget,
  ) {
    this.object = object;
    this.pid = pid;
    this.pagesId = pagesId;
    this.#budget = budget;
    this.#prepared = before.then((pages) => {
      this.#before = pages;
    });
    // Met by whoever waits for it.
    this.#prepared.catch(() => undefined);
  }

  /** Waits until `before` is known. @throws what finding it out threw */
  prepared(): Promise<void> {
    return this.#prepared;
  }

  /** The pages that the parent has; undefined if there is no parent, or it does not have the object. */
  get before(): PageRangeList | undefined {
    return this.#before;
  }

  /** Whether nothing has been said yet. */
  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** Adds pages with their flags. @throws PeerError if they are not behind all before them, or there are too many runs */
  append(startPage: number, endPage: number, flags: number): void {
    const last = this.#count - 1;
    const lastEnd = this.#count === 0 ? 0 : this.#startPages[last]! + this.#pageCounts[last]!;
    if (startPage < lastEnd) {
      throw new PeerError(
        `it sends page ${startPage} of ${describeObject(this.object)} after page ${lastEnd - 1}: pages must ascend`,
      );
    }
    if (this.#count > 0 && startPage === lastEnd && this.#flags[last] === flags) {
      this.#pageCounts[last] = endPage - this.#startPages[last]!;
      return;
    }
    this.#budget.take();
    if (this.#count === this.#flags.length) this.#grow();
    this.#startPages[this.#count] = startPage;
    this.#pageCounts[this.#count] = endPage - startPage;
    this.#flags[this.#count++] = flags;
  }

  /** Everything that was said. */
  runs(): ListedRuns {
    return {
      startPages: this.#startPages.slice(0, this.#count),
      pageCounts: this.#pageCounts.slice(0, this.#count),
      flags: this.#flags.slice(0, this.#count),
    };
  }

  /** All pages, those of the parent included. */
  pages(): PageRangeList {
    const pages = new PageRangeList();
    for (let run = 0; run < this.#count; run++) {
      pages.append(this.#startPages[run]!, this.#startPages[run]! + this.#pageCounts[run]!);
    }
    return pages;
  }

  #grow(): void {
    const capacity = this.#flags.length * 2;
    this.#startPages = grown(this.#startPages, new Float64Array(capacity));
    this.#pageCounts = grown(this.#pageCounts, new Float64Array(capacity));
    this.#flags = grown(this.#flags, new Uint8Array(capacity));
  }
}

function grown<Column extends Float64Array | Uint8Array>(old: Column, larger: Column): Column {
  larger.set(old);
  return larger;
}
