import { PageRangeList } from '../../core/index.ts';
import type { ProcessView, Vma } from '../../target/index.ts';
import type { ParentPages, Tracker } from '../../tracker/index.ts';
import { untrackedPages } from '../trace/watched-process.ts';
import { DigestLedger, type DigestMemory } from './digest-ledger.ts';

/** One process of the target during its migration: which of its pages the destination has, and which it lacks. */
export class SourceProcess {
  view: ProcessView;
  readonly digests: DigestLedger;
  vmas: readonly Vma[] = [];
  /** Pages whose present content the destination may not have. */
  pending = new PageRangeList();
  /** Pages that the tracker names whether or not they were written; part of `pending`. */
  doubtful = new PageRangeList();
  /** Pages that the last look found written, or doubtful. */
  written = new PageRangeList();
  /** What could not be known of the memory, as sentences. */
  doubts: readonly string[] = [];
  /** Share of the doubtful pages that had really changed when they were last read. */
  changedShare = 1;
  #waiting = new PageRangeList();
  readonly #tracker: Tracker;
  #pages: ParentPages | undefined;
  /** Pages of which the destination has some version. */
  #known = new PageRangeList();
  /** Pages of this round that have been read, or tried to. */
  #taken = new PageRangeList();
  /** Those of them that could not be read: gone, or found again by the next look. */
  #unreadable = new PageRangeList();

  constructor(view: ProcessView, tracker: Tracker, memory: DigestMemory) {
    this.view = view;
    this.#tracker = tracker;
    this.digests = new DigestLedger(memory);
  }

  /** Pages that exist, by the last look. */
  get present(): PageRangeList {
    return this.#pages?.present ?? new PageRangeList();
  }

  /** Pages that are expected to be sent of those that are pending. */
  get expectedPages(): number {
    const doubtful = this.doubtful.pageCount;
    return this.pending.pageCount - doubtful + Math.ceil(doubtful * this.changedShare);
  }

  /**
   * Asks the tracker what was written; the process stands still.
   * @param arm whether the process goes on afterwards and is to be followed.
   * @returns pages that the destination has and that are no more
   */
  scan(arm: boolean): PageRangeList {
    const vmas = this.view.vmas();
    const { suspects, unchanged, doubts, notes } = this.#tracker.collect(this.view, vmas, this.#pages);
    const trackerState = arm ? this.#tracker.arm(this.view, vmas) : undefined;
    // Registered mappings may have joined: the destination is told of them as they are when the process goes on.
    this.vmas = this.#tracker.kind === 'pagemap-scan' ? this.view.vmas() : vmas;
    const present = suspects.union(unchanged);
    this.#pages = { present, trackerState };
    const gone = this.#known.difference(present);
    this.digests.forget(gone);
    this.#known = this.#known.intersection(present);
    const missing = present.difference(this.#known);
    const again = this.pending.union(this.#unreadable).intersection(present);
    this.pending = again.union(suspects).union(missing);
    this.#unreadable = new PageRangeList();
    // A tracker that has something to note names pages which nobody wrote.
    const isVague = this.#tracker.kind === 'compare' || notes.length > 0;
    this.doubtful = isVague ? suspects : suspects.intersection(untrackedPages(vmas));
    this.written = suspects;
    this.doubts = doubts;
    return gone;
  }

  /**
   * Pages written since the last look, without ending the period that the tracker watches; the process stands still.
   */
  peek(): PageRangeList {
    return this.#tracker.collect(this.view, this.view.vmas(), this.#pages).suspects;
  }

  /** The destination is to drop everything. @returns what it has */
  forgetAll(): PageRangeList {
    const known = this.#known;
    this.#known = new PageRangeList();
    return known;
  }

  /** A page has been read, or tried to. Called in the order of addresses. */
  took(page: number, isReadable: boolean): void {
    this.#taken.append(page, page + 1);
    if (!isReadable) this.#unreadable.append(page, page + 1);
  }

  /**
   * The target stands still and is to run elsewhere before its memory is there: what nobody shares with it can wait.
   * @returns what waits; no version of it counts that the destination has
   */
  postpone(): PageRangeList {
    const shared = PageRangeList.of(...this.vmas.filter((vma) => vma.shared));
    const waiting = this.pending.difference(shared);
    this.pending = this.pending.intersection(shared);
    this.digests.forget(waiting);
    this.#waiting = waiting;
    return waiting;
  }

  /** It runs elsewhere now: what has waited is pending. */
  resumePostponed(): void {
    this.pending = this.pending.union(this.#waiting);
    this.#waiting = new PageRangeList();
  }

  /** The round is over. */
  endRound(): void {
    this.pending = this.pending.difference(this.#taken);
    this.#known = this.#known.union(this.#taken.difference(this.#unreadable));
    this.#taken = new PageRangeList();
  }

  /**
   * Everything that could be read has been sent while the process stood still.
   * @returns pages that exist and could not be read: the destination is to have none of them
   */
  endLastRound(): PageRangeList {
    this.endRound();
    const lost = this.#unreadable;
    this.digests.forget(lost);
    this.#pages = { present: this.present.difference(lost), trackerState: undefined };
    return lost;
  }
}
