import { formatBytes, formatCount, formatDuration } from '../core/index.ts';
import type { SweepCell, SweepResult } from '../migration/index.ts';
import { type Column, formatTable } from './table.ts';

/** A sweep for people: how many combinations do, those worth having, then all. */
export function formatSweep(sweep: SweepResult): string {
  const { cells, frontier } = sweep;
  const all = cells.map((_, index) => index);
  const parts = [headline(sweep)];
  if (frontier.length > 0 && frontier.length < cells.length) {
    parts.push('Worth having (none of the others is as good in every figure and better in one):');
    parts.push(table(sweep, frontier));
  }
  parts.push('All combinations (* worth having):');
  parts.push(table(sweep, all, new Set(frontier)));
  return `${parts.map((part) => part.trimEnd()).join('\n\n')}\n`;
}

function headline({ cells, frontier, runs }: SweepResult): string {
  const converging = cells.filter(({ verdict }) => verdict === 'converges').length;
  const kept = cells.filter(({ meetsLimit }) => meetsLimit).length;
  const worth = frontier.length === 1 ? '1 is' : `${frontier.length} are`;
  const each = runs === 1 ? '' : `, ${runs} rehearsals each`;
  return (
    `Of ${formatCount(cells.length)} combinations${each}, ${formatCount(converging)} converge, ` +
    `${formatCount(kept)} within their downtime limit; ${worth} worth having.`
  );
}

function table({ axes, cells }: SweepResult, indices: readonly number[], marked?: Set<number>): string {
  const showsService = cells.some((cell) => slowedMicroseconds(cell) > 0);
  const columns: Column[] = [
    ...(marked === undefined ? [] : [{ heading: '' }]),
    ...axes.map(({ name }): Column => ({ heading: name, align: 'right' })),
    { heading: 'verdict' },
    { heading: 'total', align: 'right' },
    { heading: 'downtime', align: 'right' },
    { heading: 'sent', align: 'right' },
    { heading: 'rounds', align: 'right' },
    ...(showsService ? [{ heading: 'service lost', align: 'right' } as const] : []),
  ];
  const rows = indices.map((index) => {
    const cell = cells[index]!;
    const converges = cell.verdict === 'converges';
    return [
      ...(marked === undefined ? [] : [marked.has(index) ? '*' : '']),
      ...axes.map(({ values }, axis) => values[cell.indices[axis]!]!.label),
      verdictOf(cell),
      converges ? formatDuration(cell.totalMicroseconds) : '–',
      converges ? formatDuration(cell.downtimeMicroseconds) : '–',
      formatBytes(cell.transferredBytes),
      String(cell.rounds),
      ...(showsService ? [formatDuration(slowedMicroseconds(cell))] : []),
    ];
  });
  return formatTable(columns, rows);
}

function verdictOf({ verdict, meetsLimit, convergence }: SweepCell): string {
  if (verdict === 'does-not-converge') return 'does not converge';
  const seldom = convergence < 1 ? ` (${Math.round(convergence * 100)} %)` : '';
  return `${meetsLimit ? 'converges' : 'misses its limit'}${seldom}`;
}

/** Time that the service lost before and after the stop. */
function slowedMicroseconds({ service }: SweepCell): number {
  return service.throttledMicroseconds + service.faultMicroseconds;
}
