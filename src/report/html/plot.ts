import { type Content, html, Markup } from './markup.ts';
import type { Scale } from './scale.ts';
import { type DataTable, tableDetails } from './table.ts';

/** A place in a drawing, as shares of its width and of its height from below. */
export type Place = readonly [x: number, y: number];

/** Drawings are made in a square of this size, which is then stretched over the area, so that no script is needed. */
const SIZE = 1000;
/** Share of a narrow screen's width that the label of a tick takes, and the number of a round. */
const NARROW_LABEL = 0.19;
/** Heights in pixels. */
const AXIS_HEIGHT = 26;
const TOP_HEIGHT = 10;

/** A chart with two axes. */
export interface Plot {
  readonly id: string;
  readonly title: string;
  /** What it shows, in a sentence, for those who do not see it. */
  readonly summary: string;
  /** Pixels of the area between the axes, and of what stands above it. */
  readonly height: number;
  readonly topHeight?: number;
  readonly across: Scale;
  readonly up: Scale;
  /** What is drawn in the stretched square, and over it. */
  readonly drawing: Content;
  readonly overlay?: Content;
  /** What stands below it on the same axis. */
  readonly lane?: Content;
  /** Where each row of the table lies. */
  readonly places: readonly Place[];
  readonly table: DataTable;
}

/** The chart; the script makes it a slider over the rows of its table. */
export function renderPlot(plot: Plot): Markup {
  const { id, title, summary, height, topHeight = TOP_HEIGHT, across, up, drawing, overlay, places } = plot;
  const total = topHeight + height + AXIS_HEIGHT;
  const lines = up.ticks.map(({ share }) => {
    const y = round(topHeight + (1 - share) * height);
    return html`<line class="grid" x1="0" x2="100%" y1="${y}" y2="${y}"/>`;
  });
  const points = places.map(([x, y]) => `${scaled(x)},${scaled(1 - y)}`).join(' ');
  return html`<div class="chart">
<svg class="up" width="66" height="${total}" aria-hidden="true">${up.ticks.map(
    ({ share, label }) =>
      html`<text x="58" y="${round(topHeight + (1 - share) * height + 4)}" text-anchor="end">${label}</text>`,
  )}</svg>
<div class="plot" data-table="${id}-data" data-title="${title}" data-top="${topHeight}" data-height="${height}" data-points="${points}">
<svg width="100%" height="${total}" role="img" aria-label="${summary}">${lines}
<svg y="${topHeight}" width="100%" height="${height}" viewBox="0 0 ${SIZE} ${SIZE}" preserveAspectRatio="none">${drawing}</svg>
${overlay}${acrossLabels(across, topHeight + height)}</svg>
</div>
</div>
${plot.lane}${tableDetails(`${id}-data`, plot.table)}`;
}

function acrossLabels({ ticks }: Scale, y: number): Markup[] {
  const shown = spaced(
    ticks.map(({ share }) => share),
    NARROW_LABEL,
  );
  return ticks.map(({ share, label }, index) => {
    const x = percent(share);
    const anchor = share < 0.02 ? 'start' : share > 0.96 ? 'end' : 'middle';
    const minor = shown[index] ? '' : ' class="minor"';
    return html`<g${new Markup(minor)}><line class="tick" x1="${x}" x2="${x}" y1="${y}" y2="${y + 5}"/><text x="${x}" y="${y + 19}" text-anchor="${anchor}">${label}</text></g>`;
  });
}

/** Which of some places, in ascending order, can have a label that needs so much room. */
export function spaced(shares: readonly number[], room: number): boolean[] {
  let last = Number.NEGATIVE_INFINITY;
  return shares.map((share) => {
    if (share - last < room) return false;
    last = share;
    return true;
  });
}

/** A line through the places. */
export function linePath(places: readonly Place[]): string {
  return places.map(([x, y], index) => `${index === 0 ? 'M' : 'L'}${scaled(x)} ${scaled(1 - y)}`).join('');
}

/** What lies under a line. */
export function areaPath(places: readonly Place[]): string {
  const [first, last] = [places[0], places.at(-1)];
  if (first === undefined || last === undefined) return '';
  return `${linePath(places)}L${scaled(last[0])} ${SIZE}L${scaled(first[0])} ${SIZE}Z`;
}

/** A step: a value that holds from one share of the width to another. */
export type Step = readonly [from: number, to: number, value: number];

/** The corners of steps. */
export function stepPlaces(steps: readonly Step[]): Place[] {
  return steps.flatMap(([from, to, value]): Place[] => [
    [from, value],
    [to, value],
  ]);
}

export const percent = (share: number): string => `${round(share * 100)}%`;

/** A share in the units of drawings. */
export const scaled = (share: number): number => round(share * SIZE);

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
