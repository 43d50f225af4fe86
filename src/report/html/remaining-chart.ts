import { formatBytes, formatDuration, thinned } from '../../core/index.ts';
import type { CurvePoint, Outcome, Rehearsal, Round } from '../../migration/index.ts';
import { stopOf } from '../stop.ts';
import { html, type Markup } from './markup.ts';
import {
  areaPath,
  linePath,
  type Place,
  percent,
  renderPlot,
  type Step,
  scaled,
  spaced,
  stepPlaces,
} from './plot.ts';
import { byteScale, type Scale, timeScale } from './scale.ts';
import { figure } from './section.ts';
import { type DataTable, tableDetails } from './table.ts';

const MOST_POINTS = 600;
/** Beyond so many rounds their beginnings are not drawn one by one. */
const MOST_ROUND_LINES = 60;
/** Share of the width that the number of a round takes on a wide and on a narrow screen. */
const ROUND_LABEL = 0.035;
const NARROW_ROUND_LABEL = 0.09;
/** Share of the width that a percentage takes. */
const THROTTLE_LABEL = 0.05;
const TOP_HEIGHT = 46;
const THROTTLE_HEIGHT = 44;

/** End of the time axis of everything that is drawn over the course of the migration. */
export function endOf(rehearsal: Rehearsal): number {
  const [, resumed = 0] = stopOf(rehearsal) ?? [];
  const last = rehearsal.curve.at(-1)?.atMicroseconds ?? 0;
  return Math.max(rehearsal.totalMicroseconds, resumed, last);
}

/** Remaining memory over time, with the rounds, the throttling and the stop. */
export function remainingChart(rehearsal: Rehearsal, measured?: Outcome): Markup {
  const { rounds, totalMicroseconds } = rehearsal;
  const curve = thinned(rehearsal.curve, MOST_POINTS, (point) => point.remainingBytes);
  const most = [...curve, ...(measured?.curve ?? [])].reduce(
    (high, { remainingBytes }) => Math.max(high, remainingBytes),
    0,
  );
  const real = thinned(measured?.curve ?? [], MOST_POINTS, (point) => point.remainingBytes);
  const across = timeScale(Math.max(endOf(rehearsal), real.at(-1)?.atMicroseconds ?? 0));
  const up = byteScale(most);
  const stop = stopOf(rehearsal);
  const throttled = rounds.some(({ throttlePercent }) => throttlePercent > 0);
  const placeOf = (point: CurvePoint): Place => [
    across.shareOf(point.atMicroseconds),
    up.shareOf(point.remainingBytes),
  ];
  const places = curve.map(placeOf);
  const plot = renderPlot({
    id: 'remaining',
    title: 'Remaining memory over time',
    summary:
      `Remaining memory over ${formatDuration(totalMicroseconds)} and ${rounds.length} rounds, ` +
      `from ${formatBytes(curve[0]?.remainingBytes ?? 0)} to ${formatBytes(curve.at(-1)?.remainingBytes ?? 0)}` +
      `${stop === undefined ? '; it never stops' : `; it stops after ${formatDuration(stop[0])}`}.`,
    height: 260,
    topHeight: TOP_HEIGHT,
    across,
    up,
    drawing: [
      stop === undefined ? undefined : stopBand(stop, across),
      html`<path class="area remaining" d="${areaPath(places)}"/><path class="line remaining" d="${linePath(places)}"/>`,
      real.length > 1 && html`<path class="line measured" d="${linePath(real.map(placeOf))}"/>`,
    ],
    overlay: [roundMarks(rounds, across, stop?.[0]), stop === undefined ? undefined : stopMark(stop, across)],
    places,
    lane: throttled && throttleLane(rounds, across, endOf(rehearsal)),
    table: curveTable(`Remaining memory at ${curve.length} instants`, curve, rounds),
  });
  const behind =
    measured !== undefined &&
    real.length > 1 &&
    tableDetails(
      'remaining-measured-data',
      curveTable(`As measured at ${real.length} instants`, real, measured.rounds),
    );
  return figure({
    id: 'over-time',
    title: 'Remaining memory',
    lead: 'What is left to send. Each round sends what was written during the one before; the numbers above are the rounds.',
    legend: [
      { mark: 'line remaining', text: 'remaining memory' },
      ...(real.length > 1 ? [{ mark: 'line measured', text: 'as measured' }] : []),
      ...(stop === undefined ? [] : [{ mark: 'band stop', text: 'the service stands still' }]),
      ...(throttled ? [{ mark: 'band throttle', text: 'processor time taken from it' }] : []),
    ],
    content: [plot, behind],
  });
}

