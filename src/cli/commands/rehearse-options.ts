import { type Command, Option } from 'commander';
import {
  PAGE_SIZE,
  parseBandwidth,
  parseBytes,
  parseDurationMicroseconds,
  UsageError,
} from '../../core/index.ts';
import {
  type HostCosts,
  type LinkOptions,
  type PeerAddress,
  parseSweep,
  type RehearsalOptions,
  type SendingCosts,
  type SweepAxis,
  TCP_SHARE,
  USUAL_SENDING,
} from '../../migration/index.ts';
import type { TrackerKind } from '../../tracker/index.ts';
import type { CommonOptions } from '../context.ts';
import { argument, durationOption, integer } from '../parse.ts';
import { addressOption, declarePeerOptions, type PeerOptions } from '../peer-options.ts';
import { declarePolicyOptions, type PolicyOptions, policyChoice } from '../policy-options.ts';
import { trackerOption } from '../tracker-option.ts';

/** So many rehearsals give intervals that hold 90 %. */
export const USUAL_RUNS = 20;

/** What `ckpt rehearse` is told. */
export interface RehearseOptions extends CommonOptions, PolicyOptions, PeerOptions {
  readonly target?: string;
  readonly trace?: string;
  readonly observe: number;
  readonly interval: number;
  readonly single?: boolean;
  readonly shadow?: PeerAddress;
  readonly sender?: 'ckpt' | 'system';
  readonly compress: 'zstd' | 'none';
  readonly tracker: TrackerKind | 'auto';
  readonly bandwidth?: Profile;
  readonly sweep?: readonly SweepAxis[];
  readonly rtt: number;
  readonly jitter?: number;
  readonly loss?: number;
  readonly stateSize?: number;
  readonly setup: number;
  readonly after: number;
  readonly runs?: number;
  readonly readSpeed?: number;
  readonly scanTime?: number;
  readonly compressionSpeed?: number;
  readonly compressionRatio?: number;
  readonly stopTime?: number;
  readonly resumeTime?: number;
  readonly report?: string;
}

type Profile = Required<Pick<LinkOptions, 'bytesPerSecond' | 'profile'>>;

/** Declares what is rehearsed, over which link, and by which rules. */
export function declareRehearseOptions(command: Command): void {
  command
    .option('-t, --target <target>', 'PID of a live process, or sim:FILE for a simulated workload')
    .addOption(
      new Option('--trace <file>', "what 'ckpt record' wrote, instead of a target").conflicts([
        'observe',
        'interval',
        'single',
        'tracker',
        'after',
      ]),
    )
    .addOption(durationOption('--observe <duration>', 'live: watch it first').default(10_000_000, '10s'))
    .addOption(durationOption('--interval <duration>', 'live: between two scans').default(100_000, '100ms'))
    .option('--single', 'live: the process alone, without its descendants')
    .addOption(
      addressOption(
        '--shadow <addr:port>',
        'then really send it, to ckpt receive --discard there; it goes on here',
      ),
    )
    .addOption(
      new Option(
        '--sender <whose>',
        "who sends by the policy's rules: ckpt migrate (live, --shadow), or the policy's own system (sim:, --trace)",
      ).choices(['ckpt', 'system']),
    )
    .addOption(
      new Option('-c, --compress <method>', 'how ckpt sends pages').choices(['zstd', 'none']).default('zstd'),
    )
    .addOption(trackerOption('live: how written pages are found'))
    .addOption(
      new Option(
        '--bandwidth <rate>',
        'line rate of the link; with changes: 1Gbit/s,10s:200Mbit/s,30s:1Gbit/s',
      ).argParser(argument(parseProfile)),
    )
    .addOption(durationOption('--rtt <duration>', 'round trip of the link').default(200, '200us'))
    .addOption(durationOption('--jitter <duration>', 'so much sooner or later a packet may come (0)'))
    .addOption(new Option('--loss <percent>', 'packets lost').argParser(argument(parsePercent)))
    .addOption(
      new Option('--state-size <size>', 'everything but memory (live: measured; else 100KB)').argParser(
        argument((text: string) => parseBytes(text)),
      ),
    )
    .addOption(durationOption('--setup <duration>', 'connecting').default(3000, '3ms'))
    .addOption(
      durationOption('--after <duration>', 'sim: let the program run first').default(5_000_000, '5s'),
    )
    .addOption(
      new Option('--runs <n>', 'rehearsals for the intervals (20; with --sweep 1)').argParser(
        integer(1, 10_000),
      ),
    )
    .addOption(
      new Option(
        '--sweep <axes>',
        'all combinations of option values: bandwidth=1..40Gbit/s:log8,policy=qemu,clark',
      ).argParser(argument(parseSweep)),
    );
  declarePeerOptions(command);
  declareCosts(command);
  declarePolicyOptions(command);
  command.option('--report <file>', 'write a page about it (HTML); must not exist');
}

