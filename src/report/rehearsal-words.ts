import { formatBytes, formatCount, formatDuration } from '../core/index.ts';
import type { Advice, Rehearsal, Round } from '../migration/index.ts';
import type { Column } from './table.ts';

/** `1.05 s to 1.07 s`, or one value where both bounds read the same. */
export function formatInterval(
  [low, high]: readonly [number, number],
  format: (value: number) => string,
): string {
  const [from, to] = [format(low), format(high)];
  return from === to ? from : `${from} to ${to}`;
}

/** The answer in one sentence: whether it ends, when, at what cost, and what would help if it misses its limit. */
export function verdictSentence(rehearsal: Rehearsal): string {
  const { verdict, policy, strategy, intervals, advice } = rehearsal;
  const [cheapest] = advice;
  const remedy = cheapest === undefined ? '' : `; it would help to ${cheapest.change} (${cheapest.options})`;
  const withInterval = (
    name: 'totalMicroseconds' | 'downtimeMicroseconds' | 'transferredBytes',
    format: (value: number) => string,
  ) => {
    const told = format(rehearsal[name]);
    const bounds = formatInterval(intervals[name], format);
    return bounds === told ? told : `${told} (${bounds})`;
  };
  if (verdict === 'does-not-converge') {
    return `${policy} does not converge: given up after ${formatDuration(rehearsal.totalMicroseconds)}${remedy}.`;
  }
  return (
    `${policy} converges (${strategy}): done after ${withInterval('totalMicroseconds', formatDuration)}, ` +
    `standing still for ${withInterval('downtimeMicroseconds', formatDuration)}, ` +
    `${withInterval('transferredBytes', formatBytes)} sent${remedy}.`
  );
}

/** `95 % of 20 rehearsals`, or whether the only one did. */
export function convergenceWords({ convergence, runs }: Rehearsal): string {
  if (runs === 1) return convergence === 1 ? 'the only rehearsal does' : 'the only rehearsal does not';
  return `${Math.round(convergence * 100)} % of ${runs} rehearsals`;
}

/** Of fewer values than this the least and the most promise less than nine in ten. */
const VALUES_FOR_NINETY_PERCENT = 19;

/** What the bounds of a rehearsal promise: `90 %`, or of few rehearsals `least and most of 5`. */
export function boundsWords({ convergence, runs }: Rehearsal): string {
  // Those that were given up have no time of their own; only where all were, theirs count.
  const told = convergence === 0 ? runs : Math.round(convergence * runs);
  return told < VALUES_FOR_NINETY_PERCENT ? `least and most of ${told}` : '90 %';
}

export function pagesWords({ pages }: Rehearsal): string {
  const { normal, duplicate, xbzrle } = pages;
  return `${formatCount(normal)} whole, ${formatCount(duplicate)} of zeros, ${formatCount(xbzrle)} differences`;
}

export const ROUND_COLUMNS: readonly Column[] = [
  { heading: 'round', align: 'right' },
  { heading: 'at', align: 'right' },
  { heading: 'remaining', align: 'right' },
  { heading: 'sent pages', align: 'right' },
  { heading: 'zeros', align: 'right' },
  { heading: 'sent', align: 'right' },
  { heading: 'dirtied', align: 'right' },
  { heading: 'throttle', align: 'right' },
];

/** A round under the headings of `ROUND_COLUMNS`. */
export function roundCells(round: Round): string[] {
  return [
    String(round.number),
    formatDuration(round.startMicroseconds),
    formatBytes(round.remainingBytes),
    formatCount(round.sentPages),
    formatCount(round.zeroPages),
    formatBytes(round.sentBytes),
    formatCount(round.dirtiedPages),
    `${round.throttlePercent} %`,
  ];
}

/** So many rounds from the beginning and from the end of a long list, and how many in the middle are hidden. */
export function outerRounds(
  rounds: readonly Round[],
  most: number,
): { readonly shown: readonly Round[]; readonly hidden: number } {
  const hidden = Math.max(0, rounds.length - 2 * most);
  if (hidden === 0) return { shown: rounds, hidden };
  return { shown: [...rounds.slice(0, most), ...rounds.slice(rounds.length - most)], hidden };
}

/** What the migration costs the service beside the stop; empty if nothing. */
export function serviceFields({ service }: Rehearsal): [name: string, value: string][] {
  const fields: [string, string][] = [];
  if (service.throttledMicroseconds > 0) {
    fields.push(['lost to throttling', formatDuration(service.throttledMicroseconds)]);
  }
  if (service.faultedPages > 0) {
    const waited = formatDuration(service.faultMicroseconds);
    fields.push(['waited for pages', `${waited}, ${formatCount(service.faultedPages)} faults`]);
  }
  return fields;
}

/** When the program would be done, and how long it would stand still, with a change. */
export function adviceWords({ totalMicroseconds, downtimeMicroseconds }: Advice): string {
  return `${formatDuration(totalMicroseconds)}, of which ${formatDuration(downtimeMicroseconds)} standing still`;
}
