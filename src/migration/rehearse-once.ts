import { PAGE_SIZE, UsageError } from '../core/index.ts';
import { type HostCosts, USUAL_COSTS } from './costs.ts';
import { Link, type LinkOptions } from './link.ts';
import type { MigratingMemory } from './memory.ts';
import type { Outcome, PolicyName } from './outcome.ts';
import { CLARK_DEFAULTS, CLARK_FRAMING, type ClarkOptions, migrateAsClark } from './policies/clark.ts';
import {
  CRIU_DEFAULTS,
  CRIU_FRAMING,
  type CriuOptions,
  migrateAsCriu,
  migrateAsPhaul,
} from './policies/criu.ts';
import { FIXED_DEFAULTS, FIXED_FRAMING, type FixedOptions, migrateFixed } from './policies/fixed.ts';
import { type PageFraming, RoundEngine } from './policies/round-engine.ts';
import { migrateAsXen, XEN_DEFAULTS, XEN_FRAMING, type XenOptions } from './policies/xen.ts';
import { QemuMigration } from './qemu/migration.ts';
import { checkQemuOptions, QEMU_DEFAULTS, type QemuOptions } from './qemu/options.ts';
import { rehearseSending } from './send/rehearse-sending.ts';
import { rulesOf } from './send/rules.ts';
import type { SendingCosts } from './send/sending-costs.ts';

/** What differs from a policy's own defaults. */
export type PolicyChoice =
  | { readonly policy: 'qemu'; readonly options?: Partial<QemuOptions> }
  | { readonly policy: 'xen'; readonly options?: Partial<XenOptions> }
  | { readonly policy: 'clark'; readonly options?: Partial<ClarkOptions> }
  | { readonly policy: 'phaul' | 'criu'; readonly options?: Partial<CriuOptions> }
  | { readonly policy: 'fixed'; readonly options?: Partial<FixedOptions> };

export interface RehearsalOptions {
  readonly link: LinkOptions;
  readonly choice: PolicyChoice;
  readonly costs?: Partial<HostCosts>;
  /** `ckpt migrate` sends, by the rules of the policy's system; otherwise it is that system itself. */
  readonly sending?: SendingCosts;
  /** How much faster the program runs during the migration than it was seen to. */
  readonly pace?: number;
  /**
   * When a migration that has not come to its end counts as one that does not converge; as a rule after the time in
   * which the memory could be sent `patiencePasses` times, and not before a minute.
   */
  readonly giveUpAfterMicroseconds?: number;
  /** 10 if nothing else is said. */
  readonly patiencePasses?: number;
}

export const POLICY_NAMES: readonly PolicyName[] = ['qemu', 'xen', 'clark', 'phaul', 'criu', 'fixed'];

const SHORTEST_PATIENCE_MICROSECONDS = 60e6;
const USUAL_PATIENCE_PASSES = 10;

/**
 * Rehearses one migration of a memory, which is used up by it.
 * @throws UsageError for options that no migration can have.
 */
