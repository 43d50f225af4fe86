import { PAGE_SIZE } from '../../core/index.ts';
import type { Link } from '../link.ts';
import type { MigratingMemory } from '../memory.ts';
import type { PageBitmap } from '../page-bitmap.ts';
import type { QemuOptions } from './options.ts';

/** The program runs so far at a time before its accesses are looked at. */
const SLICE_MICROSECONDS = 500;
/** Part of the backlog that waits behind the sockets, in queues that all connections share. */
const SHARED_QUEUE = 0.1;
/** Serving a fault at the destination: userfaultfd, the request, placing the page, waking the thread. */
const SERVICE_MICROSECONDS = 200;

/**
 * The guest at the destination while pages are still missing there. It has one thread: it runs until it touches a page
 * that has not come, asks for it and waits. Pages that are still pending at the source are missing; of what is under
 * way, only the page that it waits for matters.
 */
export class PostcopyGuest {
  faultedPages = 0;
  waitedMicroseconds = 0;
  readonly #memory: MigratingMemory;
  readonly #pending: PageBitmap;
  readonly #link: Link;
  readonly #options: Pick<QemuOptions, 'postcopyPreempt'>;
  /** How far it has got. */
  #at: number;
  /** Missing pages of the last slice that it has not asked for yet. */
  readonly #missing: number[] = [];
  /** When the request for the first of them reaches the source. */
  #askedAt: number | undefined;
  #waitingSince: number | undefined;

  constructor(
    memory: MigratingMemory,
    pending: PageBitmap,
    resumed: number,
    link: Link,
    options: Pick<QemuOptions, 'postcopyPreempt'>,
  ) {
    this.#memory = memory;
    this.#pending = pending;
    this.#link = link;
    this.#options = options;
    this.#at = resumed;
  }

  /** The page that the source has been asked for by now, once; -1 if there is none. */
  request(now: number): number {
    if (this.#waitingSince === undefined) this.#runUntil(now);
    const page = this.#missing[0];
    if (page === undefined || this.#waitingSince !== undefined) return -1;
    this.#askedAt ??= this.#at + this.#link.latency();
    if (this.#askedAt > now) return -1;
    this.#waitingSince = this.#at;
    this.faultedPages++;
    return page;
  }

  /** When there can be a request, or anything else to do here, at the earliest. */
  get nextLook(): number {
    if (this.#missing.length === 0) return this.#at + SLICE_MICROSECONDS;
    return Math.min(this.#at + SLICE_MICROSECONDS, this.#askedAt ?? this.#at);
  }

  /**
   * The requested page has been written and arrives behind everything that was written before. With a connection of
   * its own it overtakes that: it was sent when the request came, by the thread that received it.
   */
  answered(arrival: number): void {
    const since = this.#waitingSince;
    if (since === undefined) return;
    this.#at =
      (this.#options.postcopyPreempt ? since + this.#preemptMicroseconds : arrival) + SERVICE_MICROSECONDS;
    this.waitedMicroseconds += this.#at - since;
    this.#waitingSince = undefined;
    this.#came();
  }

  /** Everything has come: nothing is waited for any longer. */
  allArrived(now: number): void {
    this.waitedMicroseconds += Math.max(0, Math.min(now, now - (this.#waitingSince ?? now)));
    this.#waitingSince = undefined;
  }

  get #preemptMicroseconds(): number {
    const bytesPerMicrosecond = this.#link.bytesPerSecondAt(this.#at) / 1e6;
    const queued = this.#link.backlogAt(this.#at) * SHARED_QUEUE;
    return this.#link.roundTripMicroseconds + (queued + PAGE_SIZE) / bytesPerMicrosecond;
  }

  #came(): void {
    this.#missing.shift();
    this.#askedAt = undefined;
  }

  #runUntil(now: number): void {
    while (this.#at + SLICE_MICROSECONDS <= now) {
      while (this.#missing.length > 0 && !this.#pending.has(this.#missing[0]!)) this.#came();
      if (this.#missing.length > 0) return;
      this.#memory.run(SLICE_MICROSECONDS);
      this.#at += SLICE_MICROSECONDS;
      const { dirty } = this.#memory;
      for (let page = dirty.next(0); page >= 0; page = dirty.next(page + 1)) {
        if (this.#pending.has(page)) this.#missing.push(page);
      }
      dirty.clear();
    }
  }
}
