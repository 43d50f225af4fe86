import { formatBandwidth, formatBytes, formatCount, formatDuration } from '../../core/index.ts';
import type { IntervalName, Outcome, Rehearsal } from '../../migration/index.ts';
import {
  boundsWords,
  formatInterval,
  outerRounds,
  pagesWords,
  ROUND_COLUMNS,
  roundCells,
  serviceFields,
  verdictSentence,
} from '../rehearsal-words.ts';
import type { Shadow } from '../shadow-report.ts';
import type { RehearsalReportInput, ReportParameter } from './input.ts';
import { type Content, html, type Markup } from './markup.ts';
import { section } from './section.ts';
import { scrollingTable } from './table.ts';

/** Rounds in the table at the beginning and at the end of many. */
const SHOWN_ROUNDS = 100;

/** The answer in one sentence, then its figures with their bounds. */
export function verdict({ rehearsal, target, notes, generatedAt }: RehearsalReportInput): Markup {
  const ends = rehearsal.verdict === 'converges';
  const sign = ends ? 'M4 12.5l5 5L20 6.5' : 'M6 6l12 12M18 6L6 18';
  return html`<header class="verdict ${ends ? 'good' : 'bad'}">
<p class="over">Rehearsed migration of <strong>${target}</strong>, ${generatedAt.toISOString().replace(/T(\d+:\d+).*/, ' $1')} UTC</p>
<h1><svg width="30" height="30" viewBox="0 0 24 24" aria-hidden="true"><path d="${sign}"/></svg><span>${emphasised(verdictSentence(rehearsal))}</span></h1>
${keyFigures(rehearsal)}
${notes.length > 0 && html`<ul class="notes">${notes.map((note) => html`<li>${note}</li>`)}</ul>`}
</header>
`;
}

/** The sentence with its bounds set back, the remedy on a line of its own, and no line broken within a figure. */
function emphasised(sentence: string): Markup {
  const [answer = '', remedy] = sentence.split(/(?<=;) (?=it would help)/);
  const bounds = answer.split(/(\([^)]*\))/).map((part) => {
    const unbroken = part.replaceAll(/(?<=\d) (?=\w+)/g, '\u00a0');
    return part.startsWith('(') ? html`<small>${unbroken}</small>` : unbroken;
  });
  const words = remedy
    ?.split(/(--[\w-]+)/)
    .map((part) => (part.startsWith('--') ? html`<code>${part}</code>` : part));
  return html`${bounds}${words !== undefined && html` <span class="remedy">${words}</span>`}`;
}

interface KeyFigure {
  readonly name: string;
  readonly value: number;
  readonly bounds: readonly [number, number];
  readonly format: (value: number) => string;
}

function keyFigures(rehearsal: Rehearsal): Markup {
  const { intervals } = rehearsal;
  // One rehearsal says nothing of what else may happen.
  const several = rehearsal.runs > 1;
  const ended: KeyFigure[] = [
    {
      name: 'downtime',
      value: rehearsal.downtimeMicroseconds,
      bounds: intervals.downtimeMicroseconds,
      format: formatDuration,
    },
    {
      name: 'total time',
      value: rehearsal.totalMicroseconds,
      bounds: intervals.totalMicroseconds,
      format: formatDuration,
    },
  ];
  const figures: KeyFigure[] = [
    ...(rehearsal.verdict === 'converges' ? ended : []),
    {
      name: 'sent',
      value: rehearsal.transferredBytes,
      bounds: intervals.transferredBytes,
      format: formatBytes,
    },
    { name: 'rounds', value: rehearsal.rounds.length, bounds: intervals.rounds, format: formatCount },
  ];
  return html`<dl class="figures">${figures.map((figure) => keyFigure(figure, several ? boundsWords(rehearsal) : undefined))}
${several && html`<div><dt>converges</dt><dd><b>${Math.round(rehearsal.convergence * 100)} %</b><span>of ${rehearsal.runs} rehearsals</span></dd></div>`}
</dl>`;
}

/** A figure, its bounds in words, and as a bar on an axis that begins at zero. */
function keyFigure({ name, value, bounds, format }: KeyFigure, promise: string | undefined): Markup {
  if (promise === undefined) return html`<div><dt>${name}</dt><dd><b>${format(value)}</b></dd></div>`;
  const end = Math.max(value, bounds[1]) * 1.1 || 1;
  const at = (amount: number) => Math.round((amount / end) * 1000) / 10;
  const width = Math.max(1.5, at(bounds[1]) - at(bounds[0]));
  return html`<div><dt>${name}</dt><dd><b>${format(value)}</b><svg width="100%" height="10" aria-hidden="true"><rect class="track" width="${at(value)}%" y="2" height="6" rx="3"/><rect class="bounds" x="${at(bounds[0])}%" width="${width}%" y="2" height="6" rx="3"/></svg><span>${promise}: ${formatInterval(bounds, format)}</span></dd></div>`;
}

/** What would bring it to its end within its limit. */
export function advice({ advice: changes }: Rehearsal): Markup {
  if (changes.length === 0) return html``;
  return section({
    id: 'advice',
    title: 'What would help',
    lead: 'Changes with which it ends within its downtime limit, each of them rehearsed, the cheapest first.',
    content: scrollingTable('advice-data', {
      caption: 'Changes that help',
      columns: [
        { heading: 'change' },
        { heading: 'options' },
        { heading: 'total time', align: 'right' },
        { heading: 'downtime', align: 'right' },
      ],
      rows: changes.map(({ change, options, totalMicroseconds, downtimeMicroseconds }) => [
        html`<div class="prose">${change}</div>`,
        html`<code>${options}</code>`,
        formatDuration(totalMicroseconds),
        formatDuration(downtimeMicroseconds),
      ]),
    }),
  });
}

