import { PAGE_SIZE } from '../../core/index.ts';
import type { HostCosts } from '../costs.ts';
import { Guest } from '../guest.ts';
import type { Link } from '../link.ts';
import type { MigratingMemory } from '../memory.ts';
import type { Outcome, StrategyName } from '../outcome.ts';
import { PageBitmap } from '../page-bitmap.ts';
import { RoundLog } from '../rounds.ts';
import { DirtyLimitedMemory } from './dirty-limit.ts';
import type { QemuOptions } from './options.ts';
import { PAGES_BETWEEN_CLOCKS, PageSender } from './page-sender.ts';
import { PostcopyGuest } from './postcopy.ts';
import { AutoConverge } from './throttle.ts';

/** Length of a bandwidth window (BUFFER_DELAY of migration/migration.c). */
const WINDOW_MICROSECONDS = 100_000;
/** A step of sending lasts at most so long (MAX_WAIT of migration/ram.c). */
const STEP_MILLISECONDS = 50;
/** Where contents matter, the guest's writes are caught up with so often. */
const PAGES_BETWEEN_LOOKS = 8;
/** With auto-converge memory is synced at least so often after the first pass (since QEMU 9.2). */
const PERIODIC_SYNC_MICROSECONDS = 5_000_000;
/** Setup of RAM blocks, and a step with nothing to send. */
const SETUP_BYTES = 400;
const IDLE_STEP_MICROSECONDS = 20;
/** How often a post-copy that keeps to its limit looks for requests. */
const POSTCOPY_WAIT_MICROSECONDS = 500;
/** Unit in which the list of pages to be discarded is sent: 12 ranges of 16 bytes. */
const DISCARD_BYTES_PER_PAGE = 4;

/**
 * QEMU's migration of one guest, page by page: the loop of migration_thread (migration/migration.c) with ram.c behind
 * it, as in QEMU 10. Times are microseconds from the command to migrate.
 */
export class QemuMigration {
  readonly #memory: MigratingMemory;
  readonly #link: Link;
  readonly #options: QemuOptions;
  readonly #costs: HostCosts;
  readonly #guest: Guest;
  readonly #pending = new PageBitmap(0);
  readonly #log = new RoundLog();
  readonly #sender: PageSender;
  readonly #throttle: AutoConverge;
  readonly #limited: DirtyLimitedMemory | undefined;
  readonly #giveUpAfter: number;
  /** Bytes that may remain when the guest is stopped. */
  #threshold = 0;
  #windowStart = 0;
  #windowStartBytes = 0;
  #nextPeriodicSync = PERIODIC_SYNC_MICROSECONDS;
  #syncsAtLastTick = 0;

  constructor(
    memory: MigratingMemory,
    link: Link,
    options: QemuOptions,
    costs: HostCosts,
    giveUpAfterMicroseconds: number,
    pace = 1,
  ) {
    this.#limited = options.dirtyLimit ? new DirtyLimitedMemory(memory, options) : undefined;
    this.#memory = this.#limited ?? memory;
    this.#link = link;
    this.#options = options;
    this.#costs = costs;
    this.#giveUpAfter = giveUpAfterMicroseconds;
    this.#guest = new Guest(this.#memory, pace);
    this.#throttle = new AutoConverge(options, this.#limited);
    this.#sender = new PageSender(this.#guest, this.#pending, this.#log, link, options, costs);
  }

  run(): Outcome {
    this.#setUp();
    while (this.#now < this.#giveUpAfter) {
      if (!this.#budgetUsed()) {
        const next = this.#decide();
        if (next === 'complete') return this.#complete();
        if (next === 'post-copy') return this.#postcopy();
        this.#step();
      }
      this.#pace();
    }
    return this.#outcome('does-not-converge', this.#giveUpAfter, 0, 0);
  }

