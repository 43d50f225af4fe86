import { PAGE_SIZE } from '../../core/index.ts';
import type { HostCosts } from '../costs.ts';
import { Guest } from '../guest.ts';
import type { Link } from '../link.ts';
import { type MigratingMemory, zerosAmong } from '../memory.ts';
import type { Outcome, PolicyName } from '../outcome.ts';
import { bitsOf, lowestBits, PageBitmap } from '../page-bitmap.ts';
import { PostcopyGuest } from '../qemu/postcopy.ts';
import { RoundLog } from '../rounds.ts';
import { followProgram, type Pager } from './postcopy.ts';

/** Bytes that a page costs on the wire beside itself, and a page of zeros altogether. */
export interface PageFraming {
  readonly headerBytes: number;
  readonly zeroPageBytes: number;
}

/** How pages follow a program that goes on without them. */
export interface PostcopyPlan {
  readonly pager: Pager;
  /** Whether requested pages overtake those that were sent without being asked for. */
  readonly ownConnection: boolean;
  readonly giveUpAfter: number;
  /** What the destination needs before the program runs, besides receiving its state. */
  readonly restoreMicroseconds?: number;
}

/** Pages that are handed to the link at once. */
const BATCH_PAGES = 32;

/**
 * What all policies share that send memory round by round: the program runs on while a set of pages is sent, then the
 * dirty log gives the next set; at last the program stops and the rest follows.
 */
export class RoundEngine {
  readonly memory: MigratingMemory;
  readonly guest: Guest;
  readonly log = new RoundLog();
  /** Pages to send in the round that runs or comes next. */
  readonly pending = new PageBitmap(0);
  now: number;
  sentBytes = 0;
  readonly link: Link;
  readonly #costs: HostCosts;
  readonly #framing: PageFraming;
  #batchBytes = 0;
  #batchPages = 0;
  #stoppedAt: number | undefined;
  /** What `peekDirty` has seen since the last sync. */
  readonly #peeked = new PageBitmap(0);
  /** Pages that were taken from the pending ones and are to be sent. */
  #takenPages = 0;
  /** In post-copy pages are as they were at the stop. */
  #zerosAtStop: PageBitmap | undefined;

  constructor(memory: MigratingMemory, link: Link, costs: HostCosts, framing: PageFraming, pace: number) {
    this.memory = memory;
    this.guest = new Guest(memory, pace);
    this.link = link;
    this.#costs = costs;
    this.#framing = framing;
    this.now = link.setupMicroseconds;
    this.pending.absorb(memory.resident);
    this.guest.advance(this.now);
    this.#look();
  }

  /** Reads the dirty log into `pending` and begins a round. @returns pages that were not pending before. */
  sync(): number {
    this.guest.advance(this.now);
    return this.#look();
  }

  /** Looks at what has been written since the last sync. @param visit is told of the words with pages that are new. */
  peekDirty(visit: (word: number, pages: number) => void): void {
    this.guest.advance(this.now);
    const { dirty } = this.memory;
    const peeked = this.#peeked;
    for (let word = dirty.nextWord(0); word >= 0; word = dirty.nextWord(word + 1)) {
      const fresh = dirty.word(word) & ~peeked.word(word);
      if (fresh !== 0) visit(word, fresh);
    }
    peeked.absorb(dirty);
  }

  /** Takes all pending pages for a round in an order of its own, whose pages `sendPages` sends or `skip` leaves out. */
  takePending(): PageBitmap {
    const taken = new PageBitmap(0);
    taken.absorb(this.pending);
    this.#takenPages = taken.count;
    return taken;
  }

  /** So many of the pages taken are left to a later round: they have been written again. */
  skip(count: number): void {
    this.#takenPages -= count;
  }

