import { formatBandwidth, formatBytes, formatCount, formatDuration } from '../core/index.ts';
import type { Migration, Rehearsal } from '../migration/index.ts';
import { migrationJson } from './migration-report.ts';
import { formatTable } from './table.ts';

/** What became of a rehearsed migration on the real network, and what would be predicted with what was found there. */
export interface Shadow {
  readonly migration: Migration;
  /** With the bandwidth that was found, and a destination that stores nothing. */
  readonly predicted: Rehearsal;
}

type Figures = Pick<Rehearsal, 'totalMicroseconds' | 'downtimeMicroseconds' | 'transferredBytes' | 'rounds'>;

const ROWS: readonly [name: string, figure: (figures: Figures) => string][] = [
  ['total time', ({ totalMicroseconds }) => formatDuration(totalMicroseconds)],
  ['standing still', ({ downtimeMicroseconds }) => formatDuration(downtimeMicroseconds)],
  ['sent', ({ transferredBytes }) => formatBytes(transferredBytes)],
  ['rounds', ({ rounds }) => formatCount(rounds.length)],
];

/** Prediction and reality, side by side. */
export function formatShadow(rehearsal: Rehearsal, { migration, predicted }: Shadow): string {
  const { peer, linkBytesPerSecond, end } = migration;
  const ended = end === 'given-up' ? 'did not converge' : 'went on here';
  const found = linkBytesPerSecond === undefined ? '' : ` at ${formatBandwidth(linkBytesPerSecond)}`;
  const table = formatTable(
    [
      { heading: '' },
      { heading: 'predicted', align: 'right' },
      { heading: 'measured', align: 'right' },
      { heading: `predicted${found}, unstored`, align: 'right' },
    ],
    ROWS.map(([name, figure]) => [
      name,
      ...[rehearsal, migration, predicted].map((each) =>
        each.verdict === 'converges' ? figure(each) : 'does not end',
      ),
    ]),
  );
  return `Sent for real to ${peer}, where nothing was kept; the target ${ended}:\n\n${table}`;
}

export function shadowJson({ migration, predicted }: Shadow): Record<string, unknown> {
  return { ...migrationJson(migration), predicted };
}
