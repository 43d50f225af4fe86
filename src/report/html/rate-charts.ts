import { formatBytes, formatCount, formatDuration, PAGE_SIZE } from '../../core/index.ts';
import type { MemoryProfile, Rehearsal } from '../../migration/index.ts';
import { grouped } from './grouped.ts';
import { html, type Markup } from './markup.ts';
import { areaPath, linePath, type Place, renderPlot, type Step, stepPlaces } from './plot.ts';
import { endOf } from './remaining-chart.ts';
import { byteScale, logarithmicTimeScale, timeScale } from './scale.ts';
import { figure } from './section.ts';

/** Rounds and intervals are put together beyond so many. */
const MOST_STEPS = 400;
const HEIGHT = 190;

/** A stretch of time with what was sent and written in it. */
interface Stretch {
  readonly from: number;
  readonly to: number;
  readonly dirtyPages: number;
  readonly sentBytes: number;
}

const perSecond = (amount: number, { from, to }: { readonly from: number; readonly to: number }): number =>
  to > from ? (amount * 1e6) / (to - from) : 0;

/** What is written and what is sent in each round: a migration converges where the first is below the second. */
export function roundRatesChart(rehearsal: Rehearsal): Markup {
  const { rounds } = rehearsal;
  const end = endOf(rehearsal);
  const single = rounds.map(
    ({ startMicroseconds, dirtiedPages, sentBytes }, index): Stretch => ({
      from: startMicroseconds,
      to: rounds[index + 1]?.startMicroseconds ?? end,
      dirtyPages: dirtiedPages,
      sentBytes,
    }),
  );
  const stretches = grouped(single, MOST_STEPS).map(together);
  const rates = stretches.map((stretch) => ({
    ...stretch,
    dirtied: perSecond(stretch.dirtyPages * PAGE_SIZE, stretch),
    sent: perSecond(stretch.sentBytes, stretch),
  }));
  const across = timeScale(end);
  const up = byteScale(Math.max(0, ...rates.flatMap(({ dirtied, sent }) => [dirtied, sent])), '/s');
  const steps = (value: (rate: (typeof rates)[number]) => number) =>
    stepPlaces(
      rates.map(
        (rate): Step => [across.shareOf(rate.from), across.shareOf(rate.to), up.shareOf(value(rate))],
      ),
    );
  const plot = renderPlot({
    id: 'round-rates',
    title: 'Rates of the rounds',
    summary: `Memory written and memory sent a second in each of ${rounds.length} rounds.`,
    height: HEIGHT,
    across,
    up,
    drawing: [
      html`<path class="area dirtied" d="${areaPath(steps(({ dirtied }) => dirtied))}"/>`,
      html`<path class="line sent" d="${linePath(steps(({ sent }) => sent))}"/>`,
      html`<path class="line dirtied" d="${linePath(steps(({ dirtied }) => dirtied))}"/>`,
    ],
    places: rates.map(
      ({ from, to, dirtied }): Place => [across.shareOf((from + to) / 2), up.shareOf(dirtied)],
    ),
    table: {
      caption: `Rates of ${rates.length} ${rates.length < rounds.length ? 'groups of rounds' : 'rounds'}`,
      columns: [
        { heading: 'at', align: 'right' },
        { heading: 'lasts', align: 'right' },
        { heading: 'written', align: 'right' },
        { heading: 'sent', align: 'right' },
      ],
      rows: rates.map(({ from, to, dirtied, sent }) => [
        formatDuration(from),
        formatDuration(to - from),
        `${formatBytes(dirtied)}/s`,
        `${formatBytes(sent)}/s`,
      ]),
    },
  });
  return figure({
    id: 'rates',
    title: 'Written and sent',
    lead: 'Rounds get shorter while less is written than sent. Pages written several times in a round count once.',
    legend: [
      { mark: 'line dirtied', text: 'written' },
      { mark: 'line sent', text: 'sent' },
    ],
    content: plot,
  });
}

