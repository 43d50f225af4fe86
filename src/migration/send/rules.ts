import { PAGE_SIZE, UsageError } from '../../core/index.ts';
import type { PolicyName } from '../outcome.ts';
import { CLARK_DEFAULTS, type ClarkOptions } from '../policies/clark.ts';
import { CRIU_DEFAULTS, type CriuOptions } from '../policies/criu.ts';
import { FIXED_DEFAULTS, type FixedOptions } from '../policies/fixed.ts';
import { XEN_DEFAULTS, type XenOptions } from '../policies/xen.ts';
import { checkQemuOptions, QEMU_DEFAULTS, type QemuOptions } from '../qemu/options.ts';
import type { PolicyChoice } from '../rehearse-once.ts';

/** What a policy is told of a round that was sent while the target ran. */
export interface SentRound {
  /** From 1. */
  readonly number: number;
  /** Pages that were to be sent when it began. */
  readonly pendingPages: number;
  readonly sentPages: number;
  /** Pages left to the next round because they had been written again. */
  readonly skippedPages: number;
  /** Pages of the first round. */
  readonly memoryPages: number;
  /** Pages of all rounds so far. */
  readonly totalPages: number;
  /** How long it took. */
  readonly microseconds: number;
}

/** What a policy is told of a look at what was written. */
export interface FoundPages {
  /** Pages to send now. */
  readonly pendingPages: number;
  /** Pages written since the look before. */
  readonly writtenPages: number;
  /** Since the look before. */
  readonly microseconds: number;
  /** How fast memory was last seen to get to the destination, counted as what it holds. */
  readonly bytesPerSecond: number;
}

/**
 * When a migration by ckpt goes from one round to the next and when it stops its target: the rules of a system, without
 * what that system's sender is like. A real migration and its rehearsal ask the same object.
 */
export interface Rules {
  readonly policy: PolicyName;
  /** Nothing is sent before the target has stopped. */
  readonly stopsFirst: boolean;
  /** Whether the target runs at the destination before all of its memory is there. */
  readonly isLazy: boolean;
  /** Bytes a second that the round under way may send; infinite for no limit. */
  readonly rate: number;
  /** The same for what is sent after the stop. */
  readonly finalRate: number;
  /** Whether pages that have been written again are left to the next round. */
  readonly skipsWritten: boolean;
  /** A round is over. @returns whether the target is to be stopped now */
  isLast(round: SentRound): boolean;
  /** It was looked what was written during a round. @returns whether the target is to be stopped now */
  isEnough(found: FoundPages): boolean;
}

/** @throws UsageError for parameters that make no sense, or that only a system with virtual processors can have. */
export function rulesOf(choice: PolicyChoice): Rules {
  switch (choice.policy) {
    case 'qemu':
      return new QemuRules({ ...QEMU_DEFAULTS, ...choice.options });
    case 'xen':
      return new XenRules({ ...XEN_DEFAULTS, ...choice.options });
    case 'clark':
      return new ClarkRules({ ...CLARK_DEFAULTS, ...choice.options });
    case 'phaul':
      return new PhaulRules();
    case 'criu':
      return new CriuRules({ ...CRIU_DEFAULTS, ...choice.options });
    case 'fixed':
      return new FixedRules({ ...FIXED_DEFAULTS, ...choice.options });
  }
}

abstract class CommonRules implements Rules {
  abstract readonly policy: PolicyName;
  readonly stopsFirst: boolean = false;
  readonly isLazy: boolean = false;
  rate: number = Number.POSITIVE_INFINITY;
  readonly finalRate: number = Number.POSITIVE_INFINITY;
  readonly skipsWritten: boolean = false;

  isLast(_round: SentRound): boolean {
    return false;
  }

  isEnough(_found: FoundPages): boolean {
    return false;
  }
}

/**
 * What remains could be sent within the downtime limit at the bandwidth that was measured (migration/migration.c). QEMU
 * measures bytes on the wire, which says too little of a sender that compresses; here both are memory. And it looks for
 * written pages before a round is over, as soon as little enough is left; here, where each look stops the target, a
 * round is sent whole.
 */
class QemuRules extends CommonRules {
  readonly policy = 'qemu';
  override readonly stopsFirst: boolean;
  override readonly isLazy: boolean;
  readonly #switchRound: number;
  readonly #options: QemuOptions;

  constructor(options: QemuOptions) {
    super();
    checkQemuOptions(options);
    const unsupported = unsupportedQemuOption(options);
    if (unsupported !== undefined) {
      throw new UsageError(`ckpt migrate has no ${unsupported}`, {
        hint: "'ckpt rehearse --sender system' tells what it would bring",
      });
    }
    this.#options = options;
    this.rate = options.maxBandwidth > 0 ? options.maxBandwidth : Number.POSITIVE_INFINITY;
    const { postcopyAfter } = options;
    this.isLazy = postcopyAfter !== undefined;
    this.#switchRound =
      postcopyAfter !== undefined && 'rounds' in postcopyAfter
        ? postcopyAfter.rounds
        : Number.POSITIVE_INFINITY;
    this.stopsFirst = options.stopFirst || this.#switchRound === 0;
  }

  override isLast({ number }: SentRound): boolean {
    return number >= this.#switchRound;
  }