function curveTable(caption: string, curve: readonly CurvePoint[], rounds: readonly Round[]): DataTable {
  return {
    caption,
    columns: [
      { heading: 'at', align: 'right' },
      { heading: 'remaining', align: 'right' },
      { heading: 'round', align: 'right' },
    ],
    rows: curve.map((point) => [
      formatDuration(point.atMicroseconds),
      formatBytes(point.remainingBytes),
      String(roundAt(rounds, point)),
    ]),
  };
}

/** The number of the round in which a point lies; where one begins, the new one. */
function roundAt(rounds: readonly Round[], { atMicroseconds }: CurvePoint): number {
  let found = 0;
  for (const { number, startMicroseconds } of rounds) {
    if (startMicroseconds > atMicroseconds) break;
    found = number;
  }
  return found;
}

function stopBand([from, to]: readonly [number, number], { shareOf }: Scale): Markup {
  const x = scaled(shareOf(from));
  return html`<rect class="band stop" x="${x}" y="0" width="${scaled(shareOf(to)) - x}" height="1000"/>`;
}

function stopMark([from, to]: readonly [number, number], { shareOf }: Scale): Markup {
  const x = percent(shareOf(from));
  const anchor = shareOf(from) > 0.5 ? 'end' : 'start';
  return html`<line class="stop" x1="${x}" x2="${x}" y1="20" y2="${TOP_HEIGHT + 260}"/>
<text class="stop" x="${x}" y="14" text-anchor="${anchor}">stop: ${formatDuration(to - from)}</text>`;
}

function roundMarks(rounds: readonly Round[], { shareOf }: Scale, stop: number | undefined): Markup {
  const shares = rounds.map(({ startMicroseconds }) => shareOf(startMicroseconds));
  const wide = spaced(shares, ROUND_LABEL);
  const narrow = spaced(shares, NARROW_ROUND_LABEL);
  const lines = rounds.length <= MOST_ROUND_LINES;
  // The stop has a line of its own.
  const besideStop = (share: number) => stop !== undefined && shareOf(stop) - share < ROUND_LABEL / 3;
  return html`<g class="rounds">${rounds.map(({ number }, index) => {
    if (!lines && !wide[index]) return undefined;
    const x = percent(shares[index]!);
    const line = html`<line class="round" x1="${x}" x2="${x}" y1="${TOP_HEIGHT - 6}" y2="${TOP_HEIGHT + 260}"/>`;
    const label =
      wide[index] &&
      !besideStop(shares[index]!) &&
      html`<text x="${x}" y="${TOP_HEIGHT - 12}" text-anchor="${shares[index]! < 0.01 ? 'start' : 'middle'}"${narrow[index] ? html`` : html` class="minor"`}>${number}</text>`;
    return html`${line}${label}`;
  })}</g>`;
}

/** Under the chart, on the same axis: the share of its processor time that the service loses. */
function throttleLane(rounds: readonly Round[], { shareOf }: Scale, end: number): Markup {
  const steps = rounds.map(({ startMicroseconds, throttlePercent }, index): Step => {
    const until = rounds[index + 1]?.startMicroseconds ?? end;
    return [shareOf(startMicroseconds), shareOf(until), throttlePercent / 100];
  });
  const changes = steps.filter(([, , share], index) => share > 0 && share !== steps[index - 1]?.[2]);
  const starts = changes.map(([from]) => Math.min(from, 1 - THROTTLE_LABEL));
  const [wide, narrow] = [spaced(starts, THROTTLE_LABEL), spaced(starts, 3 * THROTTLE_LABEL)];
  const labels = changes.map(
    ([, , share], index) =>
      wide[index] &&
      html`<text x="${percent(starts[index]!)}" y="12"${narrow[index] ? html`` : html` class="minor"`}>${Math.round(share * 100)} %</text>`,
  );
  return html`<div class="chart lane"><svg class="up" width="66" height="${THROTTLE_HEIGHT}" aria-hidden="true"><text x="58" y="28" text-anchor="end">throttle</text></svg>
<div class="plot"><svg width="100%" height="${THROTTLE_HEIGHT}" role="img" aria-label="Throttling by round; the table of rounds has the figures."><svg y="16" width="100%" height="${THROTTLE_HEIGHT - 16}" viewBox="0 0 1000 1000" preserveAspectRatio="none"><path class="area throttle" d="${areaPath(stepPlaces(steps))}"/></svg>
<line class="grid" x1="0" x2="100%" y1="${THROTTLE_HEIGHT - 0.5}" y2="${THROTTLE_HEIGHT - 0.5}"/>${labels}</svg></div></div>`;
}