export function rehearseOnce(memory: MigratingMemory, options: RehearsalOptions): Outcome {
  const { choice, pace = 1 } = options;
  const costs = { ...USUAL_COSTS, ...options.costs };
  const link = new Link({ connections: connectionsOf(choice), ...options.link });
  const giveUp = options.giveUpAfterMicroseconds ?? usualPatience(memory, link, options);
  if (options.sending !== undefined) {
    const rules = rulesOf(choice);
    checkDowntimeLimit(downtimeLimitOf(choice), link);
    const { sending } = options;
    return rehearseSending({ memory, link, rules, costs, sending, giveUpAfterMicroseconds: giveUp, pace });
  }
  const engine = (framing: PageFraming) => new RoundEngine(memory, link, costs, framing, pace);
  switch (choice.policy) {
    case 'qemu': {
      const parameters = { ...QEMU_DEFAULTS, ...choice.options };
      checkQemuOptions(parameters);
      checkDowntimeLimit(downtimeLimitOf(choice), link);
      const migrate = (atPace: number) =>
        new QemuMigration(memory, link, parameters, costs, giveUp, atPace).run();
      return parameters.stopFirst ? withStopFirst(migrate(0), costs) : migrate(pace);
    }
    case 'xen':
      return migrateAsXen(engine(XEN_FRAMING), { ...XEN_DEFAULTS, ...choice.options }, giveUp);
    case 'clark':
      return migrateAsClark(engine(CLARK_FRAMING), { ...CLARK_DEFAULTS, ...choice.options }, giveUp);
    case 'phaul':
      return migrateAsPhaul(engine(CRIU_FRAMING), { ...CRIU_DEFAULTS, ...choice.options }, giveUp);
    case 'criu':
      return migrateAsCriu(engine(CRIU_FRAMING), { ...CRIU_DEFAULTS, ...choice.options }, giveUp);
    case 'fixed': {
      checkDowntimeLimit(downtimeLimitOf(choice), link);
      return migrateFixed(engine(FIXED_FRAMING), { ...FIXED_DEFAULTS, ...choice.options }, giveUp);
    }
  }
}

/** Only QEMU's multifd has several. */
function connectionsOf(choice: PolicyChoice): number {
  return choice.policy === 'qemu' ? Math.max(1, choice.options?.multifdChannels ?? 0) : 1;
}

/** A guest that stood still all the time. */
function withStopFirst(outcome: Outcome, { resumeMicroseconds }: HostCosts): Outcome {
  const stopped = outcome.verdict === 'converges' ? outcome.totalMicroseconds + resumeMicroseconds : 0;
  return {
    ...outcome,
    strategy: 'stop-and-copy',
    downtimeMicroseconds: stopped,
    reportedDowntimeMicroseconds: stopped,
  };
}

function usualPatience({ resident }: MigratingMemory, link: Link, options: RehearsalOptions): number {
  const { choice, patiencePasses = USUAL_PATIENCE_PASSES } = options;
  const bytes = patiencePasses * resident.count * PAGE_SIZE;
  const atOwnRate = (bytes * 1e6) / slowestRateOf(choice);
  return Math.max(SHORTEST_PATIENCE_MICROSECONDS, link.carriedAt(bytes), atOwnRate);
}

/** The lowest rate, in bytes a second, at which a policy sends much of the memory; infinite for no limit. */
function slowestRateOf(choice: PolicyChoice): number {
  switch (choice.policy) {
    case 'qemu': {
      const { maxBandwidth, maxPostcopyBandwidth, postcopyAfter } = { ...QEMU_DEFAULTS, ...choice.options };
      const limits = postcopyAfter === undefined ? [maxBandwidth] : [maxBandwidth, maxPostcopyBandwidth];
      return Math.min(...limits.map((limit) => limit || Number.POSITIVE_INFINITY));
    }
    case 'clark':
      return choice.options?.minRate ?? CLARK_DEFAULTS.minRate;
    case 'fixed':
      return choice.options?.maxBandwidth ?? FIXED_DEFAULTS.maxBandwidth;
    default:
      return Number.POSITIVE_INFINITY;
  }
}

/** In microseconds; 0 for a policy that has none. */
function downtimeLimitOf(choice: PolicyChoice): number {
  if (choice.policy !== 'qemu' && choice.policy !== 'fixed') return 0;
  const { downtimeLimitMicroseconds } = choice.policy === 'qemu' ? QEMU_DEFAULTS : FIXED_DEFAULTS;
  return choice.options?.downtimeLimitMicroseconds ?? downtimeLimitMicroseconds;
}

function checkDowntimeLimit(limitMicroseconds: number, link: Link): void {
  if (limitMicroseconds > 0 && limitMicroseconds < link.roundTripMicroseconds) {
    throw new UsageError("the downtime limit is below the link's round trip", {
      hint: 'no migration can stop for less than it takes to tell the other side',
    });
  }
}