  get #now(): number {
    return this.#sender.now;
  }

  #setUp(): void {
    this.#sender.stream.now = this.#link.setupMicroseconds;
    this.#sender.stream.bytes(SETUP_BYTES);
    this.#sender.stream.flush();
    const { resident } = this.#memory;
    this.#pending.absorb(resident);
    this.#sync();
    this.#openWindow();
  }

  /** migration_iteration_run: has enough been sent to stop, or to go over to post-copy? */
  #decide(): 'complete' | 'post-copy' | 'go on' {
    if (this.#remainingBytes < this.#threshold) this.#sync();
    if (this.#postcopyDue()) return 'post-copy';
    return this.#remainingBytes < this.#threshold ? 'complete' : 'go on';
  }

  get #remainingBytes(): number {
    return this.#pending.count * PAGE_SIZE;
  }

  #postcopyDue(): boolean {
    const after = this.#options.postcopyAfter;
    if (after === undefined) return false;
    return 'rounds' in after ? this.#log.count > after.rounds : this.#now >= after.microseconds;
  }

  /** ram_save_iterate: sends until the window's budget is used, nothing is pending, or 50 ms have passed. */
  #step(): void {
    const start = this.#now;
    this.#sender.beginStep();
    for (let sent = 0; !this.#budgetUsed(); ) {
      if (this.#sender.sendsDifferences && sent % PAGES_BETWEEN_LOOKS === 0) this.#guest.advance(this.#now);
      sent += this.#sender.sendFullBuffers(sent, this.#budgetBytes, start + (STEP_MILLISECONDS + 1) * 1000);
      const clock = Math.ceil(sent / PAGES_BETWEEN_CLOCKS) * PAGES_BETWEEN_CLOCKS + 1;
      if (this.#budgetUsed()) break;
      const more = this.#sender.send(clock - sent, false);
      if (more === 0) break;
      sent += more;
      if (sent < clock) continue;
      if (Math.floor((this.#now - start) / 1000) > STEP_MILLISECONDS) break;
    }
    this.#sender.stream.endStep();
    this.#drawCurve();
    if (this.#now === start) this.#sender.stream.now += IDLE_STEP_MICROSECONDS;
    this.#syncPeriodically();
  }

  #drawCurve(): void {
    if (this.#log.curve.isDue(this.#now)) this.#log.curve.add(this.#now, this.#remainingBytes);
  }

  #budgetUsed(): boolean {
    return this.#exceeded(this.#options.maxBandwidth);
  }

  /** What may have been written in all before this window's budget is used. */
  get #budgetBytes(): number {
    const { maxBandwidth } = this.#options;
    if (maxBandwidth === 0) return Number.POSITIVE_INFINITY;
    return this.#windowStartBytes + Math.floor(maxBandwidth / 10);
  }

  #postcopyBudgetUsed(): boolean {
    return this.#exceeded(this.#options.maxPostcopyBandwidth);
  }

  /** Whether this window's share of a rate has been sent; 0 is no limit. */
  #exceeded(bytesPerSecond: number): boolean {
    if (bytesPerSecond === 0) return false;
    return this.#sender.writtenBytes - this.#windowStartBytes > Math.floor(bytesPerSecond / 10);
  }

  /** migration_rate_limit: closes the window when it is over; sleeps until then when its budget is used. */
  #pace(): void {
    this.#closeWindow();
    if (!this.#budgetUsed()) return;
    const woken = this.#windowStart + WINDOW_MICROSECONDS + this.#costs.wakeMicroseconds;
    this.#sender.stream.now = Math.max(this.#now, woken);
    this.#syncPeriodically();
    this.#closeWindow();
  }

  #closeWindow(): void {
    const elapsed = Math.floor((this.#now - this.#windowStart) / 1000);
    if (elapsed < WINDOW_MICROSECONDS / 1000) return;
    const written = this.#sender.writtenBytes;
    const { availSwitchoverBandwidth, downtimeLimitMicroseconds } = this.#options;
    const bytesPerMillisecond =
      availSwitchoverBandwidth > 0
        ? availSwitchoverBandwidth / 1000
        : (written - this.#windowStartBytes) / elapsed;
    this.#threshold = (bytesPerMillisecond * downtimeLimitMicroseconds) / 1000;
    this.#openWindow();
  }

  #openWindow(): void {
    this.#windowStart = this.#now;
    this.#windowStartBytes = this.#sender.writtenBytes;
  }

  /** Reads the dirty log: what was written since the last time is pending. */
  #sync(): void {
    this.#guest.advance(this.#now);
    this.#log.curve.add(this.#now, this.#remainingBytes);
    const dirtied = this.#memory.dirty.count;
    const added = this.#pending.absorb(this.#memory.dirty);
    const written = this.#sender.writtenBytes;
    this.#throttle.synced(this.#now, added, written);
    this.#guest.throttle(this.#throttle.throttling, this.#now);
    this.#log.begin(
      this.#now,
      dirtied,
      this.#pending.count,
      written,
      this.#throttle.percent + (this.#limited?.sleepPercent ?? 0),
    );
    const gibibytes = (this.#memory.pageCount * PAGE_SIZE) / 2 ** 30;
    this.#sender.stream.now += this.#costs.syncMicrosecondsPerGibibyte * gibibytes;
    this.#sender.synced();
  }

  /** The timer that auto-converge runs beside the loop: a tick that finds no new sync makes one. */
  #syncPeriodically(): void {
    if (!this.#options.autoConverge) return;
    while (this.#now >= this.#nextPeriodicSync) {
      this.#nextPeriodicSync += PERIODIC_SYNC_MICROSECONDS;
      if (this.#log.count > 1 && this.#log.count === this.#syncsAtLastTick) this.#sync();
      this.#syncsAtLastTick = this.#log.count;
    }
  }

  /** migration_completion: the guest stands still, the rest is sent without a limit. */
  #complete(): Outcome {
    const decided = this.#now;
    const stopped = this.#stopGuest();
    while (this.#sender.send(Number.POSITIVE_INFINITY, true) > 0) this.#drawCurve();
    this.#sender.flushChannels();
    this.#sender.stream.bytes(this.#costs.stateBytes);
    this.#sender.stream.endStep();
    const resumed = this.#arrival() + this.#costs.resumeMicroseconds;
    this.#log.end(0, this.#sender.writtenBytes);
    return this.#outcome('converges', this.#now, resumed - stopped, this.#now - decided);
  }

  /** @returns when the guest stood still. */
  #stopGuest(): number {
    this.#sender.stream.now += this.#costs.stopMicroseconds;
    const stopped = this.#now;
    this.#guest.stop(stopped);
    this.#sync();
    this.#limited?.end();
    return stopped;
  }

  /** When everything written has reached the destination. */
  #arrival(): number {
    return this.#link.arrivalAt(this.#now);
  }

  /** postcopy_start: only the list of stale pages and the devices go before the guest runs at the destination. */
  #postcopy(): Outcome {
    const decided = this.#now;
    const passes = this.#log.count;
    const stopped = this.#stopGuest();
    this.#sender.flushChannels();
    const stale = passes > 1 ? this.#pending.count * DISCARD_BYTES_PER_PAGE : 0;
    this.#sender.stream.bytes(this.#costs.stateBytes + stale);
    this.#sender.stream.endStep();
    const reported = this.#now - decided;
    const resumed = this.#arrival() + this.#costs.resumeMicroseconds;
    this.#sender.beginPostcopy();
    this.#openWindow();
    const away = new PostcopyGuest(this.#memory, this.#pending, resumed, this.#link, this.#options);
    while (this.#sendPostcopy(away)) {
      if (this.#now > this.#giveUpAfter) {
        return this.#outcome('does-not-converge', this.#giveUpAfter, resumed - stopped, reported);
      }
    }
    this.#sender.stream.endStep();
    const end = this.#arrival() + this.#link.roundTripMicroseconds / 2;
    away.allArrived(end);
    this.#log.end(0, this.#sender.writtenBytes);
    return this.#outcome(
      'converges',
      end,
      resumed - stopped,
      reported,
      passes > 1 ? 'hybrid' : 'post-copy',
      away,
    );
  }

  /** Sends the page that the guest waits for, else some of those behind it, within the limit for those. */
  #sendPostcopy(away: PostcopyGuest): boolean {
    let wanted = away.request(this.#now);
    while (wanted < 0 && this.#postcopyBudgetUsed()) {
      this.#sender.stream.now += POSTCOPY_WAIT_MICROSECONDS;
      if (this.#now >= this.#windowStart + WINDOW_MICROSECONDS) this.#openWindow();
      wanted = away.request(this.#now);
    }
    if (wanted >= 0) this.#sender.seek(wanted);
    const sent = this.#sender.send(wanted >= 0 ? 1 : this.#pagesUntil(away.nextLook), true) > 0;
    this.#drawCurve();
    if (wanted >= 0) {
      this.#sender.stream.flush();
      away.answered(this.#arrival());
    }
    return sent;
  }

  /** How many pages can be put into the stream before an instant, the first one in any case. */
  #pagesUntil(instant: number): number {
    const { pageNanoseconds, zeroPageNanoseconds } = this.#costs;
    const microseconds = Math.max(pageNanoseconds, zeroPageNanoseconds) / 1000;
    return Math.max(1, Math.ceil((instant - this.#now) / microseconds));
  }

  #outcome(
    verdict: Outcome['verdict'],
    total: number,
    downtime: number,
    reported: number,
    strategy: StrategyName = 'pre-copy',
    away?: PostcopyGuest,
  ): Outcome {
    this.#guest.advance(this.#now);
    this.#log.end(this.#memory.dirty.count, this.#sender.writtenBytes);
    return {
      verdict,
      policy: 'qemu',
      strategy,
      totalMicroseconds: Math.round(total),
      downtimeMicroseconds: Math.round(downtime),
      reportedDowntimeMicroseconds: Math.round(reported),
      setupMicroseconds: this.#link.setupMicroseconds,
      transferredBytes: Math.round(this.#sender.writtenBytes),
      pages: {
        normal: this.#log.normalPages,
        duplicate: this.#log.zeroPages,
        xbzrle: this.#log.differencePages,
      },
      rounds: this.#log.rounds,
      curve: this.#log.curve.end(total, this.#remainingBytes),
      service: {
        throttledMicroseconds: Math.round(
          this.#guest.throttledMicroseconds + (this.#limited?.sleptMicroseconds ?? 0),
        ),
        faultedPages: away?.faultedPages ?? 0,
        faultMicroseconds: Math.round(away?.waitedMicroseconds ?? 0),
      },
    };
  }
}