export function roundsTable(rehearsal: Rehearsal): Markup {
  const { rounds, strategy, verdict } = rehearsal;
  const { shown, hidden } = outerRounds(rounds, SHOWN_ROUNDS);
  return section({
    id: 'rounds',
    title: 'Rounds',
    lead:
      (verdict === 'does-not-converge'
        ? 'It was given up in the last one.'
        : strategy === 'stop-and-copy'
          ? 'The service stands still all the while.'
          : 'The last one begins when the service stands still.') +
      (hidden === 0 ? '' : ` ${formatCount(hidden)} in the middle are left out.`),
    content: [
      scrollingTable('rounds-data', {
        caption: `${formatCount(rounds.length)} rounds`,
        columns: ROUND_COLUMNS,
        rows: shown.map(roundCells),
      }),
      fieldList([
        ['pages sent', pagesWords(rehearsal)],
        ['connecting', formatDuration(rehearsal.setupMicroseconds)],
      ]),
    ],
  });
}

/** What the service notices of it. */
export function serviceCost(rehearsal: Rehearsal): Markup {
  const { verdict, downtimeMicroseconds, reportedDowntimeMicroseconds } = rehearsal;
  const stop: [string, string][] =
    verdict === 'converges'
      ? [
          ['stands still', formatDuration(downtimeMicroseconds)],
          ['as the source measures it', formatDuration(reportedDowntimeMicroseconds)],
        ]
      : [['stands still', 'never']];
  const lost = serviceFields(rehearsal);
  const fields =
    lost.length === 0 ? [...stop, ['else', 'it runs at full speed'] as const] : [...stop, ...lost];
  return section({ id: 'service', title: 'Cost to the service', content: fieldList(fields) });
}

interface ComparedFigure {
  readonly name: string;
  readonly figure: (figures: Outcome) => number;
  readonly interval: IntervalName;
  readonly format: (value: number) => string;
}

const COMPARED: readonly ComparedFigure[] = [
  {
    name: 'total time',
    figure: ({ totalMicroseconds }) => totalMicroseconds,
    interval: 'totalMicroseconds',
    format: formatDuration,
  },
  {
    name: 'downtime',
    figure: ({ downtimeMicroseconds }) => downtimeMicroseconds,
    interval: 'downtimeMicroseconds',
    format: formatDuration,
  },
  {
    name: 'sent',
    figure: ({ transferredBytes }) => transferredBytes,
    interval: 'transferredBytes',
    format: formatBytes,
  },
  { name: 'rounds', figure: ({ rounds }) => rounds.length, interval: 'rounds', format: formatCount },
];

/** The prediction beside what was measured, and beside what is predicted for the network that was found. */
export function comparison(rehearsal: Rehearsal, { migration, predicted }: Shadow): Markup {
  const { linkBytesPerSecond: carried } = migration;
  const at = carried === undefined ? '' : ` at ${formatBandwidth(carried)}`;
  const found = `predicted${at}, unstored`;
  return section({
    id: 'measured',
    title: 'Predicted and measured',
    lead:
      `Sent for real to ${migration.peer}, which kept nothing. Deviation and bounds are those of the prediction with ` +
      'the bandwidth that was found, and a destination that stores nothing.',
    content: scrollingTable('measured-data', {
      caption: 'Predicted and measured',
      columns: [
        { heading: 'figure' },
        { heading: 'predicted', align: 'right' },
        { heading: 'measured', align: 'right' },
        { heading: found, align: 'right' },
        { heading: `interval (${boundsWords(predicted)})`, align: 'right' },
        { heading: 'deviation', align: 'right' },
        { heading: 'within' },
      ],
      rows: COMPARED.map(({ name, figure, interval, format }) => {
        const told = (outcome: Outcome) =>
          outcome.verdict === 'converges' ? format(figure(outcome)) : 'does not end';
        const row = [name, told(rehearsal), told(migration), told(predicted)];
        if (predicted.verdict !== 'converges' || migration.verdict !== 'converges')
          return [...row, '–', '–', '–'];
        const [expected, measured] = [figure(predicted), figure(migration)];
        const bounds = predicted.intervals[interval];
        return [
          ...row,
          formatInterval(bounds, format),
          deviation(expected, measured),
          measured >= bounds[0] && measured <= bounds[1] ? '✓ yes' : '✕ no',
        ];
      }),
    }),
  });
}

/** By how much the prediction is off, as a share of what was measured. */
function deviation(predicted: number, measured: number): string {
  if (measured === 0) return predicted === 0 ? '0.0 %' : '–';
  const percent = (predicted / measured - 1) * 100;
  return `${percent > 0 ? '+' : ''}${percent.toFixed(1)} %`;
}

/** All that the rehearsal goes by, group by group; what is not as usual stands out. */
export function parameterLists(parameters: readonly ReportParameter[]): Markup {
  const groups = [...new Set(parameters.map(({ group }) => group))];
  return section({
    id: 'parameters',
    title: 'Parameters',
    content: groups.map((group) => {
      const fields = parameters
        .filter((parameter) => parameter.group === group)
        .map(({ name, value, usual }): [string, Content] => [
          name,
          usual === undefined ? value : html`<b>${value}</b> <small>usual: ${usual}</small>`,
        ]);
      return html`<h3>${group}</h3>${fieldList(fields)}`;
    }),
  });
}

function fieldList(fields: readonly (readonly [name: string, value: Content])[]): Markup {
  return html`<dl class="fields">${fields.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}
