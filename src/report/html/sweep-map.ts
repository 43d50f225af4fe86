import { formatBandwidth, formatBytes, formatDuration } from '../../core/index.ts';
import type { SweepCell, SweepResult } from '../../migration/index.ts';
import { html, Markup } from './markup.ts';
import { HEAT_LEVELS } from './palette.ts';
import { section } from './section.ts';
import { scrollingTable } from './table.ts';

/** More combinations are not drawn one by one. */
const MOST_CELLS = 1000;
const MOST_FRONTIER_ROWS = 200;

/** What the shades of the map may stand for. */
interface Measure {
  readonly name: string;
  readonly text: string;
  readonly amountOf: (cell: SweepCell) => number;
  readonly format: (value: number) => string;
}

export const SWEEP_MEASURES: readonly Measure[] = [
  {
    name: 'downtime',
    text: 'downtime',
    amountOf: ({ downtimeMicroseconds }) => downtimeMicroseconds,
    format: formatDuration,
  },
  {
    name: 'total',
    text: 'total time',
    amountOf: ({ totalMicroseconds }) => totalMicroseconds,
    format: formatDuration,
  },
  {
    name: 'sent',
    text: 'bytes sent',
    amountOf: ({ transferredBytes }) => transferredBytes,
    format: formatBytes,
  },
];

/** All combinations as a heat map, which is a table itself, and those worth having. */
export function sweepMap(sweep: SweepResult): Markup {
  const { axes, cells, frontier } = sweep;
  const lead =
    `${cells.length} combinations of ${axes.map(({ name }) => name).join(', ')}. The stronger the shade of a field, the more of it. ` +
    'Those marked ◆ are worth having: no other one is as good in everything and better in something.';
  return section({
    id: 'sweep',
    title: 'Combinations',
    lead,
    content: [
      cells.length > MOST_CELLS
        ? html`<p>These are too many to draw; the choices worth having are below.</p>`
        : html`<div class="controls" data-sweep hidden></div><div class="sweep" data-measure="downtime" data-down="${layoutOf(sweep).down}" data-across="${layoutOf(sweep).across ?? -1}" data-axes="${JSON.stringify(axes.map(({ name, values }) => ({ name, labels: values.map(({ label }) => label) })))}" data-measures="${JSON.stringify(SWEEP_MEASURES.map(({ name, text }) => [name, text]))}">${facets(sweep)}</div>${legend()}`,
      html`<h3>Worth having: ${frontier.length} of ${cells.length}</h3>`,
      frontierTable(sweep, frontier),
    ],
  });
}

/** Axes by the number of their values: the longest goes down, the next across, the others make tables of their own. */
function layoutOf({ axes }: SweepResult): { down: number; across: number | undefined; others: number[] } {
  const order = axes
    .map((_, axis) => axis)
    .sort((left, right) => axes[right]!.values.length - axes[left]!.values.length || left - right);
  const [down = 0, across, ...others] = order;
  return { down, across, others: others.sort((left, right) => left - right) };
}

function facets(sweep: SweepResult): Markup[] {
  const { axes } = sweep;
  const { down, across, others } = layoutOf(sweep);
  const shades = shadesOf(sweep);
  const cellAt = new Map(sweep.cells.map((cell, index) => [cell.indices.join(), index]));
  const columns = across === undefined ? [-1] : axes[across]!.values.map((_, index) => index);
  return combinations(others.map((axis) => axes[axis]!.values.length)).map((chosen) => {
    const indices = new Array<number>(axes.length).fill(0);
    for (const [place, axis] of others.entries()) indices[axis] = chosen[place]!;
    const caption = others.map((axis) => `${axes[axis]!.name} ${axes[axis]!.values[indices[axis]!]!.label}`);
    const head = columns.map(
      (column) => html`<th scope="col">${column < 0 ? 'all' : axes[across!]!.values[column]!.label}</th>`,
    );
    const rows = axes[down]!.values.map(({ label }, row) => {
      indices[down] = row;
      const fields = columns.map((column) => {
        if (column >= 0) indices[across!] = column;
        const index = cellAt.get(indices.join());
        return index === undefined ? html`<td>–</td>` : field(sweep, index, shades[index]!);
      });
      return html`<tr><th scope="row">${label}</th>${fields}</tr>`;
    });
    const corner = html`${across !== undefined && html`<span>${axes[across]!.name} →</span> `}<span>${axes[down]!.name} ↓</span>`;
    return html`<div class="scroll" tabindex="0" role="group" aria-label="${['Combinations', ...caption].join(', ')}"><table><caption>${caption.join(', ') || 'All combinations'}</caption><thead><tr><th scope="col" class="corner">${corner}</th>${head}</tr></thead><tbody>${rows}</tbody></table></div>`;
  });
}