/** How much the target wrote while it was watched. */
export function dirtyRateChart({ intervals }: MemoryProfile): Markup {
  const stretches = grouped(
    intervals.map(
      ({ atMicroseconds, lengthMicroseconds, dirtyPages }): Stretch => ({
        from: atMicroseconds,
        to: atMicroseconds + lengthMicroseconds,
        dirtyPages,
        sentBytes: 0,
      }),
    ),
    MOST_STEPS,
  ).map(together);
  const rates = stretches.map((stretch) => perSecond(stretch.dirtyPages * PAGE_SIZE, stretch));
  const across = timeScale(stretches.at(-1)?.to ?? 0, 5);
  const up = byteScale(Math.max(0, ...rates), '/s', 4);
  const steps = stepPlaces(
    stretches.map(
      ({ from, to }, index): Step => [across.shareOf(from), across.shareOf(to), up.shareOf(rates[index]!)],
    ),
  );
  const plot = renderPlot({
    id: 'dirty-rate',
    title: 'Dirty rate over time',
    summary: `Memory written a second, over ${formatDuration(stretches.at(-1)?.to ?? 0)}; at most ${formatBytes(Math.max(0, ...rates))}/s.`,
    height: HEIGHT,
    across,
    up,
    drawing: html`<path class="area dirtied" d="${areaPath(steps)}"/><path class="line dirtied" d="${linePath(steps)}"/>`,
    places: stretches.map(
      ({ from, to }, index): Place => [across.shareOf((from + to) / 2), up.shareOf(rates[index]!)],
    ),
    table: {
      caption: `Dirty rate in ${stretches.length} intervals`,
      columns: [
        { heading: 'at', align: 'right' },
        { heading: 'lasts', align: 'right' },
        { heading: 'pages written', align: 'right' },
        { heading: 'rate', align: 'right' },
      ],
      rows: stretches.map(({ from, to, dirtyPages }, index) => [
        formatDuration(from),
        formatDuration(to - from),
        formatCount(dirtyPages),
        `${formatBytes(rates[index]!)}/s`,
      ]),
    },
  });
  return figure({
    id: 'dirty',
    title: 'Dirty rate',
    lead: 'Memory written a second while the target was watched; a page counts once in each interval.',
    legend: [{ mark: 'line dirtied', text: 'written' }],
    content: plot,
  });
}

/** Distinct memory written in windows of growing length: what stays flat is the writable working set. */
export function workingSetChart({ workingSet, residentPages }: MemoryProfile): Markup {
  const across = logarithmicTimeScale(workingSet.map(({ windowMicroseconds }) => windowMicroseconds));
  const up = byteScale(Math.max(0, ...workingSet.map(({ high }) => high)) * PAGE_SIZE, '', 4);
  const place = (windowMicroseconds: number, pages: number): Place => [
    across.shareOf(windowMicroseconds),
    up.shareOf(pages * PAGE_SIZE),
  ];
  const mean = workingSet.map(({ windowMicroseconds, pages }) => place(windowMicroseconds, pages));
  const high = workingSet.map((point) => place(point.windowMicroseconds, point.high));
  const low = workingSet.map((point) => place(point.windowMicroseconds, point.low));
  const plot = renderPlot({
    id: 'working-set',
    title: 'Working set by window',
    summary: `Distinct memory written in windows of growing length, up to ${formatBytes((workingSet.at(-1)?.pages ?? 0) * PAGE_SIZE)}.`,
    height: HEIGHT,
    across,
    up,
    drawing: html`<path class="area workingSet" d="${linePath([...high, ...low.toReversed()])}Z"/><path class="line workingSet" d="${linePath(mean)}"/>`,
    places: mean,
    table: {
      caption: `Working set in ${workingSet.length} windows`,
      columns: [
        { heading: 'window', align: 'right' },
        { heading: 'mean', align: 'right' },
        { heading: 'least', align: 'right' },
        { heading: 'most', align: 'right' },
      ],
      rows: workingSet.map((point) => [
        formatDuration(point.windowMicroseconds),
        ...[point.pages, point.low, point.high].map((pages) => formatBytes(pages * PAGE_SIZE)),
      ]),
    },
  });
  return figure({
    id: 'working-set-curve',
    title: 'Working set',
    lead: `Distinct memory written within windows of growing length, of ${formatBytes(residentPages * PAGE_SIZE)} resident.`,
    legend: [
      { mark: 'line workingSet', text: 'mean of the windows' },
      { mark: 'area workingSet', text: 'from the least to the most' },
    ],
    content: plot,
  });
}

function together(group: readonly Stretch[]): Stretch {
  const sum = (value: (stretch: Stretch) => number) =>
    group.reduce((total, stretch) => total + value(stretch), 0);
  return {
    from: group[0]!.from,
    to: group.at(-1)!.to,
    dirtyPages: sum(({ dirtyPages }) => dirtyPages),
    sentBytes: sum(({ sentBytes }) => sentBytes),
  };
}
