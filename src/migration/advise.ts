import { formatBandwidth, formatDuration } from '../core/index.ts';
import { type LinkOptions, scaledLink, TCP_SHARE } from './link.ts';
import type { MigratingMemory } from './memory.ts';
import type { Outcome } from './outcome.ts';
import { QEMU_DEFAULTS, type QemuOptions } from './qemu/options.ts';
import { type RehearsalOptions, rehearseOnce } from './rehearse-once.ts';

/** A change that would bring the migration to an end within its downtime limit, as rehearsed. */
export interface Advice {
  /** What to change, in words and as options of `ckpt rehearse`. */
  readonly change: string;
  readonly options: string;
  readonly totalMicroseconds: number;
  readonly downtimeMicroseconds: number;
}

interface Candidate {
  readonly change: string;
  readonly options: string;
  readonly qemu?: Partial<QemuOptions>;
  readonly linkFactor?: number;
}

/** What the limit does not count: stopping, the state, what is on its way, resuming. */
const TOLERATED_SHARE = 1.25;
const TOLERATED_MICROSECONDS = 30_000;

/** Whether a migration came to its end within the limit, as far as QEMU's rule can promise that. */
export function meetsLimit(outcome: Outcome, limitMicroseconds: number): boolean {
  const tolerated = Math.max(limitMicroseconds * TOLERATED_SHARE, limitMicroseconds + TOLERATED_MICROSECONDS);
  return outcome.verdict === 'converges' && outcome.downtimeMicroseconds <= tolerated;
}

/**
 * Rehearses changes of a migration of QEMU that misses its limit, cheapest first: settings, then a slower service,
 * then more network, then the risk of post-copy.
 * @returns those that help.
 */
export async function advise(
  open: () => Promise<MigratingMemory>,
  options: RehearsalOptions,
  signal?: AbortSignal,
): Promise<Advice[]> {
  if (options.choice.policy !== 'qemu') return [];
  const parameters = { ...QEMU_DEFAULTS, ...options.choice.options };
  const advice: Advice[] = [];
  for (const candidate of candidates(parameters, options.link)) {
    signal?.throwIfAborted();
    const changed = { ...parameters, ...candidate.qemu };
    const outcome = rehearseOnce(await open(), {
      ...options,
      link: scaledLink(options.link, candidate.linkFactor ?? 1),
      choice: { policy: 'qemu', options: changed },
    });
    if (!meetsLimit(outcome, changed.downtimeLimitMicroseconds)) continue;
    const { change, options: text } = candidate;
    const { totalMicroseconds, downtimeMicroseconds } = outcome;
    advice.push({ change, options: text, totalMicroseconds, downtimeMicroseconds });
  }
  return advice;
}

function candidates(qemu: QemuOptions, link: LinkOptions): Candidate[] {
  const found: Candidate[] = [];
  const limited = qemu.maxBandwidth > 0 && qemu.maxBandwidth < link.bytesPerSecond;
  if (limited) {
    found.push({ change: 'use all of the link', options: '--max-bandwidth 0', qemu: { maxBandwidth: 0 } });
  }
  if (!qemu.xbzrle && qemu.multifdChannels === 0) {
    found.push({ change: 'send differences of pages', options: '--xbzrle', qemu: { xbzrle: true } });
  }
  if (!qemu.xbzrle && qemu.multifdCompression === 'none') {
    found.push({
      change: 'compress pages',
      options: '--multifd-channels 2 --multifd-compression zstd',
      qemu: { multifdChannels: 2, multifdCompression: 'zstd' },
    });
  }
  for (const factor of [2, 4]) {
    const limit = qemu.downtimeLimitMicroseconds * factor;
    const text = `${Math.round(limit / 1000)}ms`;
    found.push({
      change: `allow a downtime of ${formatDuration(limit)}`,
      options: `--downtime-limit ${text}`,
      qemu: { downtimeLimitMicroseconds: limit },
    });
  }
  if (!qemu.autoConverge) {
    found.push({ change: 'slow the guest down', options: '--auto-converge', qemu: { autoConverge: true } });
  }
  for (const factor of [2, 4, 10]) {
    const line = (link.bytesPerSecond * factor) / TCP_SHARE;
    found.push({
      change: `take a link of ${formatBandwidth(line)}`,
      options: `--bandwidth ${Math.ceil((line * 8) / 1e6)}Mbit/s --max-bandwidth 0`,
      linkFactor: factor,
      qemu: { maxBandwidth: 0 },
    });
  }
  if (qemu.postcopyAfter === undefined) {
    found.push({
      change: 'switch to post-copy after one pass (the guest is lost if the network fails then)',
      options: '--postcopy-after 1',
      qemu: { postcopyAfter: { rounds: 1 } },
    });
  }
  return found;
}
