import { formatBytes, formatCount, formatDuration, formatPageAddress, PAGE_SIZE } from '../../core/index.ts';
import type { MemoryProfile } from '../../migration/index.ts';
import { grouped } from './grouped.ts';
import { html, type Markup } from './markup.ts';
import { HEAT_LEVELS } from './palette.ts';
import { percent } from './plot.ts';
import { timeScale } from './scale.ts';
import { section } from './section.ts';
import { tableDetails } from './table.ts';

/** Rows and columns are put together beyond these, so that the page stays small. */
const MOST_ROWS = 64;
const MOST_COLUMNS = 120;
/** Pixels of a row, and of one of many. */
const ROW_HEIGHT = 18;
const NARROW_ROW_HEIGHT = 13;
const FEW_ROWS = 24;
const MOST_MAPPINGS = 100;

interface HeatRow {
  readonly label: string;
  readonly counts: readonly number[];
}

/** What is drawn: the profile's heat, made to fit. */
interface HeatGrid {
  readonly columns: readonly number[];
  readonly rows: readonly HeatRow[];
}

/**
 * Shade of a count, from 1; 0 stands for nothing at all. Bounds grow with the square, so that little is seen beside much
 * and much is told apart.
 */
export function heatLevel(count: number, most: number): number {
  if (count <= 0) return 0;
  let level = HEAT_LEVELS;
  while (level > 1 && count < leastOf(level, most)) level--;
  return level;
}

/** The least count that has a shade. */
function leastOf(level: number, most: number): number {
  return Math.max(1, Math.ceil(most * ((level - 1) / (HEAT_LEVELS - 0.5)) ** 2));
}

/** Written pages by place in the address space, over time. */
export function heatMap({ heat, intervals, mappings }: MemoryProfile): Markup {
  const grid = fitted(heat);
  const last = intervals.at(-1);
  const end = last === undefined ? (grid.columns.at(-1) ?? 0) : last.atMicroseconds + last.lengthMicroseconds;
  const most = Math.max(0, ...grid.rows.map(({ counts }) => Math.max(0, ...counts)));
  const rowHeight = grid.rows.length > FEW_ROWS ? NARROW_ROW_HEIGHT : ROW_HEIGHT;
  const height = grid.rows.length * rowHeight;
  const { ticks } = timeScale(end);
  const labels = ticks.map(
    ({ share, label }, index) =>
      html`<text x="${percent(share)}" y="${height + 18}" text-anchor="${share < 0.02 ? 'start' : share > 0.96 ? 'end' : 'middle'}"${index % 2 === 0 ? html`` : html` class="minor"`}>${label}</text>`,
  );
  return section({
    id: 'heat',
    title: 'Where it writes',
    lead: 'Pages written in each part of the address space over time.',
    content: html`${legend(most)}
<div class="chart heat">
<ol class="rows${rowHeight < ROW_HEIGHT && ' many'}" aria-hidden="true">${grid.rows.map(({ label }) => html`<li title="${label}">${label}</li>`)}</ol>
<div class="plot" data-table="heat-data" data-title="Written pages by mapping and time" data-columns="${grid.columns.length}" data-rows="${grid.rows.length}" data-height="${height}">
<svg width="100%" height="${height + 26}" role="img" aria-label="Pages written in ${grid.rows.length} parts of the address space at ${grid.columns.length} times, at most ${formatCount(most)}.">
<svg width="100%" height="${height}" viewBox="0 0 ${grid.columns.length} ${grid.rows.length}" preserveAspectRatio="none" shape-rendering="crispEdges">${shades(grid, most)}</svg>
${grid.rows.map((_, row) => row > 0 && html`<line class="gap" x1="0" x2="100%" y1="${row * rowHeight}" y2="${row * rowHeight}"/>`)}${labels}</svg>
</div>
</div>
${tableDetails('heat-data', {
  caption: `Written pages in ${grid.rows.length} parts at ${grid.columns.length} times`,
  columns: [
    { heading: 'part' },
    ...grid.columns.map((at) => ({ heading: formatDuration(at), align: 'right' as const })),
  ],
  rows: grid.rows.map(({ label, counts }) => [label, ...counts.map(formatCount)]),
})}
${mappingTable(mappings)}`,
  });
}

