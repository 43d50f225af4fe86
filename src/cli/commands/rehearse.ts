import { type Command, Option } from 'commander';
import { parseTarget, readWorkloadFile } from '../../checkpoint/index.ts';
import {
  parseBandwidth,
  parseBytes,
  parseDurationMicroseconds,
  UnsupportedError,
  UsageError,
} from '../../core/index.ts';
import {
  type LinkOptions,
  openSimulatedMemory,
  POLICY_NAMES,
  type PolicyChoice,
  type PolicyName,
  QEMU_DEFAULTS,
  type QemuOptions,
  type RehearsalOptions,
  rehearse,
  TCP_SHARE,
} from '../../migration/index.ts';
import { formatRehearsal } from '../../report/index.ts';
import { parseWorkload } from '../../workload/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommonOptions } from '../context.ts';
import { EXIT_STATUS } from '../exit-status.ts';
import { argument, durationOption, integer } from '../parse.ts';

interface RehearseOptions extends CommonOptions {
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

const EXAMPLES = `
Examples:
  ckpt rehearse -t sim:fixtures/kv-store.yaml --bandwidth 1Gbit/s
  ckpt rehearse -t sim:fixtures/kv-store.yaml --bandwidth 100Mbit/s --auto-converge --downtime-limit 50ms
  ckpt rehearse -t sim:fixtures/kv-store.yaml --bandwidth 1Gbit/s --policy xen --json`;

/** `ckpt rehearse`: what a migration would do. */
export function declareRehearse(program: Command, shell: Shell): void {
  const command = program
    .command('rehearse')
    .description(
      'predict a migration: does it converge, how long does it take, how long does the service stand still',
    )
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
    )
    .addHelpText('after', EXAMPLES);
  declareQemuOptions(command);
  withCommonOptions(command).action(
    runsAs<RehearseOptions>(shell, async (context, options) => {
      const target = parseTarget(options.target);
      if (target.kind === 'live') {
        throw new UnsupportedError('live processes cannot be rehearsed yet', {
          hint: 'name a workload: sim:FILE',
        });
      }
      const workload = parseWorkload(readWorkloadFile(target.path), target.path);
      const open = (run: number) => {
        context.progress.update({ phase: 'rehearsing' });
        return openSimulatedMemory(workload, {
          warmUpMicroseconds: options.after,
          seed: (workload.seed + run) % Number.MAX_SAFE_INTEGER,
        });
      };
      const rehearsal = await rehearse(open, rehearsalOptions(options), {
        runs: options.runs,
        signal: context.signals.signal,
      });
      context.progress.stop();
      context.result(rehearsal, formatRehearsal(rehearsal));
      if (rehearsal.verdict === 'does-not-converge') context.exitStatus = EXIT_STATUS.notConverged;
    }),
  );
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

function rehearsalOptions(options: RehearseOptions): RehearsalOptions {
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
