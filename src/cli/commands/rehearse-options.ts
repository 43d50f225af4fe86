import { type Command, Option } from 'commander';
import { parseBandwidth, parseBytes, parseDurationMicroseconds, UsageError } from '../../core/index.ts';
import { type LinkOptions, type RehearsalOptions, TCP_SHARE } from '../../migration/index.ts';
import type { CommonOptions } from '../context.ts';
import { argument, durationOption, integer } from '../parse.ts';
import { declarePolicyOptions, type PolicyOptions, policyChoice } from '../policy-options.ts';

/** What `ckpt rehearse` is told. */
export interface RehearseOptions extends CommonOptions, PolicyOptions {
  readonly target: string;
  readonly bandwidth: Profile;
  readonly rtt: number;
  readonly loss?: number;
  readonly stateSize?: number;
  readonly setup: number;
  readonly after: number;
  readonly runs: number;
}

type Profile = Required<Pick<LinkOptions, 'bytesPerSecond' | 'profile'>>;

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
    .addOption(durationOption('--after <duration>', 'let the program run first').default(5_000_000, '5s'))
    .addOption(
      new Option('--runs <n>', 'rehearsals for the intervals').argParser(integer(1, 10_000)).default(20),
    );
  declarePolicyOptions(command);
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
