import { type Command, Option } from 'commander';
import { parseBandwidth, parseBytes, UsageError } from '../core/index.ts';
import {
  POLICY_NAMES,
  type PolicyChoice,
  type PolicyName,
  PRE_PAGING_KINDS,
  type PrePaging,
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
  readonly dirtyLimit?: boolean;
  readonly vcpuDirtyLimit?: number;
  readonly vcpuDirtyLimitPeriod?: number;
  readonly dirtyRingSize?: number;
  readonly xbzrle?: boolean;
  readonly xbzrleCacheSize?: number;
  readonly multifdChannels?: number;
  readonly multifdCompression?: QemuOptions['multifdCompression'];
  readonly postcopyAfter?: number;
  readonly postcopyPreempt?: boolean;
  readonly maxPostcopyBandwidth?: number;
  readonly prePaging?: PrePaging;
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
    )
    .addOption(
      new Option(
        '--pre-paging <order>',
        'fixed: in post-copy, pages that nobody asks for (bubbling)',
      ).choices(PRE_PAGING_KINDS),
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
    .option('--dirty-limit', 'qemu: slow vCPUs that write to many pages (KVM with a dirty ring)')
    .addOption(
      new Option('--vcpu-dirty-limit <MiB/s>', 'qemu: what a vCPU may write to (1)').argParser(
        integer(1, 1e6),
      ),
    )
    .addOption(durationOption('--vcpu-dirty-limit-period <duration>', 'qemu: how often it is measured (1s)'))
    .addOption(
      new Option('--dirty-ring-size <pages>', "qemu: KVM's dirty ring (4096)").argParser(
        integer(1024, 65536),
      ),
    )
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
    .option('--postcopy-preempt', 'qemu: requested pages have their own connection')
    .addOption(
      new Option(
        '--max-postcopy-bandwidth <rate>',
        'qemu: limit of what nobody has asked for in post-copy (none)',
      ).argParser(argument((text: string) => parseBandwidth(text, 'limit'))),
    );
}

/** The rules that the options name. @throws UsageError */
export function policyChoice(options: PolicyOptions): PolicyChoice {
  const { policy, strategy } = options;
  if (policy === 'qemu') return { policy, options: qemuOptions(options) };
  const follows = strategy === 'post-copy' || strategy === 'hybrid';
  const rounds = roundsOf(options);
  if (policy === 'fixed') {
    return {
      policy,
      options: {
        ...(rounds === undefined ? {} : { rounds }),
        ...(options.downtimeLimit === undefined ? {} : { downtimeLimitMicroseconds: options.downtimeLimit }),
        ...(options.maxBandwidth ? { maxBandwidth: options.maxBandwidth } : {}),
        ...(follows ? { postcopy: options.prePaging ?? 'bubbling' } : {}),
      },
    };
  }
  if (policy === 'criu') {
    return { policy, options: { ...(rounds === undefined ? {} : { preDumps: rounds }), lazyPages: follows } };
  }
  if (follows) {
    throw new UsageError(`${policy} has no ${strategy}`, { hint: 'use --policy qemu, criu or fixed' });
  }
  if (policy === 'phaul') {
    if (rounds === undefined) return { policy };
    throw new UsageError('phaul has rules of its own for its pre-dumps', { hint: 'use --policy criu' });
  }
  return rounds === undefined ? { policy } : { policy, options: { maxIterations: rounds } };
}

/** Live rounds, as far as options say anything of them. @throws UsageError */
function roundsOf({ strategy, maxRounds }: PolicyOptions): number | undefined {
  if (strategy === 'pre-copy' || strategy === undefined) return maxRounds;
  const rounds = { 'post-copy': 0, hybrid: maxRounds ?? 1, 'stop-and-copy': 0 }[strategy];
  if (maxRounds === undefined || maxRounds === rounds) return rounds;
  throw new UsageError(`${strategy} has no rounds`, { hint: 'leave --max-rounds out' });
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
    stopFirst: options.strategy === 'stop-and-copy' ? true : undefined,
    maxBandwidth: options.maxBandwidth,
    downtimeLimitMicroseconds: options.downtimeLimit,
    autoConverge: options.autoConverge,
    cpuThrottleInitial: options.cpuThrottleInitial,
    cpuThrottleIncrement: options.cpuThrottleIncrement,
    maxCpuThrottle: options.maxCpuThrottle,
    throttleTriggerThreshold: options.throttleTriggerThreshold,
    dirtyLimit: options.dirtyLimit,
    vcpuDirtyLimit: options.vcpuDirtyLimit,
    vcpuDirtyLimitPeriodMicroseconds: options.vcpuDirtyLimitPeriod,
    dirtyRingPages: options.dirtyRingSize,
    xbzrle: options.xbzrle,
    xbzrleCacheBytes: options.xbzrleCacheSize,
    multifdChannels: channels,
    multifdCompression: options.multifdCompression,
    postcopyAfter: rounds === undefined ? undefined : { rounds },
    postcopyPreempt: options.postcopyPreempt,
    maxPostcopyBandwidth: options.maxPostcopyBandwidth,
    clearLog: options.clearLog,
  };
  const set = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...QEMU_DEFAULTS, ...Object.fromEntries(set) };
}