  /**
   * Sends the pages of a word whose bits are set in `pages`, as far as they are pending: one that the program asks for
   * may have been sent since it missed it.
   */
  send(word: number, pages: number, bytesPerSecond: number): void {
    const due = pages & this.pending.word(word);
    const zeros = this.#zerosAtStop ? due & this.#zerosAtStop.word(word) : zerosAmong(this.memory, word, due);
    this.#takenPages += this.pending.removeFromWord(word, due);
    this.sendPages(due, zeros, bytesPerSecond);
  }

  /** Sends pages that are no longer pending, a bit each; those in `zeros` hold zeros only. */
  sendPages(pages: number, zeros: number, bytesPerSecond: number): void {
    const { pageNanoseconds, zeroPageNanoseconds } = this.#costs;
    for (let rest = pages; rest !== 0; ) {
      const held = bitsOf(rest);
      const count = Math.min(held, BATCH_PAGES - this.#batchPages);
      const batch = count === held ? rest : lowestBits(rest, count);
      const zeroCount = bitsOf(batch & zeros);
      const normalCount = count - zeroCount;
      this.log.zeroPages += zeroCount;
      this.log.normalPages += normalCount;
      this.now += (zeroCount * zeroPageNanoseconds + normalCount * pageNanoseconds) / 1000;
      this.#batchBytes +=
        zeroCount * this.#framing.zeroPageBytes + normalCount * (PAGE_SIZE + this.#framing.headerBytes);
      this.#batchPages += count;
      this.#takenPages -= count;
      if (this.#batchPages >= BATCH_PAGES) this.flush(bytesPerSecond);
      rest ^= batch;
    }
  }

  /** Sends every pending page, in the order of their numbers, at most at the given rate. */
  sendPending(bytesPerSecond: number): void {
    const { pending } = this;
    for (let word = pending.nextWord(0); word >= 0; word = pending.nextWord(word + 1)) {
      this.send(word, pending.word(word), bytesPerSecond);
    }
    this.flush(bytesPerSecond);
  }

  /** Hands what is gathered to the link, no faster than the rate. */
  flush(bytesPerSecond: number): void {
    if (this.#batchBytes === 0) return;
    const paced = this.now + (this.#batchBytes / bytesPerSecond) * 1e6;
    this.sentBytes += this.#batchBytes;
    const written = this.link.write(this.#batchBytes, this.now);
    this.now = Number.isFinite(paced) ? Math.max(written, paced) : written;
    this.#batchBytes = 0;
    this.#batchPages = 0;
    if (this.log.curve.isDue(this.now)) this.log.curve.add(this.now, this.#remainingBytes);
  }

  /** Waits until everything sent so far has arrived. */
  drain(): void {
    this.now = this.link.arrivalAt(this.now);
  }

  /** Stops the program; what it wrote until then is pending. */
  stop(): void {
    this.now += this.#costs.stopMicroseconds;
    this.#stoppedAt = this.now;
    this.guest.stop(this.now);
    this.#look();
  }

  /** The program is suspended for a moment, as a pre-dump does, and goes on. */
  suspend(microseconds: number): void {
    this.guest.stop(this.now);
    this.now += microseconds;
    this.guest.resume(this.now);
  }

  /**
   * Sends the rest and the state; the program goes on at the destination.
   * @param liveRounds how many rounds there were before the stop.
   * @param restoreMicroseconds what the destination needs besides for memory that it has only stored so far.
   */
  complete(
    policy: PolicyName,
    liveRounds: number,
    bytesPerSecond = Number.POSITIVE_INFINITY,
    restoreMicroseconds = 0,
  ): Outcome {
    const stopped = this.#stoppedAt ?? this.now;
    this.sendPending(bytesPerSecond);
    this.now = this.link.write(this.#costs.stateBytes, this.now);
    this.sentBytes += this.#costs.stateBytes;
    const reported = this.now - stopped;
    this.drain();
    const end = this.now + this.#costs.resumeMicroseconds + restoreMicroseconds;
    const strategy = liveRounds === 0 ? 'stop-and-copy' : 'pre-copy';
    return this.#outcome('converges', policy, strategy, end, end - stopped, reported);
  }

  /**
   * Sends the state only: the program goes on at the destination at once, and the pages that it has not got follow.
   * @param liveRounds how many rounds there were before the stop.
   */
  completeByPostcopy(
    policy: PolicyName,
    liveRounds: number,
    { pager, ownConnection, restoreMicroseconds = 0, giveUpAfter }: PostcopyPlan,
  ): Outcome {
    const stopped = this.#stoppedAt ?? this.now;
    this.now = this.link.write(this.#costs.stateBytes, this.now);
    this.sentBytes += this.#costs.stateBytes;
    const reported = this.now - stopped;
    const resumed = this.link.arrivalAt(this.now) + this.#costs.resumeMicroseconds + restoreMicroseconds;
    this.#keepZeros();
    const away = new PostcopyGuest(this.memory, this.pending, resumed, this.link, {
      postcopyPreempt: ownConnection,
    });
    pager.resumed?.(resumed, this.link);
    const done = followProgram(this, away, pager, giveUpAfter);
    const end = done ? this.link.arrivalAt(this.now) + this.link.roundTripMicroseconds / 2 : giveUpAfter;
    away.allArrived(end);
    const strategy = liveRounds === 0 ? 'post-copy' : 'hybrid';
    return {
      ...this.#outcome(
        done ? 'converges' : 'does-not-converge',
        policy,
        strategy,
        Math.max(end, resumed),
        resumed - stopped,
        reported,
      ),
      service: {
        throttledMicroseconds: 0,
        faultedPages: away.faultedPages,
        faultMicroseconds: Math.round(away.waitedMicroseconds),
      },
    };
  }

  #keepZeros(): void {
    const zeros = new PageBitmap(this.memory.pageCount);
    const { pending } = this;
    for (let word = pending.nextWord(0); word >= 0; word = pending.nextWord(word + 1)) {
      zeros.addToWord(word, zerosAmong(this.memory, word, pending.word(word)));
    }
    this.#zerosAtStop = zeros;
  }

  /** Nobody waits any longer: the program stays where it is. */
  giveUp(policy: PolicyName): Outcome {
    return this.#outcome('does-not-converge', policy, 'pre-copy', this.now, 0, 0);
  }

  #outcome(
    verdict: Outcome['verdict'],
    policy: PolicyName,
    strategy: Outcome['strategy'],
    total: number,
    downtime: number,
    reported: number,
  ): Outcome {
    this.log.end(this.#peeked.count + this.memory.dirty.count, this.sentBytes);
    return {
      verdict,
      policy,
      strategy,
      totalMicroseconds: Math.round(total),
      downtimeMicroseconds: Math.round(downtime),
      reportedDowntimeMicroseconds: Math.round(reported),
      setupMicroseconds: this.link.setupMicroseconds,
      transferredBytes: Math.round(this.sentBytes),
      pages: {
        normal: this.log.normalPages,
        duplicate: this.log.zeroPages,
        xbzrle: this.log.differencePages,
      },
      rounds: this.log.rounds,
      curve: this.log.curve.end(total, this.pending.count * PAGE_SIZE),
      service: { throttledMicroseconds: 0, faultedPages: 0, faultMicroseconds: 0 },
    };
  }

  get #remainingBytes(): number {
    return (this.pending.count + this.#takenPages) * PAGE_SIZE;
  }

  #look(): number {
    this.log.curve.add(this.now, this.#remainingBytes);
    const { dirty } = this.memory;
    const written = this.#peeked.count === 0 ? dirty : this.#peeked;
    if (written !== dirty) written.absorb(dirty);
    const dirtied = written.count;
    const added = this.pending.absorb(written);
    this.log.begin(this.now, dirtied, this.pending.count, this.sentBytes, 0);
    const gibibytes = (this.memory.pageCount * PAGE_SIZE) / 2 ** 30;
    this.now += this.#costs.syncMicrosecondsPerGibibyte * gibibytes;
    return added;
  }
}
