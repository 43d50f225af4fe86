import { type Command, Option } from 'commander';
import { parseBandwidth, parseBytes, parseDurationMicroseconds, UsageError } from '../../core/index.ts';
import {
  type LinkOptions,
  POLICY_NAMES,
  type PolicyChoice,
  type PolicyName,
  QEMU_DEFAULTS,
  type QemuOptions,
  type RehearsalOptions,
  TCP_SHARE,
} from '../../migration/index.ts';
import type { CommonOptions } from '../context.ts';
import { argument, durationOption, integer } from '../parse.ts';

/** What `ckpt rehearse` is told. */
export interface RehearseOptions extends CommonOptions {
  readonly target: string;
  readonly bandwidth: Profile;
  readonly rtt: number;
  readonly loss?: number;
  readonly stateSize?: number;
  readonly setup: number;
  readonly policy: PolicyName;
  readonly strategy?: (typeof STRATEGIES)[number];
  readonly after: number;
  readonly runs: number;
  readonly giveUpAfter?: number;
  readonly maxRounds?: number;
  readonly maxBandwidth?: number;
  readonly downtimeLimit?: number;
  readonly autoConverge?: boolean;
  readonly cpuThrottleInitial?: number;
  readonly cpuThrottleIncrement?: number;
  readonly maxCpuThrottle?: number;
  readonly throttleTriggerThreshold?: number;
  readonly xbzrle?: boolean;
  readonly xbzrleCacheSize?: number;
  readonly multifdChannels?: number;
  readonly multifdCompression?: QemuOptions['multifdCompression'];
  readonly postcopyAfter?: number;
  readonly postcopyPreempt?: boolean;
  readonly clearLog?: QemuOptions['clearLog'];
}

type Profile = Required<Pick<LinkOptions, 'bytesPerSecond' | 'profile'>>;

const STRATEGIES = ['pre-copy', 'post-copy', 'hybrid', 'stop-and-copy'] as const;

/** Declares what is rehearsed, over which link, and by which rules. */
export function declareRehearseOptions(command: Command): void {
  command
    .requiredOption('-t, --target <target>', 'sim:FILE for a simulated workload')
    .addOption(
      new Option(
        '--bandwidth <rate>',
        'line rate of the link; with changes: 1Gbit/s,10s:200Mbit/s,30s:1Gbit/s',
      )
        .argParser(argument(parseProfile))
        .makeOptionMandatory(),
    )
    .addOption(durationOption('--rtt <duration>', 'round trip of the link').default(200, '200us'))
    .addOption(new Option('--loss <percent>', 'packets lost').argParser(argument(parsePercent)))
    .addOption(
      new Option('--state-size <size>', 'everything but memory (100KB)').argParser(
        argument((text: string) => parseBytes(text)),
      ),
    )
    .addOption(durationOption('--setup <duration>', 'connecting').default(3000, '3ms'))
    .addOption(new Option('--policy <system>', 'whose rules').choices(POLICY_NAMES).default('qemu'))
    .addOption(new Option('--strategy <kind>', 'how memory moves').choices(STRATEGIES))
    .addOption(durationOption('--after <duration>', 'let the program run first').default(5_000_000, '5s'))
    .addOption(
      new Option('--runs <n>', 'rehearsals for the intervals').argParser(integer(1, 10_000)).default(20),
    )
    .addOption(
      durationOption(
        '--give-up-after <duration>',
        'not converged by then (the time for ten passes, at least 1min)',
      ),
    )
    .addOption(
      new Option('--max-rounds <n>', 'xen, clark, criu, fixed: rounds').argParser(integer(0, 100_000)),
    );
  declareQemuOptions(command);
}

/** The options that only `--policy qemu` understands (some of them also others), under QEMU's names. */
function declareQemuOptions(command: Command): void {
  const percent = (flags: string, description: string) =>
    new Option(flags, description).argParser(integer(1, 99));
  command
    .addOption(
      new Option('--max-bandwidth <rate>', "the policy's own limit; 0: none (qemu: 128MiB/s)").argParser(
        argument((text: string) => (text === '0' ? 0 : parseBandwidth(text, 'limit'))),
      ),
    )
    .addOption(durationOption('--downtime-limit <duration>', 'qemu, fixed: longest stop (qemu: 300ms)'))
    .option('--auto-converge', 'qemu: slow the guest down until it converges')
    .addOption(percent('--cpu-throttle-initial <percent>', 'qemu: first throttling (20)'))
    .addOption(percent('--cpu-throttle-increment <percent>', 'qemu: each further step (10)'))
    .addOption(percent('--max-cpu-throttle <percent>', 'qemu: strongest throttling (99)'))
    .addOption(percent('--throttle-trigger-threshold <percent>', 'qemu: dirtied of sent bytes (50)'))
    .option('--xbzrle', 'qemu: send differences')
    .addOption(
      new Option('--xbzrle-cache-size <size>', 'qemu: cache of sent pages (64MiB)').argParser(
        argument((text: string) => parseBytes(text)),
      ),
    )
    .addOption(new Option('--multifd-channels <n>', 'qemu: several connections').argParser(integer(1, 255)))
    .addOption(new Option('--multifd-compression <method>', 'qemu').choices(['none', 'zstd', 'zlib']))
    .addOption(
      new Option('--postcopy-after <round>', 'qemu: switch to post-copy then').argParser(integer(0, 100_000)),
    )
    .addOption(
      new Option('--clear-log <when>', 'qemu: dirty log is cleared at-sync, or before-send (KVM)').choices([
        'at-sync',
        'before-send',
      ]),
    )
    .option('--postcopy-preempt', 'qemu: requested pages have their own connection');
}