/** One combination: the figures of all measures, of which the page shows one, and what is to be known of it. */
function field({ cells, frontier }: SweepResult, index: number, shades: readonly number[]): Markup {
  const cell = cells[index]!;
  const data = SWEEP_MEASURES.map(({ name }, measure) => ` data-${name}="${shades[measure]}"`).join('');
  const opening = html`<td class="${cell.verdict === 'converges' ? 'ends' : 'never'}" data-indices="${cell.indices.join()}"${new Markup(data)}>`;
  if (cell.verdict === 'does-not-converge')
    return html`${opening}✕ <span class="hint">never ends</span></td>`;
  return html`${opening}${SWEEP_MEASURES.map(
    ({ name, amountOf, format }) => html`<span class="${name}">${format(amountOf(cell))}</span>`,
  )}${frontier.includes(index) && html`<b class="mark"> ◆<span class="unseen"> worth having</span></b>`}${
    !cell.meetsLimit && html`<span class="hint"> over limit</span>`
  }</td>`;
}

/** For each cell its shade in each measure: steps of the same factor from the least to the most. */
function shadesOf({ cells }: SweepResult): number[][] {
  const bounds = SWEEP_MEASURES.map(({ amountOf }) => {
    const values = cells
      .filter(({ verdict }) => verdict === 'converges')
      .map((cell) => Math.max(1, amountOf(cell)));
    return [Math.log(Math.min(...values)), Math.log(Math.max(...values))] as const;
  });
  return cells.map((cell) =>
    SWEEP_MEASURES.map(({ amountOf }, measure) => {
      const [low, high] = bounds[measure]!;
      if (!(high > low)) return 1;
      const share = (Math.log(Math.max(1, amountOf(cell))) - low) / (high - low);
      return 1 + Math.min(HEAT_LEVELS - 1, Math.max(0, Math.floor(share * HEAT_LEVELS)));
    }),
  );
}

function legend(): Markup {
  return html`<ul class="legend"><li><span class="mark">◆</span> worth having</li><li><span class="hint">over limit</span> ends, but stands still for longer than allowed</li><li>✕ never ends</li></ul>`;
}

function frontierTable(sweep: SweepResult, frontier: readonly number[]): Markup {
  const chosen = frontier
    .map((index) => sweep.cells[index]!)
    .sort((left, right) => left.downtimeMicroseconds - right.downtimeMicroseconds)
    .slice(0, MOST_FRONTIER_ROWS);
  return scrollingTable('frontier-data', {
    caption: `Worth having: ${frontier.length} of ${sweep.cells.length}`,
    columns: [
      ...sweep.axes.map(({ name }) => ({ heading: name })),
      { heading: 'downtime', align: 'right' },
      { heading: 'total time', align: 'right' },
      { heading: 'sent', align: 'right' },
      { heading: 'usable bandwidth', align: 'right' },
    ],
    rows: chosen.map((cell) => [
      ...sweep.axes.map(({ values }, axis) => values[cell.indices[axis]!]!.label),
      formatDuration(cell.downtimeMicroseconds),
      formatDuration(cell.totalMicroseconds),
      formatBytes(cell.transferredBytes),
      formatBandwidth(cell.bandwidthBytesPerSecond),
    ]),
  });
}

/** All choices of one value each, the last one counting fastest. */
function combinations(counts: readonly number[]): number[][] {
  return counts.reduce<number[][]>(
    (chosen, count) =>
      chosen.flatMap((start) => Array.from({ length: count }, (_, value) => [...start, value])),
    [[]],
  );
}