  override isEnough({ pendingPages, bytesPerSecond }: FoundPages): boolean {
    const { availSwitchoverBandwidth, downtimeLimitMicroseconds } = this.#options;
    const bandwidth = availSwitchoverBandwidth > 0 ? availSwitchoverBandwidth : bytesPerSecond;
    // Nothing left is little enough before any bandwidth has been measured, too.
    return pendingPages === 0 || pendingPages * PAGE_SIZE < (bandwidth * downtimeLimitMicroseconds) / 1e6;
  }
}

/** Options that change how QEMU sends, or how its virtual processors run. */
function unsupportedQemuOption(options: QemuOptions): string | undefined {
  if (options.autoConverge) return '--auto-converge: it cannot slow a process down';
  if (options.dirtyLimit) return '--dirty-limit: it cannot slow a process down';
  if (options.xbzrle) return '--xbzrle';
  if (options.multifdChannels > 0) return '--multifd-channels: --connections is what it has';
  if (options.maxPostcopyBandwidth > 0) return '--max-postcopy-bandwidth';
  if (options.postcopyPreempt) return '--postcopy-preempt';
  if (options.clearLog !== QEMU_DEFAULTS.clearLog) return '--clear-log: it has no dirty log';
  return undefined;
}

/** A few rounds whatever they bring (tools/libs/guest/xg_sr_save.c). */
class XenRules extends CommonRules {
  readonly policy = 'xen';
  override readonly stopsFirst: boolean;
  readonly #options: XenOptions;

  constructor(options: XenOptions) {
    super();
    this.stopsFirst = options.maxIterations === 0;
    this.#options = options;
  }

  override isLast({ number, pendingPages, totalPages, memoryPages }: SentRound): boolean {
    const { dirtyThresholdPages, maxIterations, maxFactor } = this.#options;
    return (
      pendingPages < dirtyThresholdPages || number >= maxIterations || totalPages > maxFactor * memoryPages
    );
  }
}

/** A rate that follows that of the writes, sparing what is written all the time (Clark et al. 2005). */
class ClarkRules extends CommonRules {
  readonly policy = 'clark';
  override readonly finalRate: number;
  override readonly skipsWritten: boolean;
  override readonly stopsFirst: boolean;
  readonly #options: ClarkOptions;
  #sentBefore = Number.POSITIVE_INFINITY;

  constructor(options: ClarkOptions) {
    super();
    this.#options = options;
    this.rate = options.minRate;
    this.finalRate = options.maxRate;
    this.skipsWritten = options.skipWritableWorkingSet;
    this.stopsFirst = options.maxIterations === 0;
  }

  override isLast({ number, sentPages, skippedPages, totalPages, memoryPages }: SentRound): boolean {
    const { maxRate, maxIterations, dirtyThresholdPages, maxFactor } = this.#options;
    const grows = sentPages > this.#sentBefore && this.rate === maxRate;
    this.#sentBefore = sentPages;
    return (
      grows ||
      number >= maxIterations ||
      sentPages + skippedPages < dirtyThresholdPages ||
      totalPages > maxFactor * memoryPages
    );
  }

  override isEnough({ writtenPages, microseconds }: FoundPages): boolean {
    const writeRate = (writtenPages * PAGE_SIZE * 1e6) / Math.max(1, microseconds);
    const { rateIncrement, maxRate } = this.#options;
    if (writeRate > this.rate) this.rate = Math.min(writeRate + rateIncrement, maxRate);
    return false;
  }
}

/** go-criu's phaul/client.go: at most eight rounds, fewer when one is small or larger than the one before. */
class PhaulRules extends CommonRules {
  readonly policy = 'phaul';
  #before = 0;

  override isLast({ number, pendingPages }: SentRound): boolean {
    const grown = pendingPages - this.#before;
    this.#before = pendingPages;
    return number >= 8 || pendingPages < 64 || grown >= 32;
  }
}

/** So many pre-dumps, then the dump. */
class CriuRules extends CommonRules {
  readonly policy = 'criu';
  override readonly stopsFirst: boolean;
  override readonly isLazy: boolean;
  readonly #preDumps: number;

  constructor({ preDumps, lazyPages }: CriuOptions) {
    super();
    this.isLazy = lazyPages;
    this.#preDumps = preDumps;
    this.stopsFirst = preDumps === 0;
  }

  override isLast({ number }: SentRound): boolean {
    return number >= this.#preDumps;
  }
}

/** A number of rounds, each of which sends all that the one before left. */
class FixedRules extends CommonRules {
  readonly policy = 'fixed';
  override readonly stopsFirst: boolean;
  override readonly isLazy: boolean;
  override readonly finalRate: number;
  readonly #options: FixedOptions;

  constructor(options: FixedOptions) {
    super();
    this.#options = options;
    this.stopsFirst = options.rounds === 0;
    this.isLazy = options.postcopy !== undefined;
    this.rate = options.maxBandwidth;
    this.finalRate = options.maxBandwidth;
  }

  override isLast({ number }: SentRound): boolean {
    return number >= this.#options.rounds;
  }

  override isEnough({ pendingPages, bytesPerSecond }: FoundPages): boolean {
    return pendingPages * PAGE_SIZE < (bytesPerSecond * this.#options.downtimeLimitMicroseconds) / 1e6;
  }
}
