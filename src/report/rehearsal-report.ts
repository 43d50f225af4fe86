import { formatBytes, formatCount, formatDuration } from '../core/index.ts';
import type { Rehearsal } from '../migration/index.ts';
import {
  adviceWords,
  boundsWords,
  convergenceWords,
  formatInterval,
  outerRounds,
  pagesWords,
  ROUND_COLUMNS,
  roundCells,
  serviceFields,
  verdictSentence,
} from './rehearsal-words.ts';
import { formatRemainingCurve, PLAIN_SURFACE, type TextSurface } from './remaining-curve.ts';
import { formatFields, formatTable } from './table.ts';

/** Rounds shown at the beginning and at the end of a long table. */
const SHOWN_ROUNDS = 20;

/** A rehearsal for people: the verdict, the figures with their intervals, the curve, the rounds, what it costs the service. */
export function formatRehearsal(rehearsal: Rehearsal, surface: TextSurface = PLAIN_SURFACE): string {
  return [
    `${verdictSentence(rehearsal)}\n`,
    figures(rehearsal),
    formatRemainingCurve(rehearsal, surface),
    formatRounds(rehearsal),
    service(rehearsal),
    advice(rehearsal),
  ]
    .filter((part) => part !== '')
    .join('\n');
}

function figures(rehearsal: Rehearsal): string {
  const { intervals, convergence, verdict, reportedDowntimeMicroseconds } = rehearsal;
  const ended: [string, string][] = [
    ['total time', formatInterval(intervals.totalMicroseconds, formatDuration)],
    ['downtime', formatInterval(intervals.downtimeMicroseconds, formatDuration)],
  ];
  const bounds =
    convergence === 0 || rehearsal.runs === 1
      ? ''
      : `; they end within these bounds (${boundsWords(rehearsal)}):`;
  const told: [string, string][] = [
    ['converges', `${convergenceWords(rehearsal)}${bounds}`],
    ...(convergence === 0 ? [] : ended),
    ['sent', formatInterval(intervals.transferredBytes, formatBytes)],
    ['rounds', formatInterval(intervals.rounds, formatCount)],
    ['pages', pagesWords(rehearsal)],
  ];
  if (verdict === 'converges') {
    told.push([
      'reported downtime',
      `${formatDuration(reportedDowntimeMicroseconds)}, as the source measures it`,
    ]);
  }
  return formatFields(told);
}

/** The table of rounds, of a rehearsal or a migration. */
export function formatRounds({ rounds }: Pick<Rehearsal, 'rounds'>): string {
  const { shown, hidden } = outerRounds(rounds, SHOWN_ROUNDS);
  const table = formatTable(ROUND_COLUMNS, shown.map(roundCells));
  return hidden === 0 ? table : `${table}(${hidden} rounds in the middle are left out; --json has them)\n`;
}

function service(rehearsal: Rehearsal): string {
  const fields = serviceFields(rehearsal);
  return fields.length === 0 ? '' : formatFields(fields);
}

function advice({ advice: changes }: Rehearsal): string {
  return changes
    .map((change) => `would help: ${change.change} (${change.options}): ${adviceWords(change)}\n`)
    .join('');
}
