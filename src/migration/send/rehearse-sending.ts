import { PAGE_SIZE, UsageError } from '../../core/index.ts';
import type { HostCosts } from '../costs.ts';
import { Guest } from '../guest.ts';
import type { Link } from '../link.ts';
import type { MigratingMemory } from '../memory.ts';
import type { Outcome } from '../outcome.ts';
import { PageBitmap } from '../page-bitmap.ts';
import { RoundLog } from '../rounds.ts';
import type { Rules } from './rules.ts';
import { BATCH_PAGES, PAGES_BETWEEN_PEEKS, WINDOW_MICROSECONDS } from './sending-constants.ts';
import { type SendingCosts, unchangedAfter } from './sending-costs.ts';

/** Fields of a message with pages, with its frame; what each range of pages adds. */
const MESSAGE_BYTES = 30;
const RANGE_BYTES = 3;

/** What a rehearsal of `ckpt migrate` goes by. */
export interface SendingModel {
  readonly memory: MigratingMemory;
  readonly link: Link;
  readonly rules: Rules;
  readonly costs: HostCosts;
  readonly sending: SendingCosts;
  readonly giveUpAfterMicroseconds: number;
  /** How much faster the program runs during the migration than it was seen to. */
  readonly pace: number;
}

/**
 * Rehearses a migration by `sendTarget` in virtual time: the same rounds, looks and rules, with pages in batches and
 * windows as it sends them.
 * @throws UsageError for post-copy
 */
export function rehearseSending(model: SendingModel): Outcome {
  if (model.rules.isLazy) {
    throw new UsageError("post-copy by ckpt migrate is not rehearsed, only that of the policy's own system", {
      hint: '--sender system rehearses it',
    });
  }
  return new SendingRehearsal(model).run();
}

class SendingRehearsal {
  readonly #model: SendingModel;
  readonly #guest: Guest;
  readonly #log = new RoundLog();
  readonly #pending = new PageBitmap(0);
  readonly #sentBefore = new PageBitmap(0);
  /** Written since the last look, and sent afterwards: the next look names them, but the destination has them. */
  readonly #absorbed = new PageBitmap(0);
  /** Those of them that the last look named. */
  readonly #current = new PageBitmap(0);
  readonly #pacer = { windowStart: 0, used: 0 };
  readonly #meter = { busy: 0, memory: 0, rate: 0, last: 0 };
  #now: number;
  #sentBytes = 0;
  #lookedAt = 0;
  /** Of the pages that the last look named. */
  #unchangedShare = 0;
  #written = 0;
  /** Pages that are not sent because they are as they were, in fractions of one. */
  #spared = 0;

  constructor(model: SendingModel) {
    this.#model = model;
    this.#guest = new Guest(model.memory, model.pace);
    this.#now = Math.max(model.link.setupMicroseconds, model.sending.setupMicroseconds);
    this.#pending.absorb(model.memory.resident);
  }

  run(): Outcome {
    const { rules, giveUpAfterMicroseconds: giveUpAfter } = this.#model;
    const setup = this.#now;
    if (!rules.stopsFirst) {
      this.#look();
      const memoryPages = this.#pending.count;
      let totalPages = 0;
      for (let number = 1; ; number++) {
        const pendingPages = this.#pending.count;
        const began = this.#now;
        this.#beginRound();
        const { sentPages, skippedPages } = this.#sendRound(
          rules.rate,
          rules.skipsWritten,
          () => this.#now <= giveUpAfter,
        );
        totalPages += sentPages;
        this.#now += this.#model.sending.storeMicroseconds;
        const microseconds = this.#now - began;
        const round = {
          number,
          pendingPages,
          sentPages,
          skippedPages,
          memoryPages,
          totalPages,
          microseconds,
        };
        if (rules.isLast(round)) break;
        if (this.#now > giveUpAfter) return this.#outcome('does-not-converge', setup, undefined);
        this.#now = Math.max(this.#now, this.#lookedAt + WINDOW_MICROSECONDS);
        const writtenPages = this.#look();
        const found = {
          pendingPages: this.#pending.count,
          writtenPages,
          microseconds: this.#now - began,
          bytesPerSecond: this.#rate,
        };
        if (rules.isEnough(found)) break;
      }
    }
    return this.#stop(setup);
  }

