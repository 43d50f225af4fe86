import { PageRangeList } from '../core/index.ts';
import type { WriteListener } from '../kernel/index.ts';

/** Events that fit into the queue unless told otherwise: a per-CPU trace buffer of 1.4 MB, as ftrace has by default. */
export const DEFAULT_QUEUE_EVENTS = 44_000;

/** What a listener learned in one period. */
export interface QueueContents {
  /** Events that were read from the queue. */
  readonly events: number;
  /** Events that found the queue full. They are counted, so the loss is known; what they said is not. */
  readonly lostEvents: number;
  /** Pages named by the events, by process. Complete only if nothing was lost. */
  readonly pagesOfProcess: ReadonlyMap<number, PageRangeList>;
  /** Events were lost, so any page may have changed: only a full scan tells. */
  readonly fullScanNeeded: boolean;
}

/**
 * The tracker that soft-dirty replaced: write events go into a queue of fixed size, and whoever wants to know what
 * changed reads it. It costs an event a write instead of a fault a page, says more (how often, in which order), and
 * fails under load: the queue fills, later events are dropped, and all that can be said is how many (the objection of
 * the 2013 discussion that led to /proc/PID/clear_refs 4). It hears of stores only: memory that mremap moves onto pages
 * which held something else, it does not hear of.
 */
export class EventQueue implements WriteListener {
  readonly capacity: number;
  readonly #pids: Uint32Array;
  readonly #pages: Float64Array;
  #length = 0;
  #lost = 0;

  constructor(capacity = DEFAULT_QUEUE_EVENTS) {
    this.capacity = capacity;
    this.#pids = new Uint32Array(capacity);
    this.#pages = new Float64Array(capacity);
  }

  /** A program stored to a page. */
  store(pid: number, page: number): void {
    if (this.#length === this.capacity) {
      this.#lost++;
      return;
    }
    this.#pids[this.#length] = pid;
    this.#pages[this.#length++] = page;
  }

  /** Empties the queue; a new period begins. */
  drain(): QueueContents {
    const pagesOf = new Map<number, number[]>();
    for (let index = 0; index < this.#length; index++) {
      const pid = this.#pids[index]!;
      const pages = pagesOf.get(pid);
      if (pages === undefined) pagesOf.set(pid, [this.#pages[index]!]);
      else pages.push(this.#pages[index]!);
    }
    const contents = {
      events: this.#length,
      lostEvents: this.#lost,
      pagesOfProcess: new Map([...pagesOf].map(([pid, pages]) => [pid, rangesOf(pages)])),
      fullScanNeeded: this.#lost > 0,
    };
    this.#length = 0;
    this.#lost = 0;
    return contents;
  }
}

/** Ascending ranges of pages named in any order, any number of times. */
function rangesOf(pages: readonly number[]): PageRangeList {
  const list = new PageRangeList();
  let last = -1;
  for (const page of Float64Array.from(pages).sort()) {
    if (page !== last) list.append(page, page + 1);
    last = page;
  }
  return list;
}
