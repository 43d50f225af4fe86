import { formatBandwidth, formatDuration } from '../core/index.ts';
import { type LinkOptions, scaledLink, TCP_SHARE } from './link.ts';
import type { Outcome } from './outcome.ts';
import type { RehearsalPool } from './parallel/pool.ts';
import { FIXED_DEFAULTS } from './policies/fixed.ts';
import { QEMU_DEFAULTS, type QemuOptions } from './qemu/options.ts';
import type { PolicyChoice, RehearsalOptions } from './rehearse-once.ts';

/** A change that would bring the migration to an end within its downtime limit, as rehearsed. */
export interface Advice {
  /** What to change, in words and as options of `ckpt rehearse`. */
  readonly change: string;
  readonly options: string;
  readonly totalMicroseconds: number;
  readonly downtimeMicroseconds: number;
}

/** A rehearsal under other conditions. */
interface Candidate {
  readonly change: string;
  readonly options: string;
  readonly changed: RehearsalOptions;
  /** Whether its stop must keep to the limit to the letter. */
  readonly strict?: boolean;
}

/** What the limit does not count: stopping, the state, what is on its way, resuming. */
const TOLERATED_SHARE = 1.25;
const TOLERATED_MICROSECONDS = 30_000;
/** How much more bandwidth, or time to stand still, is looked at. */
const MOST_BANDWIDTH = 100;
const MOST_DOWNTIME = 20;
/** QEMU takes no longer limit. */
const LONGEST_DOWNTIME_MICROSECONDS = 2e9;
/** A longer stop that is at most so much longer comes before a slower service and a better network. */
const BEARABLE_DOWNTIME = 2;
/** Bisections end when the bounds are so close. */
const PRECISION = 1.08;

/** Whether a migration came to its end within the limit, as far as QEMU's rule can promise that. */
export function meetsLimit(outcome: Outcome, limitMicroseconds: number): boolean {
  const tolerated = Math.max(limitMicroseconds * TOLERATED_SHARE, limitMicroseconds + TOLERATED_MICROSECONDS);
  return outcome.verdict === 'converges' && outcome.downtimeMicroseconds <= tolerated;
}

/** How long a migration may stand still; infinite for policies that have no limit. */
export function downtimeLimitOf({ choice }: RehearsalOptions): number {
  if (choice.policy === 'qemu') {
    return choice.options?.downtimeLimitMicroseconds ?? QEMU_DEFAULTS.downtimeLimitMicroseconds;
  }
  if (choice.policy !== 'fixed') return Number.POSITIVE_INFINITY;
  const limit = choice.options?.downtimeLimitMicroseconds ?? FIXED_DEFAULTS.downtimeLimitMicroseconds;
  return limit === 0 ? Number.POSITIVE_INFINITY : limit;
}

/**
 * Rehearses changes of a migration that misses its limit, cheapest first: settings, then a longer stop if it is not
 * much longer, a slower service, more network, a much longer stop, and the risk of post-copy. How much more bandwidth
 * and how much longer a stop it takes is found by bisection.
 * @param missed what happens without a change.
 * @returns those that help.
 */
export async function advise(
  pool: RehearsalPool,
  options: RehearsalOptions,
  missed: Outcome,
): Promise<Advice[]> {
  const limit = downtimeLimitOf(options);
  const [settings, slowing, postcopy, moreBandwidth, longerStop] = await Promise.all([
    adviceFrom(pool, settingsOf(options)),
    adviceFrom(pool, slowingOf(options)),
    adviceFrom(pool, postcopyOf(options)),
    leastFactor(pool, MOST_BANDWIDTH, (factor) => withBandwidth(options, factor)),
    Number.isFinite(limit)
      ? leastFactor(pool, mostDowntime(limit), (factor) => ({
          ...withDowntime(options, limit * factor),
          // Where it ends anyway, a higher limit is only a promise of how long it may stand still.
          strict: missed.verdict === 'converges',
        }))
      : undefined,
  ]);
  const bearable = longerStop !== undefined && longerStop.factor <= BEARABLE_DOWNTIME;
  const stop = longerStop === undefined ? [] : [longerStop.advice];
  return [
    ...settings,
    ...(bearable ? stop : []),
    ...slowing,
    ...(moreBandwidth === undefined ? [] : [moreBandwidth.advice]),
    ...(bearable ? [] : stop),
    ...postcopy,
  ];
}

/** Those of some changes that help. */
async function adviceFrom(pool: RehearsalPool, candidates: readonly Candidate[]): Promise<Advice[]> {
  const outcomes = await pool.outcomes(candidates.map(({ changed }) => ({ run: 0, options: changed })));
  return candidates.flatMap((candidate, index) => {
    const outcome = outcomes[index]!;
    return helps(candidate, outcome) ? [adviceOf(candidate, outcome)] : [];
  });
}

/** The least factor that helps, of those up to `most`, and what it brings; undefined if even that does not help. */
async function leastFactor(
  pool: RehearsalPool,
  most: number,
  candidateFor: (factor: number) => Candidate,
): Promise<{ factor: number; advice: Advice } | undefined> {
  const attempt = async (factor: number) => {
    const candidate = candidateFor(factor);
    const [outcome] = await pool.outcomes([{ run: 0, options: candidate.changed }]);
    return helps(candidate, outcome!) ? { factor, advice: adviceOf(candidate, outcome!) } : undefined;
  };
  let best = await attempt(most);
  for (let low = 1; best !== undefined && best.factor / low > PRECISION; ) {
    const middle = Math.sqrt(low * best.factor);
    const found = await attempt(middle);
    if (found === undefined) low = middle;
    else best = found;
  }
  return best;
}