/** The mappings in which most was written. */
function mappingTable(mappings: MemoryProfile['mappings']): Markup {
  const shown = mappings.slice(0, MOST_MAPPINGS);
  const all = shown.length === mappings.length ? '' : ` of ${formatCount(mappings.length)}`;
  return tableDetails('mappings-data', {
    caption: `The ${shown.length}${all} mappings written, busiest first`,
    columns: [
      { heading: 'mapping' },
      { heading: 'PID', align: 'right' },
      { heading: 'begins at' },
      { heading: 'size', align: 'right' },
      { heading: 'pages written', align: 'right' },
    ],
    rows: shown.map(({ label, pid, startPage, endPage, dirtyPages }) => [
      label || 'anonymous',
      String(pid),
      html`<code>${formatPageAddress(startPage)}</code>`,
      formatBytes((endPage - startPage) * PAGE_SIZE),
      formatCount(dirtyPages),
    ]),
  });
}

function legend(most: number): Markup {
  const entry = (level: number, text: string) =>
    html`<li><svg width="22" height="12" aria-hidden="true"><rect class="h${level}" width="22" height="12"/></svg>${text}</li>`;
  const levels = Array.from({ length: HEAT_LEVELS }, (_, index) => index + 1);
  // Where there are few counts, some shades stand for none.
  const used = levels.filter(
    (level) => level === HEAT_LEVELS || leastOf(level, most) < leastOf(level + 1, most),
  );
  return html`<ul class="legend">${entry(0, 'none')}${most > 0 && used.map((level) => entry(level, `${formatCount(leastOf(level, most))}+`))}</ul>`;
}

/** One path a shade: cells of a row that follow one another are one rectangle. */
function shades({ rows }: HeatGrid, most: number): Markup[] {
  const paths: string[] = new Array(HEAT_LEVELS + 1).fill('');
  for (const [row, { counts }] of rows.entries()) {
    for (let column = 0; column < counts.length; ) {
      const level = heatLevel(counts[column]!, most);
      let next = column + 1;
      while (next < counts.length && heatLevel(counts[next]!, most) === level) next++;
      paths[level] += `M${column} ${row}h${next - column}v1h${column - next}z`;
      column = next;
    }
  }
  return paths.flatMap((path, level) => (path === '' ? [] : [html`<path class="h${level}" d="${path}"/>`]));
}

/** In the order of their addresses, process by process. */
function fitted({ columns, rows, counts }: MemoryProfile['heat']): HeatGrid {
  const spans = grouped([...columns.keys()], MOST_COLUMNS);
  const several = new Set(rows.map(({ pid }) => pid)).size > 1;
  const order = [...rows.keys()].sort(
    (left, right) => rows[left]!.pid - rows[right]!.pid || rows[left]!.startPage - rows[right]!.startPage,
  );
  return {
    columns: spans.map((span) => columns[span[0]!]!),
    rows: grouped(order, MOST_ROWS).map((place) => ({
      label: labelOf(
        place.map((row) => rows[row]!),
        several,
      ),
      counts: spans.map((span) => {
        let sum = 0;
        for (const row of place) for (const column of span) sum += counts[row]?.[column] ?? 0;
        return sum;
      }),
    })),
  };
}

type PlaceRow = MemoryProfile['heat']['rows'][number];

/** What a row shows: the mapping's name without its folders, where it begins, its size, its process if there are several. */
function labelOf(rows: readonly PlaceRow[], several: boolean): string {
  const [first, last] = [rows[0]!, rows.at(-1)!];
  const pages = rows.reduce((sum, { startPage, endPage }) => sum + endPage - startPage, 0);
  const names = [...new Set([shortName(first.label), shortName(last.label)])].join(' … ');
  const size = formatBytes(pages * PAGE_SIZE);
  return `${names} ${formatPageAddress(first.startPage)}, ${size}${several ? `, PID ${first.pid}` : ''}`;
}

const shortName = (label: string): string => label.slice(label.lastIndexOf('/') + 1) || label || 'anonymous';