/** What work costs here; what is not given is measured with the pages of a live target, and usual for others. */
function declareCosts(command: Command): void {
  const rate = (text: string) => parseBandwidth(text, 'speed');
  command
    .addOption(
      new Option(
        '--read-speed <rate>',
        'cost: finding and reading pages (live: measured; else 4GB/s)',
      ).argParser(argument(rate)),
    )
    .addOption(durationOption('--scan-time <duration>', 'cost: a look for written pages, per GiB'))
    .addOption(
      new Option('--compression-speed <rate>', 'cost: compressing, each thread').argParser(argument(rate)),
    )
    .addOption(
      new Option('--compression-ratio <n>', 'plain size / compressed size (else as its pages are)').argParser(
        argument(parseRatio),
      ),
    )
    .addOption(durationOption('--stop-time <duration>', 'cost: until it stands still'))
    .addOption(durationOption('--resume-time <duration>', 'cost: from the last byte until it runs again'));
}

/** Costs that were measured; those of sending by ckpt where it sends. */
export type MeasuredCosts = Partial<HostCosts> & { readonly sending?: SendingCosts };

/** Whether ckpt is the sender that is rehearsed: a live process is migrated by nobody else. */
export function isSentByCkpt({
  sender,
  target,
  shadow,
}: Pick<RehearseOptions, 'sender' | 'target' | 'shadow'>): boolean {
  if (sender !== undefined) return sender === 'ckpt';
  return shadow !== undefined || (target !== undefined && !target.startsWith('sim:'));
}

/**
 * The link, the costs and the rules that the options name.
 * @param measured costs that were measured with the target's pages; what is given goes before them.
 * @throws UsageError
 */
export function rehearsalOptions(
  options: RehearseOptions,
  { sending = USUAL_SENDING, ...measured }: MeasuredCosts,
): RehearsalOptions {
  const { bandwidth } = options;
  if (bandwidth === undefined) {
    throw new UsageError('a migration needs a bandwidth', { hint: 'give it like --bandwidth 1Gbit/s' });
  }
  return {
    link: {
      ...bandwidth,
      roundTripMicroseconds: options.rtt,
      setupMicroseconds: options.setup,
      ...(options.jitter === undefined ? {} : { jitterMicroseconds: options.jitter }),
      ...(options.loss === undefined ? {} : { loss: options.loss }),
    },
    choice: policyChoice(options),
    costs: { ...measured, ...givenCosts(options) },
    ...(isSentByCkpt(options) ? { sending: sendingAsGiven(sending, options) } : {}),
    ...(options.giveUpAfter === undefined ? {} : { giveUpAfterMicroseconds: options.giveUpAfter }),
  };
}

/** What is given goes before what was measured. */
function sendingAsGiven(
  sending: SendingCosts,
  { resumeTime, compressionRatio }: RehearseOptions,
): SendingCosts {
  const share = compressionRatio === undefined ? undefined : 1 / compressionRatio;
  return {
    ...sending,
    prepareMicroseconds: resumeTime ?? sending.prepareMicroseconds,
    firstShare: share ?? sending.firstShare,
    again: sending.again.map((each) => ({ ...each, share: share ?? each.share })),
  };
}

function givenCosts(options: RehearseOptions): Partial<HostCosts> {
  const nanosecondsPerByte = (rate: number | undefined) => (rate === undefined ? undefined : 1e9 / rate);
  const perByte = nanosecondsPerByte(options.compressionSpeed);
  const perPage = nanosecondsPerByte(options.readSpeed);
  const given = {
    stateBytes: options.stateSize,
    pageNanoseconds: perPage === undefined ? undefined : perPage * PAGE_SIZE,
    syncMicrosecondsPerGibibyte: options.scanTime,
    compressNanosecondsPerByte: perByte === undefined ? undefined : { zstd: perByte, zlib: perByte },
    compressedShare: options.compressionRatio === undefined ? undefined : 1 / options.compressionRatio,
    stopMicroseconds: options.stopTime,
    resumeMicroseconds: options.resumeTime,
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
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

function parseRatio(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= 1 && value <= 1000) return value;
  throw new UsageError(`'${text}' is not a ratio of 1 or more`);
}

function parsePercent(text: string): number {
  const value = Number(text.replace(/%$/, ''));
  if (text.trim() !== '' && value >= 0 && value < 100) return value / 100;
  throw new UsageError(`'${text}' is not a percentage below 100`);
}