function mostDowntime(limit: number): number {
  return Math.max(1, Math.min(MOST_DOWNTIME, LONGEST_DOWNTIME_MICROSECONDS / Math.max(1, limit)));
}

function helps({ changed, strict }: Candidate, outcome: Outcome): boolean {
  const limit = downtimeLimitOf(changed);
  return meetsLimit(outcome, limit) && (strict !== true || outcome.downtimeMicroseconds <= limit);
}

function adviceOf({ change, options }: Candidate, outcome: Outcome): Advice {
  const { totalMicroseconds, downtimeMicroseconds } = outcome;
  return { change, options, totalMicroseconds, downtimeMicroseconds };
}

function withBandwidth(options: RehearsalOptions, factor: number): Candidate {
  const link = roundedLink(options.link, factor);
  const line = (link.bytesPerSecond * 8) / TCP_SHARE / 1e6;
  const limit = limitOf(options.choice);
  const limited = limit > 0 && limit < link.bytesPerSecond;
  return {
    change: `take a link of ${formatBandwidth(link.bytesPerSecond / TCP_SHARE)}`,
    options: `--bandwidth ${Math.round(line)}Mbit/s${limited ? ' --max-bandwidth 0' : ''}`,
    changed: {
      ...options,
      link,
      choice: limited ? changedChoice(options.choice, unlimited(options.choice)) : options.choice,
    },
  };
}

/** So many times the bandwidth, at a rate that can be written down in whole Mbit/s. */
function roundedLink(link: LinkOptions, factor: number): LinkOptions {
  const megabits = Math.ceil((link.bytesPerSecond * factor * 8) / TCP_SHARE / 1e6);
  return scaledLink(link, (megabits * 1e6 * TCP_SHARE) / 8 / link.bytesPerSecond);
}

function withDowntime(options: RehearsalOptions, limitMicroseconds: number): Candidate {
  const milliseconds = Math.ceil(limitMicroseconds / 1000);
  return {
    change: `allow a downtime of ${formatDuration(milliseconds * 1000)}`,
    options: `--downtime-limit ${milliseconds}ms`,
    changed: {
      ...options,
      choice: changedChoice(options.choice, { downtimeLimitMicroseconds: milliseconds * 1000 }),
    },
  };
}

/** Settings that cost nothing but processor time. */
function settingsOf(options: RehearsalOptions): Candidate[] {
  const { choice, link } = options;
  const found: Candidate[] = [];
  const add = (change: string, text: string, changes: Partial<QemuOptions>) =>
    found.push({
      change,
      options: text,
      changed: { ...options, choice: changedChoice(choice, changes) },
    });
  const limit = limitOf(choice);
  if (limit > 0 && limit < link.bytesPerSecond) {
    add('use all of the link', '--max-bandwidth 0', unlimited(choice));
  }
  if (choice.policy !== 'qemu' || options.sending !== undefined) return found;
  const { xbzrle, multifdChannels, multifdCompression } = { ...QEMU_DEFAULTS, ...choice.options };
  if (!xbzrle && multifdChannels === 0) add('send differences of pages', '--xbzrle', { xbzrle: true });
  if (!xbzrle && multifdCompression === 'none') {
    const channels = Math.max(2, multifdChannels);
    add('compress pages', `--multifd-channels ${channels} --multifd-compression zstd`, {
      multifdChannels: channels,
      multifdCompression: 'zstd',
    });
  }
  return found;
}

/** What makes the service slower for as long as it takes. */
function slowingOf(options: RehearsalOptions): Candidate[] {
  const { choice } = options;
  if (choice.policy !== 'qemu' || options.sending !== undefined) return [];
  const { autoConverge, dirtyLimit } = { ...QEMU_DEFAULTS, ...choice.options };
  if (autoConverge || dirtyLimit) return [];
  return [
    {
      change: 'slow the guest down',
      options: '--auto-converge',
      changed: { ...options, choice: changedChoice(choice, { autoConverge: true }) },
    },
  ];
}

/** Another strategy. */
function postcopyOf(options: RehearsalOptions): Candidate[] {
  const { choice } = options;
  if (choice.policy !== 'qemu' || options.sending !== undefined) return [];
  if (choice.options?.postcopyAfter !== undefined) return [];
  return [
    {
      change: 'switch to post-copy after one pass (the guest is lost if the network fails then)',
      options: '--postcopy-after 1',
      changed: { ...options, choice: changedChoice(choice, { postcopyAfter: { rounds: 1 } }) },
    },
  ];
}

/** The policy's own limit of the bandwidth; 0: none. */
function limitOf(choice: PolicyChoice): number {
  if (choice.policy === 'qemu') return choice.options?.maxBandwidth ?? QEMU_DEFAULTS.maxBandwidth;
  const limit = choice.policy === 'fixed' ? (choice.options?.maxBandwidth ?? 0) : 0;
  return Number.isFinite(limit) ? limit : 0;
}

function unlimited({ policy }: PolicyChoice): Partial<QemuOptions> {
  return { maxBandwidth: policy === 'qemu' ? 0 : Number.POSITIVE_INFINITY };
}

/** The same policy with other options; only what it has can be changed. */
function changedChoice(choice: PolicyChoice, changes: Partial<QemuOptions>): PolicyChoice {
  if (choice.policy === 'qemu') return { policy: 'qemu', options: { ...choice.options, ...changes } };
  if (choice.policy !== 'fixed') return choice;
  const { downtimeLimitMicroseconds, maxBandwidth } = changes;
  return {
    policy: 'fixed',
    options: {
      ...choice.options,
      ...(downtimeLimitMicroseconds === undefined ? {} : { downtimeLimitMicroseconds }),
      ...(maxBandwidth === undefined ? {} : { maxBandwidth }),
    },
  };
}