/** The link, the costs and the rules that the options name. @throws UsageError */
export function rehearsalOptions(options: RehearseOptions): RehearsalOptions {
  return {
    link: {
      ...options.bandwidth,
      roundTripMicroseconds: options.rtt,
      setupMicroseconds: options.setup,
      ...(options.loss === undefined ? {} : { loss: options.loss }),
    },
    choice: policyChoice(options),
    ...(options.stateSize === undefined ? {} : { costs: { stateBytes: options.stateSize } }),
    ...(options.giveUpAfter === undefined ? {} : { giveUpAfterMicroseconds: options.giveUpAfter }),
  };
}

function policyChoice(options: RehearseOptions): PolicyChoice {
  const { policy, maxRounds, strategy } = options;
  if (strategy === 'stop-and-copy') return { policy: 'fixed', options: { rounds: 0 } };
  if (policy === 'qemu') return { policy, options: qemuOptions(options) };
  if (strategy === 'post-copy' || strategy === 'hybrid') {
    throw new UsageError(`${policy} has no ${strategy} here`, { hint: 'use --policy qemu' });
  }
  if (policy === 'fixed') {
    return {
      policy,
      options: {
        ...(maxRounds === undefined ? {} : { rounds: maxRounds }),
        ...(options.downtimeLimit === undefined ? {} : { downtimeLimitMicroseconds: options.downtimeLimit }),
        ...(options.maxBandwidth ? { maxBandwidth: options.maxBandwidth } : {}),
      },
    };
  }
  if (maxRounds === undefined) return { policy };
  if (policy === 'xen' || policy === 'clark') return { policy, options: { maxIterations: maxRounds } };
  return { policy, options: { preDumps: maxRounds } };
}

function qemuOptions(options: RehearseOptions): Partial<QemuOptions> {
  if (options.maxRounds !== undefined) {
    throw new UsageError('QEMU has no limit on rounds', { hint: 'use --give-up-after or --postcopy-after' });
  }
  const rounds =
    options.postcopyAfter ??
    ({ 'post-copy': 0, hybrid: 1 } as Record<string, number>)[options.strategy ?? ''];
  const compressed = options.multifdCompression !== undefined;
  const channels = options.multifdChannels ?? (compressed ? 2 : undefined);
  const given = {
    maxBandwidth: options.maxBandwidth,
    downtimeLimitMicroseconds: options.downtimeLimit,
    autoConverge: options.autoConverge,
    cpuThrottleInitial: options.cpuThrottleInitial,
    cpuThrottleIncrement: options.cpuThrottleIncrement,
    maxCpuThrottle: options.maxCpuThrottle,
    throttleTriggerThreshold: options.throttleTriggerThreshold,
    xbzrle: options.xbzrle,
    xbzrleCacheBytes: options.xbzrleCacheSize,
    multifdChannels: channels,
    multifdCompression: options.multifdCompression,
    postcopyAfter: rounds === undefined ? undefined : { rounds },
    postcopyPreempt: options.postcopyPreempt,
    clearLog: options.clearLog,
  };
  const set = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...QEMU_DEFAULTS, ...Object.fromEntries(set) };
}

/** A bandwidth, and from which time on which other one. */
function parseProfile(text: string): Profile {
  const [first, ...steps] = text.split(',');
  return {
    bytesPerSecond: parseBandwidth(first!) * TCP_SHARE,
    profile: steps.map((step) => {
      const colon = step.indexOf(':');
      if (colon < 0)
        throw new UsageError(`'${step}' is not a change of bandwidth`, {
          hint: 'write it like 10s:200Mbit/s',
        });
      return {
        atMicroseconds: parseDurationMicroseconds(step.slice(0, colon)),
        bytesPerSecond: parseBandwidth(step.slice(colon + 1)) * TCP_SHARE,
      };
    }),
  };
}

function parsePercent(text: string): number {
  const value = Number(text.replace(/%$/, ''));
  if (text.trim() !== '' && value >= 0 && value < 100) return value / 100;
  throw new UsageError(`'${text}' is not a percentage below 100`);
}