  #stop(setup: number): Outcome {
    const { sending, costs, link, rules } = this.#model;
    this.#now += sending.lookMicroseconds - sending.lookFrozenMicroseconds;
    const stopped = this.#now;
    this.#guest.stop(stopped);
    this.#absorb();
    // The state is captured in the stop, too.
    this.#now += sending.lookFrozenMicroseconds + costs.stopMicroseconds;
    this.#beginRound();
    this.#write(costs.stateBytes);
    this.#sendRound(rules.finalRate, false, () => true);
    const arrived = this.#now;
    this.#now += link.roundTripMicroseconds / 2 + sending.prepareMicroseconds;
    return this.#outcome('converges', setup, { stopped, arrived });
  }

  /** Stops the target for a moment and takes what was written. @returns its pages */
  #look(): number {
    const { lookMicroseconds, lookFrozenMicroseconds } = this.#model.sending;
    this.#now += lookMicroseconds - lookFrozenMicroseconds;
    this.#guest.stop(this.#now);
    const written = this.#absorb();
    this.#now += lookFrozenMicroseconds;
    this.#guest.resume(this.#now);
    this.#lookedAt = this.#now;
    return written;
  }

  #absorb(): number {
    const { dirty } = this.#model.memory;
    const absorbed = this.#absorbed;
    this.#unchangedShare = unchangedAfter(this.#model.sending.again, this.#now - this.#lookedAt);
    this.#current.clear();
    for (let page = absorbed.next(0); page >= 0; page = absorbed.next(page + 1)) {
      if (dirty.has(page)) absorbed.remove(page);
      else this.#current.add(page);
    }
    const written = dirty.count + absorbed.count;
    this.#pending.absorb(dirty);
    this.#pending.absorb(absorbed);
    this.#written += written;
    return written;
  }

  #beginRound(): void {
    this.#log.begin(
      this.#now,
      this.#log.count === 0 ? 0 : this.#written,
      this.#pending.count,
      this.#sentBytes,
      0,
    );
    this.#written = 0;
    this.#meter.last = this.#now;
  }

  #sendRound(
    rate: number,
    skipsWritten: boolean,
    goesOn: () => boolean,
  ): { sentPages: number; skippedPages: number } {
    const before = this.#log.sentPages;
    const skipped = new PageBitmap(0);
    const pending = this.#pending;
    this.#write(this.#model.sending.mappingsBytes);
    let readSincePeek = PAGES_BETWEEN_PEEKS;
    for (let page = pending.next(0); page >= 0; ) {
      if (!goesOn()) break;
      if (skipsWritten && readSincePeek >= PAGES_BETWEEN_PEEKS) {
        readSincePeek = 0;
        this.#peek();
      }
      const batch: number[] = [];
      for (; page >= 0 && batch.length < BATCH_PAGES; page = pending.next(page + 1)) {
        pending.remove(page);
        if (skipsWritten && this.#model.memory.dirty.has(page)) skipped.add(page);
        else batch.push(page);
      }
      readSincePeek += batch.length;
      this.#sendBatch(batch, rate);
    }
    const skippedPages = skipped.count;
    pending.absorb(skipped);
    this.#now = this.#model.link.arrivalAt(this.#now) + this.#model.link.roundTripMicroseconds / 2;
    this.#measure(0);
    return { sentPages: this.#log.sentPages - before, skippedPages };
  }

  /** A look at what has been written, which stays in the log. */
  #peek(): void {
    const { lookMicroseconds, lookFrozenMicroseconds } = this.#model.sending;
    this.#guest.stop(this.#now);
    this.#now += lookFrozenMicroseconds;
    this.#guest.resume(this.#now);
    this.#now += lookMicroseconds - lookFrozenMicroseconds;
  }

  #sendBatch(pages: readonly number[], rate: number): void {
    this.#now += (pages.length * this.#model.sending.pageNanoseconds) / 1000;
    this.#guest.advance(this.#now);
    const { dirty } = this.#model.memory;
    const data = { pages: 0, ranges: 0, last: -1, bytes: 0 };
    const zeros = { pages: 0, ranges: 0, last: -1 };
    for (const page of pages) {
      const isAsSent = this.#isAsSent(page);
      if (dirty.has(page)) {
        dirty.remove(page);
        this.#absorbed.add(page);
      } else if (isAsSent) continue;
      const isZero = this.#model.memory.isZero(page);
      const tally = isZero ? zeros : data;
      tally.pages++;
      if (page !== tally.last + 1) tally.ranges++;
      tally.last = page;
      if (!isZero) data.bytes += PAGE_SIZE * this.#shareOf(page);
      this.#sentBefore.add(page);
    }
    this.#log.zeroPages += zeros.pages;
    this.#log.normalPages += data.pages;
    for (const { pages: count, ranges, bytes } of [{ ...zeros, bytes: 0 }, data]) {
      if (count === 0) continue;
      this.#admit(rate);
      this.#write(MESSAGE_BYTES + RANGE_BYTES * ranges + bytes);
    }
    this.#measure(pages.length);
    if (this.#log.curve.isDue(this.#now)) this.#log.curve.add(this.#now, this.#pending.count * PAGE_SIZE);
  }

  /** Whether a page need not be sent since it holds what it held when it was sent. */
  #isAsSent(page: number): boolean {
    if (!this.#sentBefore.has(page)) return false;
    if (this.#current.has(page)) return true;
    this.#spared += this.#unchangedShare;
    if (this.#spared < 1) return false;
    this.#spared--;
    return true;
  }

  #shareOf(page: number): number {
    const { firstShare, again } = this.#model.sending;
    const share = this.#sentBefore.has(page) ? again[0]?.share : firstShare;
    return share ?? this.#model.costs.compressedShare ?? this.#model.memory.compressedShare(page);
  }

  #write(bytes: number): void {
    this.#now = this.#model.link.write(bytes, this.#now);
    this.#sentBytes += bytes;
    this.#pacer.used += bytes;
  }

  /** As `Pacer`. */
  #admit(rate: number): void {
    if (!Number.isFinite(rate)) return;
    const budget = (rate * WINDOW_MICROSECONDS) / 1e6;
    for (;;) {
      const windows = Math.floor((this.#now - this.#pacer.windowStart) / WINDOW_MICROSECONDS);
      if (windows > 0) {
        this.#pacer.windowStart += windows * WINDOW_MICROSECONDS;
        this.#pacer.used = Math.max(0, this.#pacer.used - windows * budget);
      }
      if (this.#pacer.used < budget) return;
      this.#now = this.#pacer.windowStart + WINDOW_MICROSECONDS;
    }
  }

  /** As `BandwidthMeter`. */
  #measure(pages: number): void {
    const meter = this.#meter;
    meter.busy += this.#now - meter.last;
    meter.last = this.#now;
    meter.memory += pages * PAGE_SIZE;
    if (meter.busy < WINDOW_MICROSECONDS) return;
    meter.rate = (meter.memory * 1e6) / meter.busy;
    meter.busy = 0;
    meter.memory = 0;
  }

  get #rate(): number {
    const { rate, memory, busy } = this.#meter;
    return rate === 0 && busy > 0 ? (memory * 1e6) / busy : rate;
  }

  #outcome(
    verdict: Outcome['verdict'],
    setup: number,
    stop: { readonly stopped: number; readonly arrived: number } | undefined,
  ): Outcome {
    const log = this.#log;
    log.end(stop === undefined ? this.#model.memory.dirty.count : 0, this.#sentBytes);
    const { policy, stopsFirst } = this.#model.rules;
    return {
      verdict,
      policy,
      strategy: stopsFirst ? 'stop-and-copy' : 'pre-copy',
      totalMicroseconds: Math.round(this.#now),
      downtimeMicroseconds: stop === undefined ? 0 : Math.round(this.#now - stop.stopped),
      reportedDowntimeMicroseconds: stop === undefined ? 0 : Math.round(stop.arrived - stop.stopped),
      setupMicroseconds: Math.round(setup),
      transferredBytes: Math.round(this.#sentBytes),
      pages: { normal: log.normalPages, duplicate: log.zeroPages, xbzrle: 0 },
      rounds: log.rounds,
      curve: log.curve.end(this.#now, this.#pending.count * PAGE_SIZE),
      service: { throttledMicroseconds: 0, faultedPages: 0, faultMicroseconds: 0 },
    };
  }
}
