import { formatBytes, formatCount, formatDuration } from '../core/index.ts';
import type { Rehearsal } from '../migration/index.ts';
import { formatFields, formatTable } from './table.ts';

/** Rounds shown at the beginning and at the end of a long table. */
const SHOWN_ROUNDS = 20;

/** A rehearsal for people: the verdict, the figures with their intervals, the rounds, what it costs the service. */
export function formatRehearsal(rehearsal: Rehearsal): string {
  return [verdict(rehearsal), figures(rehearsal), rounds(rehearsal), service(rehearsal), advice(rehearsal)]
    .filter((part) => part !== '')
    .join('\n');
}

function verdict({ verdict, policy, strategy, totalMicroseconds, ...rest }: Rehearsal): string {
  const total = formatDuration(totalMicroseconds);
  if (verdict === 'does-not-converge') return `${policy} does not converge: given up after ${total}.\n`;
  const { downtimeMicroseconds, transferredBytes } = rest;
  return (
    `${policy} converges (${strategy}): done after ${total}, standing still for ` +
    `${formatDuration(downtimeMicroseconds)}, ${formatBytes(transferredBytes)} sent.\n`
  );
}

function figures(rehearsal: Rehearsal): string {
  const { intervals, runs, convergence, pages, verdict, reportedDowntimeMicroseconds } = rehearsal;
  const between = ([low, high]: readonly [number, number], format: (value: number) => string) =>
    low === high ? format(low) : `${format(low)} to ${format(high)}`;
  const share = `${Math.round(convergence * 100)} % of ${runs} rehearsals`;
  const ended: [string, string][] = [
    ['total time', between(intervals.totalMicroseconds, formatDuration)],
    ['downtime', between(intervals.downtimeMicroseconds, formatDuration)],
  ];
  const told: [string, string][] = [
    ['converges', `${share}${convergence === 0 ? '' : '; they end within these bounds (90 %):'}`],
    ...(convergence === 0 ? [] : ended),
    ['sent', between(intervals.transferredBytes, formatBytes)],
    ['rounds', between(intervals.rounds, formatCount)],
    [
      'pages',
      `${formatCount(pages.normal)} whole, ${formatCount(pages.duplicate)} of zeros, ${formatCount(pages.xbzrle)} differences`,
    ],
  ];
  if (verdict === 'converges') {
    told.push([
      'reported downtime',
      `${formatDuration(reportedDowntimeMicroseconds)}, as the source measures it`,
    ]);
  }
  return formatFields(told);
}

function rounds({ rounds }: Rehearsal): string {
  const hidden = Math.max(0, rounds.length - 2 * SHOWN_ROUNDS);
  const shown =
    hidden === 0 ? rounds : [...rounds.slice(0, SHOWN_ROUNDS), ...rounds.slice(rounds.length - SHOWN_ROUNDS)];
  const table = formatTable(
    [
      { heading: 'round', align: 'right' },
      { heading: 'at', align: 'right' },
      { heading: 'remaining', align: 'right' },
      { heading: 'sent pages', align: 'right' },
      { heading: 'zeros', align: 'right' },
      { heading: 'sent', align: 'right' },
      { heading: 'dirtied', align: 'right' },
      { heading: 'throttle', align: 'right' },
    ],
    shown.map((round) => [
      String(round.number),
      formatDuration(round.startMicroseconds),
      formatBytes(round.remainingBytes),
      formatCount(round.sentPages),
      formatCount(round.zeroPages),
      formatBytes(round.sentBytes),
      formatCount(round.dirtiedPages),
      `${round.throttlePercent} %`,
    ]),
  );
  return hidden === 0 ? table : `${table}(${hidden} rounds in the middle are left out; --json has them)\n`;
}

function service({ service: cost }: Rehearsal): string {
  const lines: [string, string][] = [];
  if (cost.throttledMicroseconds > 0) {
    lines.push(['lost to throttling', formatDuration(cost.throttledMicroseconds)]);
  }
  if (cost.faultedPages > 0) {
    lines.push([
      'waited for pages',
      `${formatDuration(cost.faultMicroseconds)}, ${formatCount(cost.faultedPages)} faults`,
    ]);
  }
  return lines.length === 0 ? '' : formatFields(lines);
}

function advice({ advice: changes }: Rehearsal): string {
  return changes
    .map(
      ({ change, options, totalMicroseconds, downtimeMicroseconds }) =>
        `would help: ${change} (${options}): ${formatDuration(totalMicroseconds)}, of which ` +
        `${formatDuration(downtimeMicroseconds)} standing still\n`,
    )
    .join('');
}
