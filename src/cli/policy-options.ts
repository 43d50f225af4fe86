import { type Command, Option } from 'commander';
import { parseBandwidth, parseBytes, UsageError } from '../core/index.ts';
import {
  POLICY_NAMES,
  type PolicyChoice,
  type PolicyName,
  QEMU_DEFAULTS,
  type QemuOptions,
} from '../migration/index.ts';
import { argument, durationOption, integer } from './parse.ts';

/** By which rules a migration goes on and ends, rehearsed or in earnest. */
export interface PolicyOptions {
  readonly policy: PolicyName;
  readonly strategy?: (typeof STRATEGIES)[number];
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

const STRATEGIES = ['pre-copy', 'post-copy', 'hybrid', 'stop-and-copy'] as const;

export function declarePolicyOptions(command: Command): void {
  command
    .addOption(new Option('--policy <system>', 'whose rules').choices(POLICY_NAMES).default('qemu'))
    .addOption(new Option('--strategy <kind>', 'how memory moves').choices(STRATEGIES))
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

/** The rules that the options name. @throws UsageError */
export function policyChoice(options: PolicyOptions): PolicyChoice {
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

function qemuOptions(options: PolicyOptions): Partial<QemuOptions> {
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
